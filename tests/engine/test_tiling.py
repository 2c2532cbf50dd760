"""Tiling: a picture whose edges meet may be shifted around, along each axis by itself, without another coming out."""

import pytest
import torch
from torch import nn

from modules.engine.tiling import tiled, wrapped
from modules.training.networks import TINY, networks_of


@pytest.fixture(scope="module")
def unet():
    return networks_of(TINY, 3).unet.eval().requires_grad_(False)


def answer(unet, x):
    told = torch.randn(1, 77, unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1))
    return unet(x, 500, encoder_hidden_states=told).sample


def latents():
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))


SHIFTS = {"x": (0, 8), "y": (8, 0), "both": (8, 8)}


def difference(unet, shift, axes):
    """How far the answer for shifted latents is from the shifted answer."""
    x = latents()
    with tiled([unet], axes):
        plain, moved = answer(unet, x), answer(unet, x.roll(shift, (2, 3)))
    return float((moved - plain.roll(shift, (2, 3))).abs().max())


@pytest.mark.parametrize("axes", list(SHIFTS))
def test_shifting_by_half_a_picture_shifts_what_the_network_says(unet, axes):
    assert difference(unet, SHIFTS[axes], axes) < 1e-4


@pytest.mark.parametrize(("axes", "other"), [("x", "y"), ("y", "x"), ("x", "both"), ("y", "both")])
def test_the_other_axis_still_ends_where_the_picture_ends(unet, axes, other):
    assert difference(unet, SHIFTS[other], axes) > 1e-3


def test_nothing_of_it_is_left_afterwards_nor_after_an_error(unet):
    x = latents()
    before = answer(unet, x)
    with tiled([unet], "both"):
        assert float((answer(unet, x) - before).abs().max()) > 1e-3
    assert torch.equal(answer(unet, x), before)
    with pytest.raises(RuntimeError, match="on purpose"), tiled([unet], "both"):
        raise RuntimeError("on purpose")
    assert torch.equal(answer(unet, x), before)


def test_a_convolution_sees_the_opposite_edge():
    one = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(one.weight)
    x = torch.zeros(1, 1, 4, 5)
    x[0, 0, 1, 0] = 1.0
    with tiled([one], "x"), torch.no_grad():
        seen = one(x)[0, 0]
    assert seen[:3, [0, 1, 4]].eq(1).all()
    assert float(seen.sum()) == 9.0


def test_a_decoder_s_latents_are_wrapped_along_the_axes():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert wrapped(x, 1, "x")[0, 0].tolist() == [[2, 0, 1, 2, 0], [5, 3, 4, 5, 3]]
    assert wrapped(x, 1, "y")[0, 0].tolist() == [[3, 4, 5], [0, 1, 2], [3, 4, 5], [0, 1, 2]]
    assert wrapped(x, 9, "both").shape == (1, 1, 6, 9)  # no more than there is
