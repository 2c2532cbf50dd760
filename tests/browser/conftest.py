"""Chromium, one running Atelier for all tests, and pages that fail the test on any console error."""

import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from tests.browser.program import running

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ARGUMENTS = """--no-sandbox --disable-quic --disable-background-networking --disable-component-update
--disable-sync""".split()  # noqa: SIM905
_workspaces = count()
sync_api.expect.set_options(timeout=20_000)  # a loaded machine is slow, not wrong


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker("browser")


def launch(playwright):
    """Chromium without a window; raises playwright's Error where there is none."""
    path = os.environ.get("ATELIER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


@pytest.fixture(scope="package")
def chromium():
    """The browser: ATELIER_CHROMIUM, the system's, or playwright's own; the tests are skipped where there is none."""
    with sync_api.sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except sync_api.Error as problem:
            pytest.skip(f"no Chromium: {problem.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def program(tmp_path_factory):
    with running(tmp_path_factory.mktemp("atelier")) as program:
        yield program


class Opener:
    """Opens pages of a workspace of their own, and remembers what went wrong in them."""

    def __init__(self, browser, url):
        self.browser = browser
        self.url = url
        self.wrong = []
        self.allowed = []  # parts of console messages that a test expects
        self.contexts = []

    def context(self, width=1440, height=900, **options):
        options.setdefault("locale", "en-US")
        made = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        made.set_default_timeout(15_000)
        self.contexts.append(made)
        return made

    def open(self, context=None, workspace=None, ready=True, until="load", **options):
        context = context or self.context(**options)
        page = context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._hear)
        workspace = f"w{next(_workspaces)}" if workspace is None else workspace
        page.workspace = workspace
        page.goto(f"{self.url}/?w={workspace}", wait_until=until)
        if ready:
            wait_ready(page)
        return page

    def _hear(self, message):
        if message.type in ("error", "warning") and not any(part in message.text for part in self.allowed):
            self.wrong.append(f"{message.text} {message.location.get('url', '')}")


def wait_ready(page):
    page.wait_for_selector("#txt2img_prompt textarea")
    page.wait_for_selector("#skeleton", state="detached")
    page.wait_for_selector("html.ready")


def settled(page):
    """Until all that was changed by hand is with the server, and nothing on the page moves any more."""
    page.wait_for_selector("html:not(.unsaved)", state="attached", timeout=60_000)
    page.evaluate(
        """() => Promise.race([
             Promise.allSettled(document.getAnimations().map((one) => one.finished)),
             new Promise((resolve) => setTimeout(resolve, 2000)), // what turns for ever
           ]).then(() => null)"""
    )


@pytest.fixture
def opener(chromium, program):
    made = Opener(chromium, program.url)
    yield made
    for context in made.contexts:
        context.close()
    assert made.wrong == []


@pytest.fixture
def page(opener):
    return opener.open()
