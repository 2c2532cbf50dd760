"""Puts the rooms of the way in together: typed API, dialect and pages behind one gate."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from modules.core.errors import WorkbenchError
from modules.core.merging import MergeRequest
from modules.core.request import GenerationRequest
from modules.httpapi import (
    adapters,
    axes,
    canvas,
    events,
    jobs,
    media,
    memory,
    merges,
    phrases,
    pictures,
    program,
    sdapi,
    taking,
)
from modules.httpapi.answers import App, Message, Receive, Scope, Send, send_json
from modules.httpapi.gate import Gate
from modules.httpapi.guests import Guests
from modules.httpapi.lifespan import running
from modules.httpapi.starting import starting
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, error_body, problem, request_id

LOG = logging.getLogger("atelier.http")
OWN = ("/api/", "/media/", "/sdapi/", "/x/", "/openapi.json")
BODIES = (
    GenerationRequest,
    jobs.Submission,
    jobs.Place,
    jobs.Pause,
    MergeRequest,
    merges.MergeSubmission,
    canvas.Drawn,
    adapters.Said,
    phrases.NewStyle,
    phrases.StyleName,
    taking.Pasted,
    pictures.Ids,
    program.Switch,
    program.Chosen,
    program.Text,
    program.Question,
)


def build_app(studio: Studio, pages: App | None = None, gate: Gate | None = None) -> Gate:
    """The whole program over HTTP behind its gate.

    ``pages`` is the page's ASGI application and gets every address that is not the API's. ``gate`` is one that serves
    already (see ``serving``); it is handed over to. Returns the gate.
    """
    gate = gate or Gate(studio.settings)
    gate.attach(Rooms(api(studio), pages))
    return gate


class Rooms:
    """Sends the API's addresses to the API and all others to the pages.

    The first page takes seconds to draw, so it is drawn as soon as the program starts; until then (``warming``) ``/``
    says "starting" while the API works already.
    """

    def __init__(self, api: App, pages: App | None) -> None:
        self._api = api
        self._pages = pages or _nothing
        self.warming = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"].startswith(OWN):
            await self._api(scope, receive, send)
        elif self.warming and scope["path"] == "/" and scope["type"] == "http":
            await starting(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with running(self._api), running(self._pages), _closed(self._pages):
            self.warming = self._pages is not _nothing
            drawing = asyncio.ensure_future(self._draw())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _draw(self) -> None:
        try:
            await self._pages(dict(_FIRST_VISIT), _no_body, _unheard)
        except Exception:
            LOG.exception("the first page could not be drawn")  # whoever opens it gets the error
        finally:
            self.warming = False


_FIRST_VISIT: dict[str, Any] = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/",
    "raw_path": b"/", "query_string": b"", "root_path": "", "headers": [(b"host", b"127.0.0.1")],
    "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 80),
}  # fmt: skip


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _unheard(message: Message) -> None:
    """The first visit is for its effect: everything is made and imported."""


def api(studio: Studio) -> FastAPI:
    """The API's routes, their errors and their OpenAPI document."""
    made = FastAPI(title="Atelier", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    streams = events.Streams(studio.bus, Discretion(studio.settings))

    @made.get("/api/v1/events", tags=["queue"])
    async def stream(request: Request, after: str | None = None) -> Response:
        """Server-sent events after the number in Last-Event-ID or ``after`` (neither: from now on)."""
        return streams.answer(request)

    for room in (jobs, pictures, media, program, adapters, phrases, axes, memory, merges, canvas, taking, sdapi):
        made.include_router(room.router(studio))
    made.mount("/x", Guests(studio))
    _tell_errors(made, Discretion(studio.settings))
    _describe_bodies(made)
    return made


def _in_dialect(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """A1111's clients look for ``error`` and ``detail``; ours stand beside them."""
    if not request.url.path.startswith("/sdapi/"):
        return body
    return {**body, "error": body["code"], "detail": body["message"], "body": body["hint"], "errors": ""}


def _tell_errors(made: FastAPI, discretion: Discretion) -> None:
    @made.exception_handler(WorkbenchError)
    async def known(request: Request, error: WorkbenchError) -> Response:
        headers = {"retry-after": "5"} if error.status in (429, 503) else None
        body = error_body(error, request_id(request), discretion)
        return Json(_in_dialect(request, body), error.status, headers)

    @made.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][1:]) or None
        body = problem("bad_value", f"{field}: {first['msg']}.", "See docs/api.md.", request_id(request), field)
        return Json(_in_dialect(request, body), 422)

    @made.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "error")
        body = problem(code, str(error.detail) + ".", "See docs/api.md for what there is.", request_id(request))
        return Json(_in_dialect(request, body), error.status_code, dict(error.headers or {}))

    @made.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        body = problem(
            "internal", "Something in the program broke.", "The log names this request by its request_id.",
            request_id(request),
        )  # fmt: skip
        return Json(_in_dialect(request, body), 500)


def _describe_bodies(made: FastAPI) -> None:
    """Bodies are read by hand (strictly), so their schemas are added to the document by hand too."""
    generate = made.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        template = "#/components/schemas/{model}"
        _, schemas = models_json_schema([(body, "validation") for body in BODIES], ref_template=template)
        kinds = document.setdefault("components", {}).setdefault("schemas", {})
        kinds.update(schemas["$defs"])
        for kind in (jobs.Submission, program.Question):
            kinds[kind.__name__]["properties"]["request"] = {"$ref": template.format(model="GenerationRequest")}
        return document

    made.openapi = openapi


@contextlib.asynccontextmanager
async def _closed(pages: App) -> AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(pages, "close", None)
        found = close() if close else None
        if inspect.isawaitable(found):
            await found


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        body = problem("not_found", "There is nothing here.", "See docs/api.md for what there is.", "")
        await send_json(send, 404, body)
