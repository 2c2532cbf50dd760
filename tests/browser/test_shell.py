"""The first second: the shell is calm, says that the program starts, and gives way to the page by itself."""

import socket

import pytest

from modules.core.settings import Settings
from modules.httpapi.answers import send_page
from modules.httpapi.serving import Serving


@pytest.fixture
def serving(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Serving(Settings(data_dir=str(tmp_path), port=port))
    made.start()
    yield made
    made.stop()


async def page(scope, receive, send):
    await send_page(send, 200, "<!doctype html><title>There</title><h1>The page</h1>", "default-src 'self'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_shell_gives_way_to_the_page(chromium, serving, scheme):
    context = chromium.new_context(color_scheme=scheme)
    tab, wrong = context.new_page(), []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda problem: wrong.append(str(problem)))
    tab.goto(serving.link)
    assert "Starting" in tab.get_by_role("status").inner_text()
    grounds = {"light": "rgb(244, 244, 242)", "dark": "rgb(23, 23, 23)"}
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == grounds[scheme]
    serving.gate.attach(page)
    tab.get_by_role("heading", name="The page").wait_for(timeout=10_000)
    assert wrong == []
    context.close()
