"""The real engine behind the real queue: killed, stopped inside a call, its file cut under it; the page goes on."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from modules.core.settings import Settings
from modules.families.analytic import write_checkpoint
from modules.jobs.job import Job
from modules.jobs.studio import Studio
from tests.faults.mapped import BYTES, write_weights
from tests.jobs.conftest import ended, request_of, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills by POSIX signals")
CALL_S = 2.0


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with the real engine and two analytic checkpoints: one quick, one whose calls take a while."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "models").mkdir()
    write_checkpoint(folder / "models" / "quick.safetensors", spread=0.3, delay_s=0.01)
    write_checkpoint(folder / "models" / "slow.safetensors", delay_s=CALL_S)
    opened = Studio.open(Settings(data_dir=str(folder), checkpoint="quick"))
    yield opened
    opened.close()


def submit(studio: Studio, model: str = "quick", **fields: object) -> Job:
    sampling = {"steps": 6, "sampler": "Euler a", "cfg_scale": 1.0}
    request = request_of(model={"checkpoint": model}, sampling=sampling, **fields)
    return studio.queue.submit(request, client="me", workspace="w")


def pictures(studio: Studio, job: Job) -> list[bytes]:
    found = []
    for _, id in job.images:
        with Image.open(studio.gallery.path(id)) as image:
            found.append(image.convert("RGB").tobytes())
    return found


def test_a_batch_broken_by_a_kill_equals_an_unbroken_one(studio: Studio) -> None:
    whole = ended(studio, submit(studio, count=8).id, 60)
    assert len(set(pictures(studio, whole))) == 8
    job = submit(studio, count=8)
    until(lambda: len(studio.queue.job(job.id).images) == 3)
    restarts = studio.engine.describe()["restarts"]
    os.kill(studio.engine.describe()["pid"], signal.SIGKILL)
    began = time.monotonic()
    until(lambda: studio.engine.describe()["restarts"] == restarts + 1)
    until(lambda: studio.engine.describe()["state"] == "working", 60)
    print(f"working again after {time.monotonic() - began:.1f} s")
    broken = ended(studio, job.id, 60)
    assert (broken.state, broken.attempt, len(broken.images)) == ("finished", 2, 8)
    assert pictures(studio, broken) == pictures(studio, whole)
    assert len(studio.gallery.of_job(job.id)) == 8


def steps_of(studio: Studio, job: str) -> list[object]:
    """The calls of a job that were done."""
    return [event for event in studio.bus.since(0)[0] if event.type == "step" and event.job == job]


@pytest.mark.parametrize("wait_s", [0.05, 0.15, 0.3])
def test_a_cancel_stops_inside_a_call(studio: Studio, wait_s: float) -> None:
    job = submit(studio, "slow")
    until(lambda: any(e.type == "step" and e.job == job.id for e in studio.bus.since(0)[0]), 60)
    time.sleep(wait_s)  # into the next call
    done = len(steps_of(studio, job.id))
    studio.queue.cancel(job.id)
    assert ended(studio, job.id).state == "cancelled"
    assert len(steps_of(studio, job.id)) == done, "the call that was begun is not done"


def test_a_model_that_is_gone_fails_its_job_alone(studio: Studio) -> None:
    bad = submit(studio, "nowhere")
    good = submit(studio)
    assert ended(studio, good.id, 60).state == "finished"
    error = studio.queue.job(bad.id).error
    assert error is not None
    assert error["code"] == "unknown_model"


def test_a_warm_model_is_told_and_used(studio: Studio) -> None:
    ended(studio, submit(studio).id, 60)
    until(lambda: studio.engine.describe()["model"] == "quick")
    estimate = studio.estimate(request_of(count=2, model={"checkpoint": "quick"}))
    assert estimate is not None
    assert 0.0 < estimate < 60.0


def test_a_file_cut_while_it_is_mapped_costs_one_restart(tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    studio = Studio.open(
        Settings(data_dir=str(tmp_path / "data")), maker="tests.faults.mapped:open_mapped",
        options={"folder": str(tmp_path)},
    )  # fmt: skip
    slowest = [0.0]
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            began = time.monotonic()
            studio.queue.counts()
            studio.bus.snapshot()
            slowest[0] = max(slowest[0], time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        job = studio.queue.submit(request_of(count=2), client="me", workspace="w")
        until(lambda: (tmp_path / "made").exists())
        os.truncate(weights, BYTES // 2)
        (tmp_path / "cut").touch()
        until(lambda: studio.engine.describe()["restarts"] == 1)
        done = ended(studio, job.id)
        assert (done.state, len(done.images)) == ("finished", 2), "both pictures were made before the file was cut"
        other = studio.queue.submit(request_of(), client="me", workspace="w")
        error = ended(studio, other.id).error
        assert error is not None
        assert error["code"] == "model_cut"
        assert studio.engine.describe()["restarts"] == 1
        retried = [event.reason for event in studio.bus.since(0)[0] if event.type == "retried"]
        assert retried == ["ended by SIGBUS"]
    finally:
        over.set()
        asking.join()
        studio.close()
    assert slowest[0] < 10.0
