"""Every address of the whole program, Gradio's own included: none is open without the key, all carry the headers."""

import asyncio
import os
import re

import pytest

from modules.core.settings import Settings
from modules.httpapi.gate import Gate
from modules.httpapi.server import Rooms, api
from tests.httpapi.asgi import ask

HOST = "192.168.1.5:7860"


@pytest.fixture(scope="module")
def gradio_app():
    """A page with Gradio's usual routes, mounted as the page's builds are."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import fastapi
    import gradio

    with gradio.Blocks(analytics_enabled=False) as blocks:
        box = gradio.Textbox()
        gradio.Button().click(lambda text: text, box, box)
    return gradio.mount_gradio_app(fastapi.FastAPI(), blocks, "/p/1", show_error=False)


def addresses(app, prefix=""):
    """(method, path) of every route, mounts and included routers opened, with something in each placeholder."""
    for route in app.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        path = prefix + getattr(route, "path", "")
        if getattr(inner, "routes", None):
            yield from addresses(inner, path)
        else:
            for method in getattr(route, "methods", None) or ("GET",):
                yield method, re.sub(r"\{[^}]*\}", "x", path)


@pytest.fixture
def whole(desk, gradio_app):
    """All addresses, and the gate as it stands on a bind that others can reach."""
    made = api(desk)
    found = sorted(set(addresses(made)) | set(addresses(gradio_app)))
    gate = Gate(Settings(data_dir=str(desk.settings.data), host="192.168.1.5"))
    gate.attach(Rooms(made, gradio_app))
    return found, gate


def test_no_address_is_open_without_the_key(whole):
    found, gate = whole

    async def run():
        return {(method, path, (await ask(gate, path, method=method, host=HOST)).status) for method, path in found}

    statuses = asyncio.run(run())
    paths = {path for _, path, _ in statuses}
    assert len(paths) > 70
    assert {"/p/1/gradio_api/heartbeat/x", "/p/1/gradio_api/upload", "/api/v1/jobs", "/sdapi/v1/txt2img"} <= paths
    assert {(path, status) for _, path, status in statuses if status != 401} == set()


def test_gradio_sends_no_foreign_header_and_every_page_is_framed_by_us_alone(whole):
    _, gate = whole
    headers = {"authorization": f"Bearer {gate.access.token}", "origin": f"http://{HOST}"}

    async def run():
        paths = ("/p/1/", "/p/1/config", "/p/1/gradio_api/info", "/p/1/nothing", "/api/v1/state")
        return [await ask(gate, path, host=HOST, headers=headers) for path in paths]

    answers = asyncio.run(run())
    assert answers[0].status == 200
    for answer in answers:
        assert not [key for key, _ in answer.headers if key.startswith("access-control-")]
        assert answer.header("x-frame-options") == "SAMEORIGIN"
        if answer.header("content-type").startswith("text/html"):
            assert "frame-ancestors 'self'" in answer.header("content-security-policy")


@pytest.mark.parametrize(
    "path", ["/p/1/gradio_api/upload", "/p/1/gradio_api/queue/join", "/p/1/gradio_api/run/predict"]
)
def test_a_foreign_page_reaches_no_handler_of_gradio(whole, path):
    _, gate = whole
    headers = {"authorization": f"Bearer {gate.access.token}", "origin": "https://evil.example"}
    assert asyncio.run(ask(gate, path, method="POST", host=HOST, headers=headers)).status == 403
