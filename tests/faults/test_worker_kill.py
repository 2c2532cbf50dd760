"""The engine's process is killed, stopped or deaf in the middle of a batch, and the user loses nothing."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from modules.core.settings import Settings
from modules.jobs import studio as studios
from modules.jobs.engine import Bounds
from modules.jobs.job import Job
from modules.jobs.studio import Studio
from modules.planning.sheets import word
from tests.jobs.conftest import ended, request_of, until
from tests.jobs.fakes import pixels

Open = Callable[..., Studio]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills by POSIX signals")
ROUNDS = int(os.environ.get("ATELIER_FAULT_ROUNDS", "3"))


def pictures_of(studio: Studio, job: Job) -> list[bytes]:
    found = []
    for _, id in job.images:
        with Image.open(studio.gallery.path(id)) as image:
            found.append(image.convert("RGB").tobytes())
    return found


def step_of(studio: Studio, job: str, picture: int) -> bool:
    return any(e.type == "step" and e.job == job and e.picture == picture for e in studio.bus.since(0)[0])


def test_kill_in_the_middle_of_a_batch(open_studio: Open) -> None:
    studio = open_studio("process", step_s=0.01)
    for turn in range(ROUNDS):
        job = studio.queue.submit(request_of(count=8, seed=1000 * turn), client="me", workspace="w")
        until(lambda job=job: step_of(studio, job.id, 3))
        kept = studio.queue.job(job.id).images
        before = {id: studio.gallery.path(id).stat().st_mtime_ns for _, id in kept}
        began = time.monotonic()
        os.kill(studio.engine.describe()["pid"], signal.SIGKILL)
        until(lambda n=turn + 1: studio.engine.describe()["restarts"] == n)
        noticed_s = time.monotonic() - began
        done = ended(studio, job.id)
        assert (done.state, done.attempt, [picture for picture, _ in done.images]) == ("finished", 2, list(range(8)))
        assert pictures_of(studio, done) == [pixels(1000 * turn + n, 64, 64) for n in range(8)]
        assert done.images[: len(kept)] == kept
        assert {id: studio.gallery.path(id).stat().st_mtime_ns for _, id in kept} == before, "kept, not made again"
        assert len(studio.gallery.of_job(job.id)) == 8
        assert noticed_s < 1.0
    told = [event.type for event in studio.bus.since(0)[0]]
    assert (told.count("retried"), told.count("image")) == (ROUNDS, 8 * ROUNDS)


def test_kill_in_the_middle_of_a_sheet(open_studio: Open) -> None:
    studio = open_studio("process", step_s=0.01)
    script = {"kind": "xyz", "x": {"axis": "Steps", "values": "40-43"}, "y": {"axis": "Seed", "values": "11, 12"}}
    request = word(request_of(script=script), studio.phrases).request
    job = studio.queue.submit(request, client="me", workspace="w")
    until(lambda: step_of(studio, job.id, 3))
    kept = studio.queue.job(job.id).images
    os.kill(studio.engine.describe()["pid"], signal.SIGKILL)
    done = ended(studio, job.id)
    assert (done.state, done.attempt) == ("finished", 2)
    cells = [(picture, image) for picture, image in done.images if picture < request.count]
    assert [picture for picture, _ in cells] == list(range(8)), "no cell is lost"
    assert cells[: len(kept)] == list(kept)
    made = [studio.gallery.get(image) for _, image in cells]
    assert [(one.seed, one.request.sampling.steps) for one in made if one.request] == [
        (seed, steps) for seed in (11, 12) for steps in (40, 41, 42, 43)
    ]
    assert all(one.request and one.request.sheet is None for one in made), "each cell is a recipe of its own"
    *_, whole = studio.gallery.of_job(job.id)
    assert (whole.picture, whole.request) == (8, request), "the sheet brings its script back"
    assert {edge.parent for edge in studio.gallery.edges(whole.id) if edge.role == "cell"} == {id for _, id in cells}
    assert whole.width > 4 * 64
    assert whole.height > 2 * 64


def test_a_cancel_while_the_engine_starts_again(open_studio: Open) -> None:
    studio = open_studio("process", step_s=0.05, start_s=4.0)
    job = studio.queue.submit(request_of(count=4), client="me", workspace="w")
    until(lambda: studio.queue.job(job.id).images)
    os.kill(studio.engine.describe()["pid"], signal.SIGKILL)
    until(lambda: studio.queue.job(job.id).attempt == 2)
    studio.queue.cancel(job.id)
    assert ended(studio, job.id).state == "cancelled"
    assert studio.engine.describe()["state"] != "ready", "at once, not after the engine's start"


def bounded(monkeypatch: pytest.MonkeyPatch, **bounds: float) -> None:
    monkeypatch.setattr(studios, "BOUNDS", Bounds(**{"heartbeat_s": 0.1, "dump_s": 1.0, "kill_s": 3.0, **bounds}))  # type: ignore[arg-type]


def test_an_engine_that_stands_still_is_killed_and_started_again(
    open_studio: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(monkeypatch, cancel_s=60.0)
    studio = open_studio("process")
    hanging = studio.queue.submit(request_of("hang"), client="me", workspace="w")
    good = studio.queue.submit(request_of(), client="me", workspace="w")
    assert ended(studio, good.id).state == "finished"
    job = studio.queue.job(hanging.id)
    assert job.error is not None
    assert (job.state, job.error["code"]) == ("failed", "set_aside")
    assert "hung" in job.error["facts"]["reason"]
    assert studio.engine.describe()["restarts"] == 2


def test_a_busy_engine_is_not_taken_for_a_hanging_one(open_studio: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, kill_s=2.0, cancel_s=60.0)
    studio = open_studio("process", step_s=2.5)  # silent for longer than the bound, but its pulse beats
    job = studio.queue.submit(request_of(sampling={"steps": 1}), client="me", workspace="w")
    assert ended(studio, job.id).state == "finished"
    assert studio.engine.describe()["restarts"] == 0


def test_a_deaf_engine_is_killed_and_the_job_counts_as_cancelled(
    open_studio: Open, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    bounded(monkeypatch, dump_s=30.0, kill_s=60.0, cancel_s=0.5)
    studio = open_studio(kind)
    job = studio.queue.submit(request_of("deaf"), client="me", workspace="w")
    good = studio.queue.submit(request_of(), client="me", workspace="w")
    until(lambda: studio.queue.job(job.id).state == "running")
    studio.queue.cancel(job.id)
    assert ended(studio, job.id, 5).state == "cancelled"
    assert ended(studio, good.id).state == "finished"
    assert studio.engine.describe()["restarts"] == 1


@pytest.fixture(params=["thread", "process"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("stage", ["queued", "loading", "reading", "steps", "decoding"])
def test_cancel_lands_at_every_stage(open_studio: Open, kind: str, stage: str) -> None:
    call_s = 0.3
    studio = open_studio(kind, step_s=call_s)
    until(lambda: studio.engine.describe()["state"] == "ready")
    before = studio.queue.submit(request_of(sampling={"steps": 2}), client="me", workspace="w")
    job = studio.queue.submit(request_of(sampling={"steps": 2}), client="me", workspace="w")
    if stage != "queued":
        ended(studio, before.id)
        until(lambda: any(
            event.job == job.id and event.type == "phase" and event.phase == stage for event in studio.bus.since(0)[0]
        ))  # fmt: skip
    studio.queue.cancel(job.id)
    assert ended(studio, job.id).state == "cancelled"
    assert ended(studio, before.id).state == "finished"
    last = studio.queue.submit(request_of(sampling={"steps": 1}), client="me", workspace="w")
    assert ended(studio, last.id).state == "finished"
    assert studio.engine.describe()["restarts"] == 0


def test_nonsense_from_the_engine_costs_the_engine_only(tmp_path: Path) -> None:
    studio = Studio.open(
        Settings(data_dir=str(tmp_path)), maker="tests.faults.nonsense:open_babbler", options={"folder": str(tmp_path)}
    )
    try:
        job = studio.queue.submit(request_of(), client="me", workspace="w")
        assert ended(studio, job.id).state == "finished"
        assert studio.engine.describe()["restarts"] == 1
    finally:
        studio.close()
