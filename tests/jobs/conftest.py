"""Studios, requests and patience for the jobs tests."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.jobs.job import Job
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
