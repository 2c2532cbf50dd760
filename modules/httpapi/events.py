"""The event stream: server-sent events that begin where the client left off, for at most 64 clients at once."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from modules.core import limits, strictjson
from modules.core.errors import BadValue, Busy
from modules.core.events import AnyEvent
from modules.httpapi.answers import Receive, Scope, Send
from modules.httpapi.wire import Discretion
from modules.jobs.bus import Bus, Subscription

BEAT_S = 15.0
CHUNK_BYTES = 64 * 1024
STALL_S = 1.0  # how often a client that does not read is looked at
ENCODED = 512  # events kept as text, so that many clients cost one encoding
TALKATIVE = ("failed", "warned")  # their messages may name files
PRIVATE = "image_made"  # pixels for the collector
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Streams:
    """All open streams of one bus. Lives in the server's event loop, so it needs no lock.

    A stream holds no queue of its own: it reads the bus's ring when its client is ready. What a client has not taken
    yet is bounded all the same: one that is more than 1 MiB behind while its connection is stuck is cut off, and comes
    back with ``Last-Event-ID``.
    """

    def __init__(self, bus: Bus, discretion: Discretion) -> None:
        self.bus = bus
        self.discretion = discretion
        self.open = 0
        self._texts: OrderedDict[int, bytes] = OrderedDict()

    def text(self, event: AnyEvent) -> bytes:
        """One event in the stream's format."""
        text = self._texts.get(event.seq)
        if text is None:
            text = f"id: {event.seq}\nevent: {event.type}\ndata: {self._json(event)}\n\n".encode()
            self._texts[event.seq] = text
            while len(self._texts) > ENCODED:
                self._texts.popitem(last=False)
        return text

    def _json(self, event: AnyEvent) -> str:
        if event.type in TALKATIVE:
            return strictjson.dumps(self.discretion.data(event.model_dump(mode="json")))
        return event.model_dump_json()

    def chunks(self, events: list[AnyEvent]) -> Iterator[bytes]:
        """The events in pieces of about 64 KiB, encoded only as they are asked for."""
        parts: list[bytes] = []
        for event in events:
            if event.type != PRIVATE:
                parts.append(self.text(event))
            if sum(map(len, parts)) >= CHUNK_BYTES:
                yield b"".join(parts)
                parts = []
        if parts:
            yield b"".join(parts)

    def is_far_behind(self, seq: int) -> bool:
        """Whether more than 1 MiB was said since ``seq``, or more than the ring remembers."""
        events, gap = self.bus.since(seq)
        size = 0
        for event in events:
            size += len(self.text(event)) if event.type != PRIVATE else 0
            if size > limits.STREAM_BUFFER_BYTES:
                return True
        return gap

    def answer(self, request: Request) -> "EventStream":
        """The stream that a request asks for; raises Busy (503) when 64 are open, BadValue for a bad number."""
        if self.open >= limits.EVENT_STREAMS:
            raise Busy(
                f"{self.open} event streams are open already.", "Close some pages, or try again.",
                code="too_many_streams", status=503,
            )  # fmt: skip
        said = request.headers.get("last-event-id") or request.query_params.get("after")
        if said is None:
            return EventStream(self, None, request)
        if not said.isascii() or not said.isdecimal() or len(said) > 18:
            raise BadValue("after is no event's number.", "Use the id of the last event that you heard.", field="after")
        return EventStream(self, int(said), request)


class EventStream(Response):
    """One client's stream.

    It opens with ``hello`` (its id is where the stream begins), says ``gap`` where events are gone for good (then read
    /api/v1/state), and a comment every 15 s while nothing happens.
    """

    def __init__(self, streams: Streams, after: int | None, request: Request) -> None:
        super().__init__()
        self.streams = streams
        self.after = after
        self.closing: asyncio.Event = getattr(request.state, "closing", None) or asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        self.streams.open += 1
        over = [asyncio.ensure_future(_left(receive)), asyncio.ensure_future(self.closing.wait())]
        try:
            with self.streams.bus.subscribe(self.after) as subscription:
                await self._run(_Line(send, over, self.streams, subscription), subscription)
        finally:
            self.streams.open -= 1
            for task in over:
                task.cancel()

    async def _run(self, line: "_Line", subscription: Subscription) -> None:
        await line.send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        begin = subscription.seq
        await line.say(f'retry: 1000\nid: {begin}\nevent: hello\ndata: {{"seq":{begin}}}\n\n'.encode())
        while line.is_open:
            heard = await line.unless_over(subscription.next(), BEAT_S)
            if heard is None:
                await line.say(b": beat\n\n")
                continue
            events, gap = heard
            if gap:
                await line.say(f'event: gap\ndata: {{"seq":{self.streams.bus.last_seq}}}\n\n'.encode())
            for chunk in self.streams.chunks(events):
                await line.say(chunk)
        await line.end()


class _Line:
    """The connection of one stream: what is sent waits for the client, but not for ever."""

    def __init__(self, send: Send, over: list[asyncio.Future[Any]], streams: Streams, place: Subscription) -> None:
        self.send = send
        self._over = over
        self._streams = streams
        self._place = place
        self._cut = False

    @property
    def is_open(self) -> bool:
        return not self._cut and not any(task.done() for task in self._over)

    async def say(self, text: bytes) -> None:
        """Send a piece; a stuck client is cut off once it is far behind."""
        if not self.is_open:
            return
        sending = asyncio.ensure_future(self.send({"type": "http.response.body", "body": text, "more_body": True}))
        while not sending.done():
            await asyncio.wait([sending, *self._over], timeout=STALL_S, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and (not self.is_open or self._streams.is_far_behind(self._place.seq)):
                self._cut = True
                sending.cancel()
                return

    async def unless_over(self, waiting: Any, timeout_s: float) -> Any:
        """What the coroutine gives; None after the time is over, or when the stream ends."""
        task = asyncio.ensure_future(waiting)
        await asyncio.wait([task, *self._over], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        return None

    async def end(self) -> None:
        """End the answer, unless it was cut off: then the server drops the connection."""
        if not self._cut:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
