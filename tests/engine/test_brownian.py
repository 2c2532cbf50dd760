"""Brownian noise: one path an image, unit normal, the same however it is cut and whoever else is in the batch."""

import pytest
import torch
from mixture import denoiser

from modules.engine.brownian import BrownianNoise
from modules.engine.noise import ImageNoise
from modules.engine.samplers import SAMPLERS

SHAPE = (4, 32, 32)


def path(seeds=(5,), source="nv"):
    return BrownianNoise(seeds, SHAPE, 0.03, 14.6, source)


@pytest.mark.parametrize("source", ["nv", "cpu"])
def test_unit_normal(source):
    noise = path(source=source)
    for sigma, sigma_next in ((14.6, 10.0), (3.0, 2.5), (0.05, 0.03)):
        drawn = noise(sigma, sigma_next)
        assert drawn.shape == (1, *SHAPE)
        assert float(drawn.mean()) == pytest.approx(0, abs=0.06)
        assert float(drawn.std()) == pytest.approx(1, abs=0.06)


def test_parts_of_an_interval_add_up_to_it():
    noise = path()
    whole = noise(4.0, 1.0) * 3.0**0.5
    parts = noise(4.0, 2.0) * 2.0**0.5 + noise(2.0, 1.0) * 1.0**0.5
    assert torch.allclose(whole, parts, atol=1e-4)


def test_other_intervals_are_other_noise_and_the_same_is_the_same():
    noise = path()
    first = noise(4.0, 2.0)
    assert abs(float((first * noise(2.0, 1.0)).mean())) < 0.06
    assert torch.allclose(noise(4.0, 2.0), first, atol=1e-5)
    assert torch.allclose(noise(2.0, 4.0), -first, atol=1e-5)


@pytest.mark.parametrize("source", ["nv", "cpu"])
def test_an_image_draws_the_same_alone_and_in_a_batch(source):
    batch, alone = path((1, 2, 3), source), path((2,), source)
    for sigma, sigma_next in ((14.6, 10.0), (10.0, 4.0)):
        assert torch.equal(batch(sigma, sigma_next)[1:2], alone(sigma, sigma_next))


def test_sources_differ():
    assert not torch.allclose(path()(4.0, 2.0), path(source="cpu")(4.0, 2.0))


def test_torchsde_is_left_as_it_was():
    from torchsde._brownian import brownian_interval

    before = brownian_interval._randn
    path()(4.0, 2.0)
    assert brownian_interval._randn is before


def test_a_walk_has_its_images_paths():
    """More steps over the same span refine one path; ``span`` is the full schedule's where only its end is walked."""
    few, many = [14.6, 4.0, 1.0, 0.03, 0.0], [14.6, 8.0, 4.0, 2.0, 1.0, 0.5, 0.03, 0.0]
    assert torch.equal(ImageNoise([5], SHAPE).on_path(few)(4.0, 1.0), ImageNoise([5], SHAPE).on_path(many)(4.0, 1.0))
    whole = ImageNoise([5], SHAPE, span=(0.03, 14.6))
    assert torch.equal(whole.on_path([4.0, 1.0])(4.0, 1.0), path()(4.0, 1.0))


def test_sde_samplers_draw_from_the_path():
    asked = []

    class Asked(ImageNoise):
        def on_path(self, sigmas):
            asked.append(sigmas)
            return super().on_path(sigmas)

    sigmas = [14.6, 4.0, 1.0, 0.0]
    for name in SAMPLERS:
        noise = Asked([5], (4, 4, 4))
        for _ in SAMPLERS[name](denoiser, noise.draw() * 14.6, sigmas, noise):
            pass
        assert bool(asked) == name.endswith(("SDE", "SDE Heun"))
        asked.clear()
