"""From a plan to pictures: equal by seed and alone or together, cancelled inside a call, told step by step."""

import time

import numpy as np
import pytest

from modules.core.errors import Cancelled
from modules.engine.run import run
from tests.engine.bench import Bench, KeepingJob


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def made(bench, **changed):
    job = KeepingJob()
    run(bench.plan(**changed), bench.workshop, job)
    return job


def test_a_plan_becomes_a_picture_of_the_asked_size(bench):
    job = made(bench, size={"width": 100, "height": 72})
    (event,) = job.of("image_made")
    assert (event.width, event.height, len(event.pixels)) == (100, 72, 100 * 72 * 3)
    assert event.facts["family"] == "analytic"
    assert [phase.phase for phase in job.of("phase")] == ["loading", "reading", "steps", "decoding"]
    assert [(step.call, step.calls) for step in job.of("step")] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert job.of("step")[-1].progress == pytest.approx(1.0)


def test_a_picture_of_a_batch_is_the_picture_alone(bench):
    together = made(bench, count=3, seed=20).images()
    alone = [made(bench, seed=20 + index).images()[0] for index in range(3)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(together[0], together[1])


def test_pictures_of_a_retry_keep_their_seeds(bench):
    from modules.planning.compile import compile
    from tests.engine.bench import request

    job = KeepingJob()
    run(compile(request(count=3, seed=20), bench.catalogue, [2]), bench.workshop, job)
    (event,) = job.of("image_made")
    assert (event.picture, event.seed) == (2, 22)
    np.testing.assert_array_equal(job.images()[0], made(bench, seed=22).images()[0])


def test_hires_is_a_second_pass_with_exactly_its_steps(bench):
    job = made(bench, hires={"scale": 1.5, "steps": 3, "denoise_strength": 0.6})
    (event,) = job.of("image_made")
    assert (event.width, event.height) == (96, 96)
    assert [(step.call, step.calls) for step in job.of("step")] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    progress = [step.progress for step in job.of("step")]
    assert progress == sorted(progress)


def test_hires_without_denoising_only_enlarges(bench):
    job = made(bench, hires={"scale": 2.0, "denoise_strength": 0.0})
    assert len(job.of("step")) == 4
    plain = made(bench).images()[0]
    assert abs(job.images()[0].mean() - plain.mean()) < 3.0


@pytest.mark.parametrize("phase", ["loading", "reading", "steps", "decoding"])
def test_a_cancel_lands_in_every_phase(bench, phase):
    def stop(job, event):
        job.cancelled |= event.type == "phase" and event.phase == phase

    job = KeepingJob(stop)
    with pytest.raises(Cancelled):
        run(bench.plan(count=2), bench.workshop, job)
    assert not job.of("image_made")
    assert len(made(bench).images()) == 1  # the next job is none the worse


def test_a_cancel_lands_inside_a_call(tmp_path):
    bench = Bench(tmp_path, delay_s=1.0)
    began = []

    def stop(job, event):
        if event.type == "step":
            began.append(time.monotonic())

    job = KeepingJob(stop)
    check = job.check
    job.check = lambda: (setattr(job, "cancelled", bool(began) and time.monotonic() > began[0] + 0.1), check())[1]
    with pytest.raises(Cancelled):
        run(bench.plan(), bench.workshop, job)
    assert time.monotonic() - began[0] < 0.1 + 0.3 * 1.0 + 0.2
    assert len(job.of("step")) == 1


def test_a_skipped_picture_leaves_the_others(bench):
    def skip(job, event):
        if event.type == "step" and event.picture == 1:
            job.skipped.add(1)

    job = KeepingJob(skip)
    run(bench.plan(count=3), bench.workshop, job)
    assert [event.picture for event in job.of("image_made")] == [0, 2]
