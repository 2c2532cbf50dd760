"""Brownian noise: one path an image, unit normal, the same however it is cut and whoever else is in the batch."""

import pytest
import torch

from modules.engine.brownian import BrownianNoise

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
