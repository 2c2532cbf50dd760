"""The bus: every event gets its number here, durable ones after their commit, and every listener reads one ring."""

import asyncio
import json
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from modules.core import limits
from modules.core.events import (
    ENDINGS,
    AnyEvent,
    EngineChanged,
    Event,
    ImageFinished,
    PhaseChanged,
    Preview,
    QueueChanged,
    Started,
    StepFinished,
    from_json,
)
from modules.jobs.journal import Journal, Transaction

RECALLED = 1_000  # stored events that a restarted program has at hand for pages that come back
RESERVE = 1_000_000  # numbers set aside per write, so that events in memory cost no commit and no number comes twice


class Bus:
    """Numbers, keeps and hands out events.

    The newest 10,000 events wait in a ring for whoever comes back; of previews only the newest of each job. ``seq``
    grows by order of being heard, also over restarts: the database holds how far numbers may have been given.
    """

    def __init__(self, journal: Journal, ring: int = limits.EVENT_RING) -> None:
        self.order = threading.Lock()  # held from numbering to delivery
        self._journal = journal
        self._size = ring
        self._lock = threading.Lock()  # guards what follows, never held while waiting
        self._ring: deque[AnyEvent] = deque()
        self._previews: dict[str | None, Preview] = {}
        self._wakers: set[Callable[[], None]] = set()
        self._state = _State()
        self._waiting: Callable[[], dict[str, Any]] = lambda: {"count": 0, "first": []}
        self._summary: Callable[[str], dict[str, Any]] = lambda job: {}
        reserved = journal.read("SELECT value FROM facts WHERE name = 'seq'")
        self._seq = int(reserved[0]["value"]) if reserved else 0
        self._reserved = self._seq
        self._reserving = False
        self._floor = self._load()
        self._given = self._seq
        journal.herald = self
        self._reserve().result()

    @property
    def last_seq(self) -> int:
        """The number of the newest event that was heard."""
        with self._lock:
            return self._seq

    def publish(self, event: AnyEvent) -> AnyEvent:
        """Number and deliver; a durable event is committed first. Returns it with its ``seq``."""
        if event.durable:
            return self._journal.write(lambda transaction: transaction.say(event)).event
        return self.tell(event)

    def tell(self, event: AnyEvent) -> AnyEvent:
        """Number and deliver without storing; for a durable event only while the disk is too full to hold it."""
        with self.order:
            numbered = self.number(event)
            self.deliver(numbered)
        if self._reserved - numbered.seq < RESERVE // 2 and not self._reserving:
            self._reserve()
        return numbered

    def since(self, seq: int) -> tuple[list[AnyEvent], bool]:
        """Events after ``seq`` in order, and whether some of them are gone (then read ``snapshot`` first)."""
        with self._lock:
            if seq < self._floor or seq > self._seq:
                gap, seq = True, min(seq, self._seq)
            else:
                gap = False
            start = bisect_right(self._ring, seq, key=lambda event: event.seq)
            found = [self._ring[index] for index in range(start, len(self._ring))]
            previews = [event for event in self._previews.values() if event.seq > seq]
        return sorted([*found, *previews], key=lambda event: event.seq), gap

    def subscribe(self, after_seq: int | None = None) -> "Subscription":
        """Listen from after ``after_seq`` (None: from now). Close it, or use it as a context manager."""
        return Subscription(self, self.last_seq if after_seq is None else after_seq)

    def snapshot(self) -> dict[str, Any]:
        """What a page needs to draw the present: plain JSON data, as of ``seq`` or a little later."""
        with self._lock:
            state = self._state.shown(self._previews)
            seq = self._seq
        if state["running"]:
            state["running"]["summary"] = self._summary(state["running"]["job"])
        return {"seq": seq, **state, "waiting": self._waiting()}

    def describe_jobs(self, waiting: Callable[[], dict[str, Any]], summary: Callable[[str], dict[str, Any]]) -> None:
        """The queue says how the waiting jobs, and one job by its id, are summarised in snapshots."""
        self._waiting, self._summary = waiting, summary

    def recall(self, paused: bool, reason: str) -> None:
        """The queue tells at start whether it is paused, before any event says so."""
        with self._lock:
            self._state.paused, self._state.reason = paused, reason

    def number(self, event: AnyEvent) -> AnyEvent:
        """Give the next number and the time; only with ``order`` held."""
        self._given += 1  # a failed commit leaves a hole, never a number given twice
        return event.model_copy(update={"seq": self._given, "at": event.at or time.time()})

    def deliver(self, event: AnyEvent) -> None:
        """Put into the ring and wake the listeners; only with ``order`` held, after the commit of a durable one."""
        with self._lock:
            self._seq = event.seq
            self._state.hear(event)
            if isinstance(event, Preview):
                self._previews[event.job] = event
            else:
                self._ring.append(event)
                if len(self._ring) > self._size:
                    self._floor = self._ring.popleft().seq
                if event.type in (*ENDINGS, "queued"):
                    self._previews.pop(event.job, None)
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each delivery, in the delivering thread: it must only set a flag."""
        with self._lock:
            self._wakers.add(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Undo ``watch``; harmless when repeated."""
        with self._lock:
            self._wakers.discard(wake)

    def _load(self) -> int:
        """Fill the ring with the stored tail; returns the number up to which events are gone."""
        size = min(RECALLED, self._size)
        rows = self._journal.read("SELECT seq, body FROM events ORDER BY seq DESC LIMIT ?", (size + 1,))
        self._ring.extend(from_json(row["body"]) for row in reversed(rows[:size]))
        if rows:
            self._seq = self._reserved = max(self._seq, rows[0]["seq"])
        first = self._journal.read("SELECT value FROM facts WHERE name = 'pruned'")
        pruned = int(first[0]["value"]) if first else 0
        return rows[-1]["seq"] if len(rows) > size else pruned

    def _reserve(self) -> Future[None]:
        target = self._given + RESERVE
        self._reserving = True

        def store(transaction: Transaction) -> None:
            transaction.execute("INSERT OR REPLACE INTO facts (name, value) VALUES ('seq', ?)", (str(target),))

        def settled(future: Future[None]) -> None:
            self._reserving = False  # after a failure the next event asks again
            if future.exception() is None:
                self._reserved = target

        done = self._journal.post(store)
        done.add_done_callback(settled)
        return done


class _State:
    """The present as the events tell it."""

    def __init__(self) -> None:
        self.running: dict[str, Any] | None = None
        self.engine: dict[str, Any] | None = None
        self.paused = False
        self.reason = ""

    def hear(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            before = self.running if self.running and self.running["job"] == event.job else None
            self.running = {"job": event.job, "started": event, "phase": None, "step": None, "images": []}
            self.running["images"] = before["images"] if before else []
        elif isinstance(event, EngineChanged):
            self.engine = json.loads(event.model_dump_json())
        elif isinstance(event, QueueChanged):
            self.paused, self.reason = event.paused, event.reason
        elif self.running and self.running["job"] == event.job:
            if isinstance(event, PhaseChanged | StepFinished):
                self.running[event.type] = event
            elif isinstance(event, ImageFinished):
                self.running["images"] = [*self.running["images"], event]
            elif event.type in ENDINGS or event.type == "queued":
                self.running = None

    def shown(self, previews: dict[str | None, Preview]) -> dict[str, Any]:
        running = None
        if self.running:
            running = {name: _plain(value) for name, value in self.running.items()}
            running["preview"] = _plain(previews.get(self.running["job"]))
        return {"running": running, "engine": self.engine, "paused": self.paused, "reason": self.reason}


def _plain(value: Any) -> Any:
    if isinstance(value, Event):
        return json.loads(value.model_dump_json())
    if isinstance(value, list):
        return [_plain(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


class Subscription:
    """One listener's place in the stream; it holds no buffer, so a slow one costs nothing but its own gap."""

    def __init__(self, bus: Bus, seq: int) -> None:
        self._bus = bus
        self.seq = seq
        self._flag = threading.Event()
        self._flag.set()  # there may be something already
        self._loop: asyncio.AbstractEventLoop | None = None
        self._async_flag: asyncio.Event | None = None
        self._closed = False
        bus.watch(self._wake)

    def wait(self, timeout_s: float | None = None) -> tuple[list[AnyEvent], bool]:
        """For threads: the next events and whether some were missed; ([], False) after the time is over."""
        if not self._flag.wait(timeout_s):
            return [], False
        self._flag.clear()
        return self._take()

    async def next(self) -> tuple[list[AnyEvent], bool]:
        """For coroutines: wait for the next events; the flag says whether some were missed."""
        if self._async_flag is None:
            self._async_flag = asyncio.Event()
            self._loop = asyncio.get_running_loop()
        while True:
            self._async_flag.clear()
            events, gap = self._take()
            if events or gap or self._closed:
                return events, gap
            await self._async_flag.wait()

    async def __aiter__(self) -> AsyncIterator[AnyEvent]:
        """Event by event; ends when closed, or when some were missed (then read ``snapshot`` and subscribe again)."""
        while not self._closed:
            events, gap = await self.next()
            if gap:
                return
            for event in events:
                yield event

    def close(self) -> None:
        """Stop listening; a waiting coroutine or thread returns."""
        self._closed = True
        self._bus.unwatch(self._wake)
        self._wake()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> tuple[list[AnyEvent], bool]:
        events, gap = self._bus.since(self.seq)
        if events:
            self.seq = events[-1].seq
        elif gap:
            self.seq = self._bus.last_seq
        return events, gap

    def _wake(self) -> None:
        self._flag.set()
        loop, flag = self._loop, self._async_flag
        if loop is not None and flag is not None and not loop.is_closed():
            with suppress(RuntimeError):  # the loop closed this very moment
                loop.call_soon_threadsafe(flag.set)
