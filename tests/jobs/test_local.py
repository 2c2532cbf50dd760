"""The watched engine and its worker, frame by frame: one that leaves is given no further job."""

import queue
from typing import Any

import pytest

from modules.core.errors import Busy
from modules.core.events import EngineChanged
from modules.jobs import wire, worker
from modules.jobs.engine import Ended, Task
from modules.jobs.local import LocalEngine

TASK = Task("one", {"seed": 1}, (0,))


class PaperLife:
    """A worker that says what the test lets it say."""

    pid = 1
    has_ended = False

    def __init__(self, *_: Any) -> None:
        self.heard: list[dict[str, Any]] = []
        self.words: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.heard.append(wire.unpack(frame))

    def hear(self, timeout_s: float) -> list[bytes]:
        words, self.words = self.words, []
        return words

    def says(self, state: Any) -> None:
        self.words.append(wire.pack({"is": "event", **EngineChanged(state=state).model_dump()}))

    def ends(self, job: str) -> None:
        self.words.append(wire.pack({"is": "ended", "job": job, "outcome": "finished"}))

    def reason(self) -> str:
        return "ended with code 0"

    def wake(self) -> None: ...


@pytest.fixture
def life() -> PaperLife:
    return PaperLife()


@pytest.fixture
def engine(life: PaperLife) -> LocalEngine:
    made = LocalEngine("nobody:opens", {}, kind="thread")
    made._kind = lambda *_: life  # type: ignore[assignment]
    made.events(0)
    life.says("ready")
    made.events(0)
    return made


def test_one_that_was_told_to_close_is_not_ready_whatever_it_still_says(engine: LocalEngine, life: PaperLife) -> None:
    engine.submit(TASK)
    engine.recycle()
    life.ends("one")
    assert [said for said in engine.events(0) if isinstance(said, Ended)]
    assert life.heard[-1]["do"] == "close"
    life.says("ready")  # it was on the way while the order to close was
    engine.events(0)
    assert engine.describe()["state"] == "starting"
    with pytest.raises(Busy):
        engine.submit(Task("two", {"seed": 2}, (0,)))
    life.has_ended = True
    assert not [said for said in engine.events(0) if isinstance(said, Ended)]


class Spoilt:
    """A maker whose device refuses for good."""

    def make(self, task: Task, job: worker.WorkerJob) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def describe(self) -> dict[str, str]:
        return {"model": "", "device": "cuda"}

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def test_a_worker_whose_device_refuses_asks_for_no_further_job() -> None:
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    orders.put(wire.run(TASK))
    frames: list[dict[str, Any]] = []
    worker.serve(orders.get, lambda frame: frames.append(wire.unpack(frame)), Spoilt, heartbeat_s=60.0)
    told = [frame.get("state") or frame["is"] for frame in frames]
    assert told == ["loading", "ready", "working", "ended"]
