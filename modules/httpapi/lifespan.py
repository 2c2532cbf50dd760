"""Starting and stopping an ASGI application inside another one, over the lifespan protocol."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from modules.httpapi.answers import App, Message


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[None]:
    """Run the application's start-up, then the body, then its shutdown.

    An application without lifespan support is simply used. Raises RuntimeError with the application's words where its
    start-up failed.
    """
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message | None] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    task.add_done_callback(lambda done: outbox.put_nowait(None))
    await inbox.put({"type": "lifespan.startup"})
    started = await outbox.get()
    if started is not None and started["type"] == "lifespan.startup.failed":
        raise RuntimeError(started.get("message") or "The application's start-up failed.")
    try:
        yield
    finally:
        if started is not None:
            await inbox.put({"type": "lifespan.shutdown"})
            await outbox.get()
        await asyncio.gather(task, return_exceptions=True)
