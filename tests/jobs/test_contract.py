"""What every engine keeps, as a thread and as a process: each job ends once, and finished pictures stay."""

from collections.abc import Callable

from PIL import Image

from modules.jobs.studio import Studio
from tests.jobs.conftest import ended, request_of, until
from tests.jobs.fakes import pixels

Open = Callable[..., Studio]


def events_of(studio: Studio, job: str) -> list[str]:
    return [event.type for event in studio.bus.since(0)[0] if event.job == job]


def test_a_job_becomes_pictures_whose_pixels_are_kept(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind)
    job = studio.queue.submit(request_of(count=2), client="me", workspace="w")
    done = ended(studio, job.id)
    assert (done.state, [picture for picture, _ in done.images]) == ("finished", [0, 1])
    for picture, id in done.images:
        with Image.open(studio.gallery.path(id)) as image:
            assert image.convert("RGB").tobytes() == pixels(7 + picture, 64, 64)
    told = events_of(studio, job.id)
    assert told[0] == "queued"
    assert told[1] == "started"
    assert told[-1] == "finished"
    assert told.count("image") == 2
    assert told.count("step") == 8


def test_an_error_of_the_engine_fails_the_job_and_the_next_one_runs(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind)
    bad = studio.queue.submit(request_of("fail"), client="me", workspace="w")
    worse = studio.queue.submit(request_of("raise"), client="me", workspace="w")
    good = studio.queue.submit(request_of(), client="me", workspace="w")
    assert ended(studio, good.id).state == "finished"
    assert studio.queue.job(bad.id).error == {
        "code": "model", "message": "The model is missing.", "hint": "Look again.", "facts": {"model": "x.safetensors"},
    }  # fmt: skip
    error = studio.queue.job(worse.id).error
    assert error is not None
    assert error["code"] == "engine_failed"
    assert "secret" not in str(error)
    assert studio.engine.describe()["restarts"] == 0


def test_a_dying_engine_costs_no_picture(open_studio: Open, kind: str, tmp_path) -> None:
    studio = open_studio(kind, folder=str(tmp_path))
    job = studio.queue.submit(request_of("die-at:2", count=4), client="me", workspace="w")
    done = ended(studio, job.id)
    assert (done.state, done.attempt, [picture for picture, _ in done.images]) == ("finished", 2, [0, 1, 2, 3])
    told = events_of(studio, job.id)
    assert told.count("image") == 4
    assert told.count("retried") == 1
    assert studio.engine.describe()["restarts"] == 1
    assert len(studio.gallery.of_job(job.id)) == 4


def test_a_job_that_stops_the_engine_twice_is_set_aside(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind)
    bad = studio.queue.submit(request_of("die-at:1", count=3), client="me", workspace="w")
    good = studio.queue.submit(request_of(), client="me", workspace="w")
    assert ended(studio, good.id).state == "finished"
    job = studio.queue.job(bad.id)
    assert job.error is not None
    assert (job.state, job.error["code"], len(job.images)) == ("failed", "set_aside", 1)
    assert studio.engine.describe()["restarts"] == 2


def test_cancel_while_running_keeps_what_is_finished(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind, step_s=0.05)
    job = studio.queue.submit(request_of(count=4), client="me", workspace="w")
    until(lambda: len(studio.queue.job(job.id).images) == 1)
    studio.queue.cancel(job.id)
    studio.queue.cancel(job.id)
    done = ended(studio, job.id, 2)
    assert done.state == "cancelled"
    assert 1 <= len(done.images) < 4
    rest = studio.queue.again(job.id)
    assert rest.pictures == tuple(range(len(done.images), 4))
    assert ended(studio, rest.id).state == "finished"


def test_skip_leaves_out_one_picture(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind, step_s=0.05)
    job = studio.queue.submit(request_of(count=3), client="me", workspace="w")
    until(lambda: any(e.type == "step" and e.job == job.id and e.picture == 1 for e in studio.bus.since(0)[0]))
    studio.queue.skip(job.id)
    done = ended(studio, job.id)
    assert (done.state, [picture for picture, _ in done.images], done.skipped) == ("finished", [0, 2], (1,))


def test_memory_is_freed_between_jobs_and_the_engine_says_so(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind)
    first = studio.queue.submit(request_of(count=2), client="me", workspace="w")
    until(lambda: studio.engine.describe()["told"].get("held"))
    studio.engine.free()  # while it runs or after: the job is made
    assert ended(studio, first.id).state == "finished"
    until(lambda: studio.engine.describe()["told"]["held"] == [])
    again = studio.queue.submit(request_of(), client="me", workspace="w")
    assert ended(studio, again.id).state == "finished"
    assert studio.engine.describe()["restarts"] == 0
