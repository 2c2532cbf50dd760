"""The event stream: nothing missed, nothing twice, a slow reader harms nobody, and 64 are enough."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from modules.core import limits
from modules.core.events import Failed, Preview, StepFinished
from modules.core.request import GenerationRequest
from modules.httpapi import events
from modules.httpapi.server import build_app
from modules.httpapi.wire import Discretion
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from modules.jobs.queue import Queue

GIVE_UP_S = 10


class Listener:
    """One client of the stream, read by hand; while ``stuck`` it takes nothing."""

    def __init__(self, app, query="", headers=()):
        self.frames = []
        self.status = 0
        self.more = asyncio.Event()
        self.left = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/api/v1/events",
            "raw_path": b"/api/v1/events", "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860),
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(self.scope, self._receive, self._send))
        self._asked = False

    async def _receive(self):
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        await self.free.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        for frame in message.get("body", b"").decode().split("\n\n"):
            if frame:
                self.frames.append(dict(line.split(": ", 1) for line in frame.split("\n")))
        self.more.set()

    async def until(self, ready):
        async with asyncio.timeout(GIVE_UP_S):
            while not ready(self):
                self.more.clear()
                await self.more.wait()
        return self

    async def close(self):
        self.left.set()
        await asyncio.wait_for(self.task, GIVE_UP_S)

    @property
    def ids(self):
        return [int(frame["id"]) for frame in self.frames if "id" in frame and frame["event"] != "hello"]


def step(call, job="j"):
    return StepFinished(job=job, picture=0, call=call, calls=9)


def test_hello_then_live_events_in_order(app, desk):
    async def run():
        listener = Listener(app)
        await listener.until(lambda it: it.frames)
        said = [desk.bus.publish(step(call)) for call in range(5)]
        await listener.until(lambda it: len(it.ids) == 5)
        await listener.close()
        return listener, said

    listener, said = asyncio.run(run())
    assert listener.status == 200
    assert listener.frames[0]["event"] == "hello"
    assert listener.ids == [event.seq for event in said]
    assert json.loads(listener.frames[1]["data"]) == json.loads(said[0].model_dump_json())
    assert listener.frames[1]["event"] == "step"


@pytest.mark.parametrize("by", ["header", "query"])
def test_coming_back_replays_what_was_missed_once(app, desk, by):
    async def run():
        said = [desk.bus.publish(step(call)) for call in range(200)]
        after = str(said[49].seq)
        more = {"headers": [(b"last-event-id", after.encode())]} if by == "header" else {"query": f"after={after}"}
        listener = Listener(app, **more)
        said += [desk.bus.publish(step(call)) for call in range(200, 220)]
        await listener.until(lambda it: len(it.ids) >= 170)
        await listener.close()
        return listener.ids, [event.seq for event in said[50:]]

    ids, expected = asyncio.run(run())
    assert ids == expected


def test_what_is_gone_for_good_is_said(app, desk):
    async def run():
        listener = Listener(app, query="after=999999999999")
        await listener.until(lambda it: len(it.frames) == 2)
        await listener.close()
        return listener.frames

    frames = asyncio.run(run())
    assert frames[1]["event"] == "gap"
    assert json.loads(frames[1]["data"]) == {"seq": desk.bus.last_seq}


def test_a_restart_loses_no_durable_event_and_repeats_none(app, desk, tmp_path):
    """Jobs queued before the program ended are heard by a page that comes back with its last number."""

    async def run(app, after, count):
        listener = Listener(app, query=f"after={after}")
        await listener.until(lambda it: len(it.ids) >= count)
        await listener.close()
        return listener.frames[1:]

    request = GenerationRequest(seed=1)
    first = desk.queue.submit(request, client="c", workspace="w")
    heard = asyncio.run(run(app, 0, 1))
    seconds = [desk.queue.submit(request, client="c", workspace="w") for _ in range(3)]
    desk.journal.close()
    journal = Journal(tmp_path / "jobs.sqlite")
    desk.bus = Bus(journal)
    desk.queue = Queue(journal, desk.bus)
    third = desk.queue.submit(request, client="c", workspace="w")
    again = asyncio.run(run(build_app(desk), heard[-1]["id"], 4))
    journal.close()
    jobs = [json.loads(frame["data"])["job"] for frame in [*heard, *again] if frame["event"] == "queued"]
    assert jobs == [job.id for job in (first, *seconds, third)]
    assert [int(frame["id"]) for frame in again] == sorted({int(frame["id"]) for frame in again})


@pytest.mark.parametrize("said", ["x", "-1", "1" * 19, "1.5", "٣"])
def test_a_number_that_no_event_has_is_422(see, said):
    answer = see("/api/v1/events", headers={"last-event-id": said.encode().decode("latin-1")})
    assert (answer.status, answer.json()["field"]) == (422, "after")


def test_the_sixty_fifth_stream_is_503_and_a_closed_one_makes_room(app):
    async def run():
        listeners = [Listener(app) for _ in range(limits.EVENT_STREAMS)]
        for listener in listeners:
            await listener.until(lambda it: it.frames)
        refused = await Listener(app).until(lambda it: it.status)
        await listeners.pop().close()
        admitted = await Listener(app).until(lambda it: it.frames)
        for listener in [*listeners, admitted]:
            await listener.close()
        return refused.status, admitted.status

    assert asyncio.run(run()) == (503, 200)


def test_a_reader_that_stopped_is_cut_off_and_the_others_hear_all(app, desk, monkeypatch):
    monkeypatch.setattr(events, "STALL_S", 0.02)
    jpeg = b"\xff" * 200_000

    async def run():
        stuck, live = Listener(app), Listener(app)
        await stuck.until(lambda it: it.frames)
        await live.until(lambda it: it.frames)
        stuck.free.clear()
        for number in range(12):
            desk.bus.publish(Preview(job=f"j{number}", picture=0, width=8, height=8, jpeg=jpeg))
            await asyncio.sleep(0)
        await live.until(lambda it: len(it.ids) == 12)
        await asyncio.wait_for(stuck.task, GIVE_UP_S)
        await live.close()
        return stuck

    stuck = asyncio.run(run())
    assert len(stuck.ids) < 12


def test_silence_is_filled_with_comments(app, monkeypatch):
    monkeypatch.setattr(events, "BEAT_S", 0.02)

    async def run():
        listener = Listener(app)
        await listener.until(lambda it: len(it.frames) >= 3)
        await listener.close()
        return listener.frames

    assert asyncio.run(run())[1:3] == [{"": "beat"}] * 2


def test_many_clients_cost_one_encoding_and_messages_name_no_folder(desk, tmp_path):
    streams = events.Streams(desk.bus, Discretion(desk.settings))
    event = desk.bus.publish(Failed(job="j", code="model", message=f"{tmp_path}/models/x.safetensors is cut short"))
    assert streams.text(event) is streams.text(event)
    assert str(tmp_path).encode() not in streams.text(event)
    assert b"x.safetensors is cut short" in streams.text(event)


def test_pixels_for_the_collector_stay_inside(desk):
    streams = events.Streams(desk.bus, Discretion(desk.settings))
    private = SimpleNamespace(type="image_made", seq=5)
    assert list(streams.chunks([private])) == []
