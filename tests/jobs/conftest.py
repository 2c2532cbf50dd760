"""Studios, queues, requests and patience for the jobs tests."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.jobs.bus import Bus
from modules.jobs.job import Job
from modules.jobs.journal import Journal
from modules.jobs.ledger import Ledger
from modules.jobs.queue import Queue
from modules.jobs.studio import Studio
from tests.jobs.fakes import MAKERS


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s")
        time.sleep(0.01)


def request_of(prompt: str = "a fox", **fields: Any) -> GenerationRequest:
    """A small request."""
    data = {"prompt": prompt, "seed": 7, "size": {"width": 64, "height": 64}, "sampling": {"steps": 4}, **fields}
    return GenerationRequest.from_data(data)


def ended(studio: Studio, id: str, seconds: float = 20.0) -> Job:
    """The job once it has ended."""
    until(lambda: studio.queue.job(id).has_ended, seconds)
    return studio.queue.job(id)


@dataclass
class Desk:
    """A queue without an engine, on one folder; ``reopen`` is a restart."""

    path: Path

    def __post_init__(self) -> None:
        self.reopen()

    def reopen(self) -> "Desk":
        self.journal = Journal(self.path)
        self.bus = Bus(self.journal)
        self.queue = Queue(self.journal, self.bus)
        self.ledger = Ledger(self.journal, self.queue)
        return self

    def close(self) -> None:
        self.journal.close()

    def submit(self, client: str = "me", prompt: str = "a fox", **named: Any) -> Job:
        fields = {key: named.pop(key) for key in ("count", "model", "seed") if key in named}
        return self.queue.submit(request_of(prompt, **fields), client=client, workspace="w", **named)

    def run_all(self, warm: tuple[str, ...] = ()) -> list[str]:
        """Take and finish everything; returns the ids in the order taken."""
        taken = []
        while job := self.ledger.take(warm):
            taken.append(job.id)
            self.ledger.finish(job.id, 0.0)
        return taken


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "jobs.sqlite")
    yield made
    made.close()


@pytest.fixture(params=["thread", "process"])
def kind(request: pytest.FixtureRequest) -> str:
    """The worker as a thread and as a process."""
    return request.param


@pytest.fixture
def open_studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Opens studios on the test's folder and closes them."""
    opened: list[Studio] = []

    def open_one(kind: str = "thread", **options: Any) -> Studio:
        settings = Settings(data_dir=str(tmp_path / "data"), engine=kind)
        opened.append(Studio.open(settings, maker=MAKERS[kind], options=options))
        return opened[-1]

    yield open_one
    for studio in opened:
        studio.close()
