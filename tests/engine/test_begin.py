"""Where a walk from a picture begins: how the picture is fitted, and how many steps and how much noise there are."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from modules.core.geometry import Size
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Prediction
from modules.engine.run import run
from modules.engine.schedules import sigmas_for
from modules.engine.source import prepare, resized
from modules.engine.start import Picture, from_latents, read_source
from modules.families.analytic import Analytic
from modules.library import blobs
from modules.library.blobs import Blobs
from tests.engine.bench import Bench, KeepingJob

SQUARE = Size(width=40, height=40)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def kept(bench, pixels):
    """The hash of a picture among the bench's inputs."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return Blobs(bench.workshop.settings.data / blobs.FOLDER).put(content.getvalue())


def ramp(width=100, height=50):
    """A grey picture [h w 3] whose value is twice its column, from which the place of every pixel can be read."""
    return np.tile((np.arange(width, dtype=np.uint8) * 2)[None, :, None], (height, 1, 3))


def begun(bench, **start):
    """(where a walk from this picture begins, the picture's latents)."""
    plan = bench.plan(start={"picture": kept(bench, ramp(64, 64)), **start}, sampling={"sampler": "Euler", "steps": 20})
    loaded = bench.workshop.residency.model(plan.models["model"], bench.workshop.numerics("safe"))
    source = prepare(plan.request.start, plan.request.size, bench.workshop.inputs)
    picture = Picture(plan, 7, None, source, lambda: None)
    latents = read_source(picture, plan.passes[0], loaded.model)
    return from_latents(picture, plan.passes[0], loaded.model, Prediction.of(loaded.model.diffusion), latents), latents


def test_stretched_shows_all_of_the_picture():
    row = np.asarray(resized(Image.fromarray(ramp()), SQUARE, "stretch"))[20, :, 0]
    assert row == pytest.approx([5 * k + 1.5 for k in range(40)], abs=2)  # columns 2.5 wide, by their middles


def test_cropped_shows_the_middle_in_its_own_proportions():
    """Covered by 80 x 40, of which columns 20 to 60 are left."""
    row = np.asarray(resized(Image.fromarray(ramp()), SQUARE, "crop"))[20, :, 0]
    assert row == pytest.approx([2 * ((k + 20.5) * 1.25 - 0.5) for k in range(40)], abs=2)


def test_filled_shows_all_and_lets_its_edges_go_on():
    """Fitted as 40 x 20 with ten rows above and below it, which repeat its outermost ones."""
    pixels = np.repeat(np.linspace(0, 250, 50).astype(np.uint8)[:, None, None], 100, 1).repeat(3, 2)
    column = np.asarray(resized(Image.fromarray(pixels), SQUARE, "fill"))[:, 20, 0].astype(int)
    assert set(column[:11]) == {column[10]}
    assert set(column[29:]) == {column[29]}
    assert column[10] < 12
    assert column[29] > 238
    assert (np.diff(column[10:30]) > 0).all()


def test_latents_are_stretched_where_the_picture_is_not(bench):
    plan = bench.plan(start={"picture": kept(bench, ramp(128, 64)), "resize": "latent"})
    loaded = bench.workshop.residency.model(plan.models["model"], bench.workshop.numerics("safe"))
    source = prepare(plan.request.start, plan.request.size, bench.workshop.inputs)
    assert (source.picture.size, source.stretches_latents) == ((128, 64), True)
    latents = read_source(Picture(plan, 7, None, source, lambda: None), plan.passes[0], loaded.model)
    pixels = torch.from_numpy(ramp(128, 64)).permute(2, 0, 1)[None].float() / 127.5 - 1
    own = loaded.model.encode_pixels(pixels)
    assert own.shape == (1, 4, 8, 16)
    torch.testing.assert_close(latents, functional.interpolate(own, size=(8, 8), mode="bilinear"))


@pytest.mark.parametrize("how", ["stretch", "crop", "fill", "latent"])
def test_every_way_to_resize_makes_a_picture_of_the_asked_size(bench, how):
    job = KeepingJob()
    run(bench.plan(start={"picture": kept(bench, ramp(90, 33)), "resize": how}), bench.workshop, job)
    assert job.images()[0].shape == (64, 64, 3)


RULE = [(0.75, False, 16), (0.5, False, 11), (0.2, False, 5), (1.0, False, 20), (0.04, False, 1), (0.5, True, 20),
        (0.1, True, 20), (0.0, False, 0)]  # fmt: skip


@pytest.mark.parametrize(("strength", "exact", "walked"), RULE)
def test_as_many_steps_as_the_rule_says(bench, strength, exact, walked):
    """int(strength * 20) + 1 of twenty; with exact steps all twenty, of a longer schedule."""
    job = KeepingJob()
    start = {"picture": kept(bench, ramp(64, 64)), "denoise_strength": strength, "exact_steps": exact}
    run(bench.plan(start=start, sampling={"sampler": "Euler", "steps": 20}), bench.workshop, job)
    assert [step.call for step in job.of("step")] == list(range(1, walked + 1))
    assert len(job.images()) == 1


@pytest.mark.parametrize(("multiplier", "extra"), [(1.0, 0.0), (0.5, 0.0), (1.0, 0.3), (0.8, 0.1)])
def test_the_latents_are_noised_to_the_first_sigma(bench, multiplier, extra):
    """x = latents + multiplier * noise * (sigma + extra), the noise being the seed's first draw."""
    begin, latents = begun(bench, denoise_strength=0.5, noise_multiplier=multiplier, extra_noise=extra)
    full = sigmas_for("Euler", "Automatic", 20, Prediction.of(Analytic.diffusion).times)
    assert begin.sigmas == full[9:]
    drawn = ImageNoise([7], (4, 8, 8)).draw()
    torch.testing.assert_close(begin.x, latents + multiplier * drawn * (full[9] + extra))


def test_exact_steps_begin_in_a_longer_schedule(bench):
    begin, _ = begun(bench, denoise_strength=0.5, exact_steps=True)
    longer = sigmas_for("Euler", "Automatic", 40, Prediction.of(Analytic.diffusion).times)
    assert begin.sigmas == longer[-21:]
