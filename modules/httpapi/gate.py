"""The one gate around everything: who may ask, how much they may send, and what every answer carries."""

import asyncio
import contextlib
import logging
import secrets
import time
from urllib.parse import parse_qs

from modules.core.settings import Settings
from modules.httpapi import bodies
from modules.httpapi.access import Access, set_cookie
from modules.httpapi.answers import App, Message, Receive, Scope, Send, problem, send_json, send_page
from modules.httpapi.lifespan import running
from modules.httpapi.origins import Origins, Refusal
from modules.httpapi.starting import starting

LOG = logging.getLogger("atelier.http")
HEALTH = "/healthz"
LOGIN = "/login"
OPEN = (HEALTH, LOGIN)  # without a token; /static/ too: it is the program's own public source
PLAIN_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
FALLBACK_POLICY = b"object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class Gate:
    """The outermost ASGI application.

    It answers from the first moment: ``/healthz`` and a page that says "starting". ``attach`` hands over to the real
    application once that is imported. Decisions in this order: host (421), origin (403), token (401, 429), content
    type (415), length (413, 408); then the application. Routes hold no security code.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.origins = Origins.of(settings)
        self.guarded = not settings.is_local() or bool(self.origins.public)
        self.access = Access(settings.data / ".atelier" / "access.json") if self.guarded else None
        self._app: App = starting
        self._stack = contextlib.AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()

    def close_streams(self) -> None:
        """Ask open streams to end, from any thread: the server is about to stop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)

    @property
    def ready(self) -> bool:
        """Whether everything answers: an application may say with ``warming`` that its pages are still being made."""
        return self._app is not starting and not getattr(self._app, "warming", False)

    def attach(self, app: App, timeout_s: float = 60.0) -> None:
        """Hand over to the application, from any thread but the server's; returns when its start-up has run."""
        if self._loop is None:
            self._app = app
        else:
            asyncio.run_coroutine_threadsafe(self._take(app), self._loop).result(timeout_s)

    async def _take(self, app: App) -> None:
        await self._stack.enter_async_context(running(app))
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        exchange = Exchange(scope, send)
        headers = exchange.headers
        refusal = self._refusal(scope, headers, exchange)
        if scope["type"] == "websocket":
            if refusal:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            else:
                await self._app(scope, receive, send)
            return
        if refusal:
            await exchange.refuse(refusal)
        elif scope["path"] == HEALTH:
            await send_json(exchange.send, 200, {"status": "ready" if self.ready else "starting"})
        elif scope["path"] == LOGIN and self.access:
            await self._login(self.access, scope, exchange)
        else:
            await self._pass(scope, receive, exchange)

    def _refusal(self, scope: Scope, headers: dict[str, str], exchange: "Exchange") -> Refusal | None:
        method, path = scope.get("method", "GET"), scope["path"]
        refusal = self.origins.refusal(
            method=method,
            path=path,
            headers=headers,
            reached=(scope.get("server") or ("", 0))[0],
            secure=scope.get("scheme") in ("https", "wss"),
        )
        return refusal or self._unsigned(path, headers, exchange) or bodies.refusal(method, path, headers)

    def _unsigned(self, path: str, headers: dict[str, str], exchange: "Exchange") -> Refusal | None:
        if self.access is None or path in OPEN or path.startswith("/static/"):
            return None
        verdict = self.access.verdict(headers, self._cookie, exchange.peer)
        if verdict == "admitted":
            return None
        return _too_often() if verdict == "too_often" else _unsigned()

    @property
    def _cookie(self) -> str:
        return f"atelier_{self.settings.port}"  # browsers share cookies between the ports of a host

    async def _login(self, access: Access, scope: Scope, exchange: "Exchange") -> None:
        key = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("key", [""])[0]
        verdict, session = access.exchange(key, exchange.peer)
        if verdict != "admitted":
            await exchange.refuse(_too_often() if verdict == "too_often" else _unsigned())
            return
        # A page and not a redirect: after a click in another site a redirect would not carry a SameSite=Strict cookie.
        page = '<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>Atelier</title>'
        cookie = set_cookie(self._cookie, session, scope.get("scheme") == "https")
        await send_page(exchange.send, 200, page, PLAIN_PAGE, [(b"set-cookie", cookie)])

    async def _pass(self, scope: Scope, receive: Receive, exchange: "Exchange") -> None:
        scope["state"]["closing"] = self._closing
        body = bodies.BoundedBody(receive, scope["path"])
        exchange.body = body
        try:
            await self._app(scope, body, exchange.send)
        except Exception:
            # The job of an outermost layer: one line with the request's id, and an answer that tells nothing else.
            LOG.exception("request %s failed: %s %r", exchange.request_id, scope["method"], scope["path"])
            if not exchange.started and not body.refused:
                await exchange.refuse(_broken())
        if body.refused and not exchange.started:
            await exchange.refuse(body.refused)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loop = asyncio.get_running_loop()
        if self._app is not starting:
            await self._stack.enter_async_context(running(self._app))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})


class Exchange:
    """One request and what is said about it: its id, its clock, and the headers that every answer gets."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.request_id = secrets.token_hex(8)
        self.began = time.perf_counter()
        self.started = False
        self.body: bodies.BoundedBody | None = None
        self.headers = _joined(scope)
        self.peer = (scope.get("client") or ("", 0))[0]
        self._send = send
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass an answer on, with our headers; silent once a body's bound was passed."""
        if self.body is not None and self.body.refused and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._completed(message.get("headers", ()))}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer a refusal: JSON for programs, a sentence for a person who opened an address."""
        self.body = None
        extra = []
        if refusal.status in (408, 413):
            extra.append((b"connection", b"close"))  # the rest of the body is not read
        if refusal.status == 429:
            extra.append((b"retry-after", b"60"))
        if refusal.status == 401:
            extra.append((b"www-authenticate", b'Bearer realm="Atelier"'))
        if self.headers.get("sec-fetch-dest") == "document":
            page = f"<!doctype html><title>Atelier</title><h1>{refusal.message}</h1><p>{refusal.hint}</p>"
            await send_page(self.send, refusal.status, page, PLAIN_PAGE, extra)
            return
        body = problem(refusal.code, refusal.message, refusal.hint, self.request_id)
        await send_json(self.send, refusal.status, body, extra)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [
            (name, value)
            for name, value in headers
            if name.lower() not in ALWAYS and not name.lower().startswith(b"access-control-")
        ]
        known = {name.lower(): value for name, value in kept}
        if known.get(b"content-type", b"").startswith(b"text/html") and b"content-security-policy" not in known:
            kept.append((b"content-security-policy", FALLBACK_POLICY))
        kept.extend(ALWAYS.items())
        kept.append((b"x-request-id", self.request_id.encode()))
        kept.append((b"x-process-time", f"{time.perf_counter() - self.began:.6f}".encode()))
        return kept


def _joined(scope: Scope) -> dict[str, str]:
    """Header names in lower case; repeated ones joined by a comma, so that none is overlooked."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _unsigned() -> Refusal:
    return Refusal(
        401, "sign_in", "This program asks for a key.",
        "Open the link that it printed in its terminal, or send its token as Authorization: Bearer.",
    )  # fmt: skip


def _too_often() -> Refusal:
    return Refusal(429, "too_often", "Too many wrong keys.", "Wait a minute.")


def _broken() -> Refusal:
    return Refusal(500, "internal", "Something in the program broke.", "The log names this request by its request_id.")
