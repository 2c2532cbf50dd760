"""Times are learnt by phase, model and device, and no clock that jumps makes one negative."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from modules.core.events import PhaseChanged
from modules.jobs.estimates import Course, Estimates
from modules.jobs.studio import Studio
from tests.jobs.conftest import Desk, ended, request_of


def course_of(desk: Desk, estimates: Estimates, clock: Callable[[], float], **fields: object) -> Course:
    return Course(estimates, desk.submit(**fields), "m", "cpu", clock)


def test_nothing_is_said_before_something_is_known(desk: Desk) -> None:
    estimates = Estimates(desk.journal)
    assert estimates.seconds("steps", "m", "cpu") is None
    assert estimates.job(request_of(), 1, "m", "cpu", is_loaded=True) is None


def test_phases_are_learnt_and_kept_over_a_restart(desk: Desk) -> None:
    now = [0.0]
    course = course_of(desk, Estimates(desk.journal), lambda: now[0])
    for phase, seconds in (("loading", 4.0), ("reading", 1.0), ("steps", 8.0), ("decoding", 2.0), ("saving", 0.5)):
        course.hear(PhaseChanged(phase=phase))  # type: ignore[arg-type]
        now[0] += seconds
    course.picture_ended()
    desk.close()
    desk.reopen()
    estimates = Estimates(desk.journal)
    request = request_of()
    assert estimates.job(request, 2, "m", "cpu", is_loaded=False) == pytest.approx(4 + 2 * 11.5)
    assert estimates.job(request, 2, "m", "cpu", is_loaded=True) == pytest.approx(2 * 11.5)
    twice = request_of(sampling={"steps": 8}, size={"width": 128, "height": 64})
    assert estimates.job(twice, 1, "m", "cpu", is_loaded=True) == pytest.approx(1 + 4 * 8 + 2 * 2 + 2 * 0.5)
    told = course_of(desk, estimates, lambda: 0.0).hear(PhaseChanged(phase="steps"))
    assert isinstance(told, PhaseChanged)
    assert told.estimate_s == pytest.approx(8.0)


def test_one_slow_run_does_not_spoil_the_guess(desk: Desk) -> None:
    estimates = Estimates(desk.journal)
    for seconds in (1.0, 1.0, 60.0, 1.0, 1.0):
        estimates.learn("decoding", "m", "cpu", 10.0, seconds)
    assert estimates.seconds("decoding", "m", "cpu", 10.0) == pytest.approx(1.0)
    for _ in range(20):
        estimates.learn("decoding", "m", "cpu", 10.0, 3.0)
    assert estimates.seconds("decoding", "m", "cpu", 20.0) == pytest.approx(6.0)
    assert estimates.seconds("decoding", "new model", "cpu", 10.0) == pytest.approx(3.0)
    assert estimates.seconds("decoding", "m", "cuda", 10.0) is None


def test_a_clock_that_jumps_back_moves_neither_order_nor_times(
    open_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    studio = open_studio("thread", step_s=0.01)
    jobs = []
    for jump in (0.0, -86_400.0, 3_600.0, -3_600.0):
        shift[0] += jump
        jobs.append(studio.queue.submit(request_of(count=2), client="me", workspace="w"))
    for job in jobs:
        assert ended(studio, job.id).state == "finished"
        shift[0] -= 86_400.0
    events = studio.bus.since(0)[0]
    assert [event.job for event in events if event.type == "finished"] == [job.id for job in jobs]
    assert all(a.seq < b.seq for a, b in pairwise(events))
    times = [event.elapsed_s for event in events if event.type in ("image", "finished")]
    times += [event.estimate_s or 0.0 for event in events if event.type == "phase"]
    times.append(studio.estimate(jobs[0].request) or -1.0)
    assert min(times) >= 0.0
    assert len({id for job in jobs for _, id in studio.queue.job(job.id).images}) == 8
