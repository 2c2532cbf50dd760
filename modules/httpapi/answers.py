"""Small ASGI answers and the one shape of an error, for the gate and the routes alike; standard library only."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


def problem(code: str, message: str, hint: str, request_id: str, field: str | None = None) -> dict[str, Any]:
    """The body of every error that the gate and the API answer."""
    return {"code": code, "message": message, "hint": hint, "field": field, "request_id": request_id}


async def send_body(send: Send, status: int, body: bytes, content_type: str, headers: Headers = ()) -> None:
    """Answer a request with one whole body."""
    start = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, data: Any, headers: Headers = ()) -> None:
    """Answer a request with JSON that nobody keeps."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    await send_body(send, status, body, "application/json", [(b"cache-control", b"no-store"), *headers])


async def send_page(send: Send, status: int, html: str, policy: str, headers: Headers = ()) -> None:
    """Answer a request with a small page of our own and its Content-Security-Policy."""
    kept = [(b"cache-control", b"no-store"), (b"content-security-policy", policy.encode()), *headers]
    await send_body(send, status, html.encode(), "text/html; charset=utf-8", kept)
