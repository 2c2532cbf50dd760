"""Inpainting: what the masked part starts from, what is kept at every call and at the end, and what is shown."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.geometry import Box, Size
from modules.core.request import SoftInpaint, StartFrom
from modules.engine.denoise import Denoised
from modules.engine.inpaint import Kept, keeping, keeping_before, latent_mask, soft_blend, soft_mask
from modules.engine.noise import ImageNoise
from modules.engine.run import run
from modules.engine.source import prepare
from modules.engine.start import Picture, read_source
from modules.library import blobs
from modules.library.blobs import Blobs
from tests.engine.bench import Bench, KeepingJob

WHOLE = Size(width=64, height=64)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def put(bench, pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return Blobs(bench.workshop.settings.data / blobs.FOLDER).put(content.getvalue())


def red_on_green(size=64):
    """A green picture with a red square in its middle half, and the mask of that square."""
    pixels, mask = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    pixels[..., 1] = 200
    inner = slice(size // 4, size * 3 // 4)
    pixels[inner, inner] = (220, 0, 0)
    mask[inner, inner] = 255
    return pixels, mask


def told(bench, size=64, **inpaint):
    pixels, mask = red_on_green(size)
    return {"picture": put(bench, pixels), "inpaint": {"mask": put(bench, mask), "blur": 0, **inpaint}}


def latents_of(bench, fill):
    plan = bench.plan(start=told(bench, fill=fill))
    loaded = bench.workshop.residency.model(plan.models["model"], bench.workshop.numerics("safe"))
    source = prepare(plan.request.start, WHOLE, bench.workshop.inputs)
    return read_source(Picture(plan, 7, None, source, lambda: None), plan.passes[0], loaded.model)


INSIDE = torch.zeros(8, 8, dtype=torch.bool)
INSIDE[2:6, 2:6] = True


def test_the_original_fill_is_the_picture_itself(bench):
    latents = latents_of(bench, "original")[0, :3]
    assert latents[:, INSIDE].T.unique(dim=0).tolist() == [pytest.approx([220 / 127.5 - 1, -1, -1])]
    assert latents[:, ~INSIDE].T.unique(dim=0).tolist() == [pytest.approx([-1, 200 / 127.5 - 1, -1])]


def test_the_latent_fills_leave_what_is_not_masked(bench):
    original = latents_of(bench, "original")
    for fill in ("noise", "nothing"):
        assert torch.equal(latents_of(bench, fill)[0][:, ~INSIDE], original[0][:, ~INSIDE]), fill


def test_latent_nothing_is_0(bench):
    assert not latents_of(bench, "nothing")[0][:, INSIDE].any()


def test_latent_noise_is_the_seeds_first_draw(bench):
    drawn = ImageNoise([7], (4, 8, 8)).draw()
    assert torch.equal(latents_of(bench, "noise")[0][:, INSIDE], drawn[0][:, INSIDE])


def test_a_fill_has_the_colours_of_its_surroundings(bench):
    """The red is gone; the green around it is what is left everywhere."""
    latents = latents_of(bench, "fill")[0]
    assert float(latents[0].max()) < -0.9
    assert latents[1].flatten().tolist() == pytest.approx([200 / 127.5 - 1] * 64, abs=0.05)


def test_inverted_all_but_the_painted_part_is_made_anew(bench):
    plain, inverted = (
        prepare(StartFrom.model_validate(told(bench, invert=invert)), WHOLE, bench.workshop.inputs).mask
        for invert in (False, True)
    )
    assert np.array_equal(np.asarray(plain), 255 - np.asarray(inverted))


def test_only_masked_walks_the_part_and_its_padding(bench):
    """A mask from 32 to 96 with 10 around it is 22 to 106 of both axes; for a wide picture it is widened."""
    size = Size(width=128, height=64)
    start = StartFrom.model_validate(told(bench, 128, area="masked", padding=10))
    square = prepare(start, WHOLE, bench.workshop.inputs)
    assert square.overlay.place == Box(left=22, top=22, width=84, height=84)
    wide = prepare(start, size, bench.workshop.inputs)
    assert wide.overlay.place == Box(left=0, top=22, width=128, height=84)  # as wide as there is
    assert (square.picture.size, wide.picture.size) == ((64, 64), (128, 64))
    red = np.asarray(square.picture)[..., 0] > 110
    assert red.mean() == pytest.approx((64 / 84) ** 2, abs=0.03)


@pytest.mark.parametrize("area", ["whole", "masked"])
def test_old_bytes_lie_over_the_result_where_nothing_was_masked(bench, area):
    job = KeepingJob()
    run(bench.plan(start=told(bench, area=area, padding=0)), bench.workshop, job)
    old, mask = red_on_green()
    made = job.images()[0]
    assert np.array_equal(made[mask == 0], old[mask == 0])
    assert not np.array_equal(made[mask == 255], old[mask == 255])


def test_without_an_overlay_the_kept_latents_are_still_the_old_ones(bench):
    job = KeepingJob()
    run(bench.plan(start=told(bench, overlay=False)), bench.workshop, job)
    old, mask = red_on_green()
    assert np.abs(job.images()[0].astype(int) - old)[mask == 0].max() <= 1


def soft(**changed):
    return SoftInpaint(**changed)


def test_a_soft_mask_falls_to_a_power_of_sigma():
    new = torch.tensor([0.0, 0.3, 0.9, 1.0])
    for sigma, bias, strength in ((14.0, 1.0, 0.5), (0.5, 1.0, 0.5), (2.0, 3.0, 0.2)):
        wanted = [float(value) ** (sigma**bias * strength) for value in new]
        settings = soft(schedule_bias=bias, preservation_strength=strength)
        assert soft_mask(new, sigma, settings).tolist() == pytest.approx(wanted)


def test_a_soft_blend_has_the_power_mean_of_both_lengths():
    old, new = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1), torch.tensor([0.0, -2.0]).reshape(1, 2, 1, 1)
    mixed = soft_blend(old, new, torch.tensor(0.25), soft(transition_contrast_boost=4.0)).flatten()
    along = np.array([3 * 0.75, 4 * 0.75 - 2 * 0.25])
    length = (5.0**4 * 0.75 + 2.0**4 * 0.25) ** 0.25
    assert mixed.tolist() == pytest.approx(along / np.hypot(*along) * length, rel=1e-4)


def test_soft_keeps_the_old_where_nothing_is_masked_and_the_new_where_all_is():
    old, new = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    mask = torch.tensor([[0.0, 1.0], [0.5, 0.5]])[None, None]
    mixed = Kept(old, mask, soft()).blended(new, 2.0)
    torch.testing.assert_close(mixed[..., 0, 0], old[..., 0, 0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mixed[..., 0, 1], new[..., 0, 1], rtol=1e-3, atol=1e-3)
    assert torch.equal(Kept(old, mask, soft()).finished(new), new)


def test_a_soft_request_makes_a_picture_that_keeps_its_edges(bench):
    job = KeepingJob()
    run(bench.plan(start=told(bench, soft={"mask_influence": 0.0})), bench.workshop, job)
    old, mask = red_on_green()
    made = job.images()[0].astype(int)
    assert np.abs(made - old)[:4].max() <= 3
    assert np.abs(made - old)[mask == 255].max() > 40


def halves():
    old = torch.arange(8.0).reshape(1, 2, 2, 2)
    return Kept(old, torch.tensor([[0.0, 1.0], [0.0, 1.0]])[None, None]), old


def test_every_answer_has_the_kept_part_put_back():
    kept, old = halves()
    answer = keeping(lambda x, sigma: Denoised(x * 2, x * 3, x * 4), kept)(torch.ones(1, 2, 2, 2), 1.0)
    assert torch.equal(answer.x0[..., 0], old[..., 0])
    assert answer.x0[..., 1].eq(2).all()
    assert answer.uncond.eq(4).all()
    assert torch.equal(kept.finished(torch.ones_like(old))[..., 0], old[..., 0])


def test_kept_before_a_call_the_network_sees_the_old_without_noise():
    """Its noise is taken: x - x0 is what it found in what it saw."""
    kept, old = halves()
    seen, x, sigma = [], torch.full((1, 2, 2, 2), 5.0), 3.0

    def denoiser(x, sigma):
        seen.append(x)
        return Denoised(x - sigma * 0.5)

    answer = keeping_before(denoiser, kept)(x, sigma)
    torch.testing.assert_close(seen[0][..., 0], old[..., 0] * 10**0.5)  # clean in the network's own space
    assert seen[0][..., 1].eq(5).all()
    torch.testing.assert_close(answer.x0, x - 1.5)


@pytest.mark.parametrize("rounded", [True, False])
def test_the_mask_of_latents_is_hard_unless_it_is_soft(rounded):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :20] = 1.0  # 2.5 latent pixels
    small = latent_mask(mask, 8, 8, rounded)[0, 0]
    assert small[:, :2].gt(0.9).all()
    assert small[:, 4:].lt(0.1).all()
    assert (set(small.unique().tolist()) == {0.0, 1.0}) == rounded
