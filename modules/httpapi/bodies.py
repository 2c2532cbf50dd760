"""Bounded request bodies: too long is 413 while it streams, silent for half a minute is 408; nothing is buffered."""

import asyncio

from modules.core import limits
from modules.httpapi.answers import Message, Receive
from modules.httpapi.origins import Refusal

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
BLOBS = "/api/v1/blobs"
JSON_ROUTES = ("/api/", "/sdapi/")


def bound(path: str) -> int:
    """The largest body in bytes that this route takes."""
    if path.rstrip("/") == BLOBS or path.endswith("/gradio_api/upload"):
        return limits.BLOB_BYTES
    return limits.SDAPI_BODY_BYTES if path.startswith("/sdapi/") else limits.JSON_BODY_BYTES


def too_long(path: str) -> Refusal:
    """The 413 of a route."""
    return Refusal(
        413, "too_long", f"The body is longer than {bound(path) // limits.MIB} MiB.",
        "Send pictures with PUT /api/v1/blobs and refer to them by their hash.",
    )  # fmt: skip


def refusal(method: str, path: str, headers: dict[str, str]) -> Refusal | None:
    """What the headers alone give away: a wrong content type (415) or an announced length above the bound (413)."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > bound(path):
        return too_long(path)
    carries = "transfer-encoding" in headers or (length.isdigit() and int(length) > 0)
    takes_json = path.startswith(JSON_ROUTES) and path.rstrip("/") != BLOBS
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if takes_json and method in UNSAFE and carries and kind != "application/json":
        return Refusal(415, "not_json", "This address takes JSON only.", "Send it with Content-Type: application/json.")
    return None


class BoundedBody:
    """Wraps ``receive``: counts bytes and waits a bounded time for the next ones.

    When a bound is passed, ``refused`` is set and the application hears that the client left; whoever wrapped it
    answers the refusal.
    """

    def __init__(self, receive: Receive, path: str, idle_s: float = limits.BODY_IDLE_S) -> None:
        self.receive = receive
        self.path = path
        self.idle_s = idle_s
        self.left = bound(path)
        self.whole = False
        self.refused: Refusal | None = None

    async def __call__(self) -> Message:
        if self.refused:
            return {"type": "http.disconnect"}
        if self.whole:
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), self.idle_s)
        except TimeoutError:
            return self._refuse(
                Refusal(408, "too_slow", f"No byte of the body came for {self.idle_s:g} s.", "Send it again.")
            )
        if message["type"] != "http.request":
            return message
        self.whole = not message.get("more_body", False)
        self.left -= len(message.get("body", b""))
        return self._refuse(too_long(self.path)) if self.left < 0 else message

    def _refuse(self, refusal: Refusal) -> Message:
        self.refused = refusal
        return {"type": "http.disconnect"}
