"""From a plan to pictures: equal by seed and alone or together, cancelled inside a call, told step by step."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modules.core.compat import SWITCHES
from modules.core.errors import Cancelled, NotFinite, OutOfMemory
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.engine.attention import SLICED, used
from modules.engine.prediction import Prediction
from modules.engine.run import run
from modules.engine.start import Picture, from_noise
from modules.engine.workshop import Workshop
from modules.families.analytic import Analytic
from modules.families.sd1 import SD1
from modules.planning.compile import compile
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob, request


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
    job = KeepingJob()
    run(compile(request(count=3, seed=20), bench.catalogue, [2]), bench.workshop, job)
    (event,) = job.of("image_made")
    assert (event.picture, event.seed) == (2, 22)
    np.testing.assert_array_equal(job.images()[0], made(bench, seed=22).images()[0])


def test_each_picture_s_second_pass_has_its_own_words(bench):
    """Both the request's words and the hires pass's are one a picture, where they differ."""
    words, later = ("red", "blue"), ("green fur", "golden fur")
    hires = {"scale": 1.5, "denoise_strength": 0.6}
    together = made(bench, count=2, seed=20, prompt=words[0], prompts=list(words), prompt_template="x",
                    hires={**hires, "prompt": later[0], "prompts": list(later)}).images()  # fmt: skip
    for index in range(2):
        alone = made(bench, seed=20 + index, prompt=words[index], hires={**hires, "prompt": later[index]})
        np.testing.assert_array_equal(together[index], alone.images()[0])
    plain = made(bench, count=2, seed=20, prompt=words[0], prompts=list(words), hires=hires).images()
    alone = made(bench, seed=21, prompt=words[1], hires=hires).images()[0]
    np.testing.assert_array_equal(plain[1], alone)


@pytest.mark.parametrize("switch", list(SWITCHES))
def test_every_rule_of_other_programs_makes_a_picture_in_both_passes(bench, switch):
    job = made(bench, prompt="[red:(blue:1.3):0.5]", compat=[switch], sampling={"sampler": "DDIM", "steps": 4},
               hires={"scale": 1.5, "denoise_strength": 0.6})  # fmt: skip
    (image,) = job.images()
    assert image.shape == (96, 96, 3)
    assert image.std() > 0


def test_a_walk_from_the_largest_sigma_may_start_with_variance_1(bench):
    model = SimpleNamespace(family=SD1, device=torch.device("cpu"))
    prediction = Prediction.of(SD1.diffusion)

    def first(schedule="Karras", **more):
        plan = bench.plan(
            sampling={"sampler": "Euler", "steps": 4, "schedule": schedule, **more.pop("own", {})}, **more
        )
        return from_noise(Picture(plan, 1, None, None, lambda: None), plan.passes[0], model, prediction).x

    sigma = prediction.times.range[1]
    scale = (1 + sigma**2) ** 0.5 / sigma
    torch.testing.assert_close(first(compat=["unit-noise"]), first() * scale)
    lower = {"own": {"sigma_max": 5.0}}
    torch.testing.assert_close(first(compat=["unit-noise"], **lower), first(**lower))


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


@pytest.mark.parametrize("sampler", [row.name for row in SAMPLERS])
@pytest.mark.parametrize("steps", [1, 5])
def test_every_sampler_makes_a_picture_in_both_passes(bench, sampler, steps):
    job = made(
        bench, sampling={"sampler": sampler, "steps": steps, "cfg_scale": 1.5},
        hires={"scale": 1.25, "denoise_strength": 0.5},
    )  # fmt: skip
    (event,) = job.of("image_made")
    assert (event.width, event.height) == (80, 80)
    assert job.images()[0].std() > 0
    assert not job.of("warned")
    assert job.of("step")[-1].progress == pytest.approx(1.0, abs=0.05)  # an adaptive walk knows its end afterwards


@pytest.mark.parametrize("schedule", [row.name for row in SCHEDULES])
def test_every_schedule_carries_a_brownian_path_through_both_passes(bench, schedule):
    """Schedules whose last sigma depends on the number of steps end lower where hires stretches them."""
    job = made(
        bench, sampling={"sampler": "DPM++ SDE", "schedule": schedule, "steps": 5, "cfg_scale": 1.5},
        hires={"scale": 1.25, "denoise_strength": 0.5},
    )  # fmt: skip
    assert job.images()[0].shape == (80, 80, 3)
    assert job.images()[0].std() > 0


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
    assert len(job.of("step")) == 1  # the second call was begun and never done


def test_a_skipped_picture_leaves_the_others(bench):
    def skip(job, event):
        if event.type == "step" and event.picture == 1:
            job.skipped.add(1)

    job = KeepingJob(skip)
    run(bench.plan(count=3), bench.workshop, job)
    assert [event.picture for event in job.of("image_made")] == [0, 2]


def test_progress_runs_to_the_end_once_whatever_is_skipped_or_made_twice(bench):
    def skip(job, event):
        if event.type == "step" and event.picture == 1 and event.call == 2:
            job.skipped.add(1)

    job = KeepingJob(skip)
    run(bench.plan(count=3, hires={"scale": 1.5}), bench.workshop, job)
    progress = [step.progress for step in job.of("step")]
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1.0)


def test_networks_that_cannot_be_used_are_not_left_out_in_silence(bench):
    job = made(bench, prompt="red cat <hypernet:paper:0.8>")
    assert [warning.code for warning in job.of("warned")] == ["networks_ignored"]
    np.testing.assert_array_equal(job.images()[0], made(bench).images()[0])


def test_a_cancel_is_asked_for_before_every_block_of_a_real_network(bench):
    tiny_checkpoint(bench.models / "tiny.safetensors", 1)
    asked = {"now": 0, "by_call": [], "decoding": 0}

    def hear(job, event):
        if event.type == "step":
            asked["by_call"].append(asked["now"])
        if event.type == "image_made":
            asked["decoding"] = asked["now"] - asked["by_call"][-1]

    job = KeepingJob(hear)
    check = job.check
    job.check = lambda: (asked.update(now=asked["now"] + 1), check())[1]
    run(bench.plan(model={"checkpoint": "tiny"}), bench.workshop, job)
    first, second, *_ = asked["by_call"]
    assert second - first >= 32  # residual and transformer blocks: a third of a call holds ten of them
    assert asked["decoding"] >= 14


@pytest.fixture
def fragile(bench, monkeypatch):
    """The analytic family whose networks or decoder only give numbers in 32 bit; returns which of them fail."""
    broken = {"network": False, "vae": False, "always": False}
    build = Analytic.build

    def built(self, weights, shapes, numerics, device):
        model = build(self, weights, shapes, numerics, device)
        network, decode = model.network, model.decode
        fails = broken["always"] or numerics.network != "float32"
        if fails and broken["network"]:
            model.network = lambda x, time, cond: network(x, time, cond) * float("nan")
        if fails and broken["vae"]:
            model.decode = lambda latents: decode(latents) * float("inf")
        return model

    monkeypatch.setattr(Analytic, "build", built)
    bench.workshop = Workshop(replace(bench.workshop.settings, numerics="bf16"))
    return broken


def test_an_empty_picture_is_made_again_in_32_bit(bench, fragile):
    expected = made(bench, count=2).images()
    bench.workshop.residency.unload()
    fragile["network"] = True
    job = made(bench, count=2)
    assert [warning.code for warning in job.of("warned")] == ["empty_values", "empty_values"]
    assert [event.facts["numerics"] for event in job.of("image_made")] == ["safe", "safe"]
    for one, other in zip(job.images(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_empty_decoding_is_done_again_in_32_bit_without_walking_again(bench, fragile):
    fragile["vae"] = True
    job = made(bench)
    assert [warning.code for warning in job.of("warned")] == ["vae_fp32"]
    assert len(job.of("step")) == 4
    assert len(job.images()) == 1


@pytest.mark.parametrize("part", ["network", "vae"])
def test_a_picture_that_stays_empty_fails_and_leaves_no_file(bench, fragile, part):
    fragile[part] = fragile["always"] = True
    job = KeepingJob()
    with pytest.raises(NotFinite):
        run(bench.plan(count=2, sampling={"sampler": "Euler", "steps": 20}), bench.workshop, job)
    assert not job.images()
    if part == "network":
        assert len(job.of("step")) == 4 + 4  # the fifth call of each profile finds it out


def test_a_picture_whose_checkpoint_was_deleted_meanwhile_is_kept(bench):
    def delete(job, event):
        if event.type == "step":
            (bench.models / "analytic.safetensors").unlink(missing_ok=True)

    job = KeepingJob(delete)
    run(bench.plan(), bench.workshop, job)
    assert job.of("image_made")[0].facts["model_changed"] is True


@pytest.fixture
def short_of_memory(bench, monkeypatch):
    """A tiny checkpoint whose network finds no memory for its first so many calls."""
    tiny_checkpoint(bench.models / "tiny.safetensors", 1)
    plan = bench.plan(model={"checkpoint": "tiny"})
    loaded = bench.workshop.residency.model(plan.models["model"], bench.workshop.numerics("safe"))
    plain, left = loaded.model.network, [1]

    def network(*given):
        if left[0] > 0:
            left[0] -= 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99999999999 bytes.")
        return plain(*given)

    monkeypatch.setattr(loaded.model, "network", network)
    return plan, loaded, left


def test_where_memory_runs_out_other_models_leave_and_the_picture_is_made_again(bench, short_of_memory):
    plan, loaded, _ = short_of_memory
    bench.workshop.residency.model(bench.plan().models["model"], bench.workshop.numerics("safe"))
    job = KeepingJob()
    run(plan, bench.workshop, job)
    assert [warning.code for warning in job.of("warned")] == ["memory_short"]
    assert len(job.images()) == 1
    assert [row["name"] for row in bench.workshop.residency.ledger()] == ["tiny"]
    assert used(loaded.model.parts()["network"]) == SLICED


def test_memory_that_runs_out_again_is_an_error_and_the_next_picture_is_made(bench, short_of_memory):
    plan, _, left = short_of_memory
    left[0] = 2
    job = KeepingJob()
    with pytest.raises(OutOfMemory):
        run(plan, bench.workshop, job)
    run(plan, bench.workshop, job)
    assert len(job.images()) == 1
