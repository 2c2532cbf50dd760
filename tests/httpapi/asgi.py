"""A hand-held ASGI client: one request straight into an application, with exactly the headers that are given."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    chunks: tuple[bytes, ...] = (b"",),
    host: str | None = "127.0.0.1:7860",
    peer: str = "127.0.0.1",
    reached: str = "127.0.0.1",
    stall: bool = False,
) -> Answer:
    """Send one request; ``stall`` leaves the body open after the chunks."""
    bare, _, query = path.partition("?")
    sent = {**({"host": host} if host is not None else {}), **(headers or {})}
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": bare,
        "raw_path": bare.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in sent.items()],
        "client": (peer, 50_000), "server": (reached, 7860), "asgi": {"version": "3.0"},
    }  # fmt: skip
    answer = Answer()
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or stall}
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits an hour")

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert answer.status == 0, "two answers to one request"
            answer.status = message["status"]
            answer.headers = [(key.decode().lower(), value.decode("latin-1")) for key, value in message["headers"]]
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def post(path: str, data: Any, **more: Any) -> dict[str, Any]:
    """The arguments of ``ask`` for a JSON POST."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **more.pop("headers", {})}
    return {"path": path, "method": "POST", "headers": headers, "chunks": (body,), **more}
