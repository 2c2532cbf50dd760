"""The page as one ASGI app: the index document, builds under /p/<n>/ of which the last two live, and our files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from modules.core.events import PageChanged
from modules.webui import words
from modules.webui.calls import WORKSPACE_CHARACTERS, Calls
from modules.webui.controls import Drawn, Form, GuestTab
from modules.webui.document import Document, Visitor
from modules.webui.files import Static
from modules.webui.first import cards
from modules.webui.forms import Drafts, cleaned, start
from modules.webui.models import Models

if TYPE_CHECKING:
    from modules.jobs.studio import Studio

ALIVE = 2  # builds that still answer


class Build:
    """One Gradio page under its own prefix, and the document around it."""

    def __init__(self, number: int, app: Any, drawn: Drawn, static: Static) -> None:
        self.number = number
        self.form = drawn.form
        self._drawn = drawn
        self.prefix = f"/p/{number}"
        self._app = app
        self._static = static
        self._document: Document | None = None
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def document(self) -> Document:
        """Gradio's HTML, asked for once and cut open for our parts."""
        async with self._opening:
            if self._document is None:
                await self._stack.enter_async_context(self._app.router.lifespan_context(self._app))
                transport = httpx.ASGITransport(app=self._app)
                async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                    answer = await client.get(f"{self.prefix}/")
                self._document = Document(answer.text, self._drawn, self.number, self.prefix, self._static)
            return self._document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.document()
        await self._app(scope, receive, send)

    async def close(self) -> None:
        await self._stack.aclose()


class Pages:
    """Serves ``/``, ``/page.json``, ``/p/<n>/...`` and ``/static/...``; everything else is 404."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._static = Static()
        self._models = Models(studio)
        self._drafts = Drafts(studio.settings.data / ".atelier" / "forms.sqlite")
        self._builds: list[Build] = []
        self._generation = -1
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path == "/":
            answer = await self._index(Request(scope, receive))
        elif path == "/page.json":
            answer = JSONResponse({"build": (await self._newest()).number}, headers={"cache-control": "no-store"})
        elif path.startswith("/static/"):
            answer = self._static
        elif path == "/favicon.ico":  # asked for before the document's own link is read
            answer = RedirectResponse(self._static.url("icon.svg"))
        elif path.startswith("/p/"):
            answer = self._build_of(path)
        else:
            answer = _problem(404, "not_found", "There is nothing here.", "Go to the start page.")
        await answer(scope, receive, send)

    async def close(self) -> None:
        """Stop the builds and close the drafts."""
        for build in self._builds:
            await build.close()
        self._drafts.close()

    async def _newest(self) -> Build:
        """The build of the present extensions, made when they changed; older pages are told."""
        async with self._building:
            generation = self._studio.extensions.generation
            if generation != self._generation:
                build = await asyncio.to_thread(self._make)
                known = next((old for old in self._builds if old.number == build.number), None)
                first = not self._builds
                self._builds = [*(old for old in self._builds if old is not known), known or build][-ALIVE:]
                self._generation = generation
                if not first:
                    self._studio.bus.publish(PageChanged(build=build.number))
            return self._builds[-1]

    def _make(self) -> Build:
        """Draw the page with Gradio; imported here, so that everything else answers before it."""
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: else it asks two servers at once
        temporary = self._studio.settings.data / ".atelier" / "gradio"
        if not self._builds:
            shutil.rmtree(temporary, ignore_errors=True)
        os.environ["GRADIO_TEMP_DIR"] = str(temporary)
        import fastapi
        import gradio
        from gradio.context import Context

        from modules.webui import page, theme

        Context.id = 0  # so that equal forms get equal ids, and with them the same number, after a restart too

        form = Form.build(self._studio.extensions.active())
        calls = Calls(form, self._studio, self._drafts, self._models)
        guests = self._guest_tabs()
        blocks = page.build(form, calls, guests)
        number = _number(blocks)
        app = gradio.mount_gradio_app(
            fastapi.FastAPI(openapi_url=None),
            blocks,
            f"/p/{number}",
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            allowed_paths=[],
            theme=theme.theme(),
        )
        return Build(number, app, Drawn(form, guests), self._static)

    def _guest_tabs(self) -> tuple[GuestTab, ...]:
        """The tabs of extensions; one called as its extension shares its translations."""
        extensions = self._studio.extensions
        made = []
        for name, tab in extensions.program_hooks(self._studio.extension_failed).collect("add_tab"):
            found = extensions.get(name)
            words = found.kind.words.items() if found.kind and tab.title == found.title else ()
            said = [(language, said["title"]) for language, said in words if "title" in said]
            made.append(GuestTab(f"tab_extension_{name}", (("en", tab.title), *said), tab.build))
        return tuple(made)

    def _build_of(self, path: str) -> Any:
        number = path.split("/")[2]
        for build in self._builds:
            if str(build.number) == number:
                return build
        return _problem(410, "page_is_old", "Atelier changed since this page was opened.", "Reload the page.")

    async def _index(self, request: Request) -> HTMLResponse:
        build = await self._newest()
        document = await build.document()
        language = self._language(request)
        workspace = _workspace(request)
        defaults = self._models.defaults("")
        shown = cards(language, self._models.vocabulary())
        fresh = start(build.form, defaults, shown[0]["prompt"])
        stored = await asyncio.to_thread(self._drafts.load, workspace)
        visitor = Visitor(
            origin=f"{request.url.scheme}://{request.url.netloc}",
            language=language,
            theme=self._theme(request),
            workspace=workspace,
            values=cleaned(stored, build.form, fresh) if stored else fresh,
            is_first=await asyncio.to_thread(self._studio.gallery.count) == 0,
        )
        boot = {
            "cards": shown,
            "local": self._studio.settings.is_local(),
            "fresh": fresh,
            "checkpoint": self._models.own(),
            "notices": [one.as_dict() for one in (*self._studio.notices(), self._drafts.notice) if one],
            "extensions": {
                found.name: found.kind.words.get(language, {}) for found in self._studio.extensions.all() if found.kind
            },
        }
        text, headers = document.write(visitor, boot)
        return HTMLResponse(text, headers=headers)

    def _language(self, request: Request) -> str:
        chosen = request.cookies.get("atelier_language") or self._studio.settings.language
        return chosen if chosen in words.LANGUAGES else words.choose(request.headers.get("accept-language", ""))

    def _theme(self, request: Request) -> str:
        chosen = request.cookies.get("atelier_theme") or self._studio.settings.theme
        return chosen if chosen in ("light", "dark") else "system"


def build_pages(studio: Studio) -> Pages:
    """The page of this studio."""
    return Pages(studio)


def _number(blocks: Any) -> int:
    """A build's number follows from what Gradio would call: equal pages before and after a restart share it."""
    config = blocks.get_config_file()
    shape = [config["components"], config["dependencies"], config["version"]]
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _workspace(request: Request) -> str:
    return parse_qs(request.url.query).get("w", [""])[0][:WORKSPACE_CHARACTERS]


def _problem(status: int, code: str, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message, "hint": hint}, status)
