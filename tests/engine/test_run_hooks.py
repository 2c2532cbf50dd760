"""Extensions around a picture: every point is called in order, and one that fails is named and left out."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from modules.core.errors import Cancelled
from modules.core.geometry import Size
from modules.engine.run import fulfil, run
from modules.engine.workshop import Workshop
from modules.extend.api import Extension, hook
from modules.extend.hooks import Hooks
from modules.extend.loader import Found, Registry
from tests.engine.bench import Bench, KeepingJob, request


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def made(bench, **changed):
    job = KeepingJob()
    run(bench.plan(**changed), bench.workshop, job)
    return job


def hooked(*extensions):
    failed = []
    return Hooks([(type(one).__name__, one) for one in extensions], failed.append), failed


def with_hooks(bench, hooks, **changed):
    job = KeepingJob()
    run(bench.plan(**changed), bench.workshop, job, hooks)
    return job


def test_every_point_of_a_picture_is_called_in_order(bench):
    seen = []

    @dataclass(frozen=True)
    class Watcher(Extension):
        """Writes down what is called."""

        title = "Watcher"

        @hook
        def patch_model(self, network, patches):
            seen.append("patch_model")
            patches.callback(seen.append, "unpatched")

        @hook
        def edit_conditioning(self, conditioning):
            seen.append("edit_conditioning")

        @hook
        def wrap_denoiser(self, denoiser):
            seen.append("wrap_denoiser")

        @hook
        def after_guidance(self, guided):
            seen.append("after_guidance")

        @hook
        def after_step(self, step):
            seen.append("after_step")

        @hook
        def edit_image(self, image):
            seen.append("edit_image")
            return 255 - image

    plain = made(bench, sampling={"sampler": "Euler", "steps": 2}).images()[0]
    hooks, failed = hooked(Watcher())
    job = with_hooks(bench, hooks, sampling={"sampler": "Euler", "steps": 2})
    assert failed == []
    assert seen == ["patch_model", "edit_conditioning", "wrap_denoiser", *["after_guidance", "after_step"] * 2,
                    "edit_image", "unpatched"]  # fmt: skip
    np.testing.assert_array_equal(job.images()[0], 255 - plain)


def test_an_extension_that_raises_everywhere_leaves_the_picture_as_it_is(bench):
    @dataclass(frozen=True)
    class Broken(Extension):
        """Raises."""

        title = "Broken"

        @hook
        def patch_model(self, network, patches):
            raise RuntimeError("on purpose")

        @hook
        def edit_image(self, image):
            raise RuntimeError("never reached: it is left out by then")

    hooks, failed = hooked(Broken())
    np.testing.assert_array_equal(with_hooks(bench, hooks).images()[0], made(bench).images()[0])
    assert [problem.hook for problem in failed] == ["patch_model"]


def test_a_request_is_edited_before_it_is_planned(bench):
    @dataclass(frozen=True)
    class Smaller(Extension):
        """Halves the width."""

        title = "Smaller"

        @hook
        def edit_request(self, request):
            return request.model_copy(update={"size": Size(width=request.size.width // 2, height=request.size.height)})

    registry = Registry([Found("smaller", Path(), True, True, Smaller)])
    bench.workshop = Workshop(bench.workshop.settings, registry)
    job = KeepingJob()
    fulfil(request(size={"width": 128, "height": 64}, extensions={"smaller": {}}), None, bench.catalogue,
           bench.workshop, job)  # fmt: skip
    assert job.of("image_made")[0].width == 64


def test_a_wrapper_that_fails_in_mid_walk_is_left_out_from_there(bench):
    calls = []

    @dataclass(frozen=True)
    class Late(Extension):
        """Its denoiser raises in the third call."""

        title = "Late"

        @hook
        def wrap_denoiser(self, denoiser):
            def wrapped(x, sigma):
                calls.append(sigma)
                if len(calls) == 3:
                    raise RuntimeError("on purpose")
                return denoiser(x, sigma)

            return wrapped

    hooks, _ = hooked(Late())
    job = with_hooks(bench, hooks)
    assert [warning.code for warning in job.of("warned")] == ["extension_failed"]
    assert "on purpose" in job.of("warned")[0].message
    assert len(calls) == 3
    np.testing.assert_array_equal(job.images()[0], made(bench).images()[0])


def test_a_patch_that_cannot_be_undone_costs_no_job_and_no_other_undoing(bench):
    undone = []

    @dataclass(frozen=True)
    class Messy(Extension):
        """Cannot clean up."""

        title = "Messy"

        @hook
        def patch_model(self, network, patches):
            patches.callback(undone.append, "first")
            patches.callback(lambda: {}["missing"])

    hooks, failed = hooked(Messy())
    job = with_hooks(bench, hooks)
    assert len(job.images()) == 1
    assert undone == ["first"]
    assert [(problem.name, problem.hook) for problem in failed] == [("Messy", "patch_model")]


def test_of_two_wrappers_only_the_one_that_fails_is_named_and_left_out(bench):
    calls = []

    @dataclass(frozen=True)
    class Good(Extension):
        """Counts."""

        title = "Good"

        @hook
        def wrap_denoiser(self, denoiser):
            def wrapped(x, sigma):
                calls.append(sigma)
                return denoiser(x, sigma)

            return wrapped

    @dataclass(frozen=True)
    class Bad(Extension):
        """Would end the program in its first call."""

        title = "Bad"

        @hook
        def wrap_denoiser(self, denoiser):
            return lambda x, sigma: sys.exit(3)

    for order in ((Good(), Bad()), (Bad(), Good())):
        calls.clear()
        hooks, _ = hooked(*order)
        job = with_hooks(bench, hooks)
        assert [warning.facts["extension"] for warning in job.of("warned")] == ["Bad"]
        assert len(calls) == len(job.of("step"))


CARELESS = {
    "edit_request": lambda self, request: request.model_copy(update={"count": request.count + 1}),
    "edit_conditioning": lambda self, conditioning: "cond",
    "wrap_denoiser": lambda self, denoiser: lambda x, sigma: x,
    "after_guidance": lambda self, guided: setattr(guided, "denoised", guided.denoised[..., :1]),
    "after_step": lambda self, step: setattr(step, "x", None),
    "edit_image": lambda self, image: image.astype("float32"),
}


@pytest.mark.parametrize("point", CARELESS)
def test_an_answer_that_is_none_of_the_kind_is_not_taken_and_its_extension_is_named(bench, point):
    careless = CARELESS[point]
    careless.__name__ = point
    kind = dataclass(frozen=True)(type("Careless", (Extension,), {point: hook(careless)}))
    registry = Registry([Found("careless", Path(), True, True, kind)])
    bench.workshop = Workshop(bench.workshop.settings, registry)
    job = KeepingJob()
    fulfil(request(extensions={"careless": {}}), None, bench.catalogue, bench.workshop, job)
    assert [warning.facts for warning in job.of("warned")] == [{"extension": "careless", "hook": point}]
    np.testing.assert_array_equal(job.images()[0], made(bench).images()[0])


def test_a_cancel_passes_through_a_wrapper(bench):
    @dataclass(frozen=True)
    class Around(Extension):
        """Does nothing."""

        title = "Around"

        @hook
        def wrap_denoiser(self, denoiser):
            return lambda x, sigma: denoiser(x, sigma)

    def stop(job, event):
        job.cancelled |= event.type == "step"

    job = KeepingJob(stop)
    with pytest.raises(Cancelled):
        run(bench.plan(), bench.workshop, job, hooked(Around())[0])
    assert not job.of("warned")
