"""Latents to pixels: tiles blend without a seam, memory decides about them, cut and rounding are exact."""

import numpy as np
import pytest
import torch

from modules.core.errors import OutOfMemory
from modules.core.geometry import Box
from modules.engine import decode as decoding
from modules.engine.decode import decode, finish
from modules.families.base import LatentFormat


class Decoder:
    """A local decoder: each latent pixel is 8 x 8 pixels of a colour; remembers the sizes that it was asked for."""

    def __init__(self, needs_bytes=0, fails_above=10**9):
        self.family = self
        self.latent = LatentFormat()
        self.device = torch.device("cpu")
        self.needs_bytes, self.fails_above = needs_bytes, fails_above
        self.sizes = []

    def decode_bytes(self, size):
        return self.needs_bytes

    def decode(self, latents):
        self.sizes.append(tuple(latents.shape[-2:]))
        if latents.shape[-1] * latents.shape[-2] > self.fails_above:
            raise torch.OutOfMemoryError("no room")
        return latents[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)


def nothing():
    pass


def latents(height, width):
    return torch.rand(1, 4, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("height", "width", "tile"), [(20, 33, 16), (64, 8, 16), (65, 17, 16), (9, 9, 16), (40, 40, 8)]
)
def test_tiles_add_up_to_the_whole(height, width, tile):
    decoder, given = Decoder(), latents(height, width)
    whole, tiled = decode(decoder, given, nothing), decode(decoder, given, nothing, tile)
    torch.testing.assert_close(tiled, whole, atol=1e-6, rtol=0)
    assert all(max(size) <= tile for size in decoder.sizes[1:])


def test_a_picture_that_does_not_fit_is_tiled():
    decoder = Decoder(needs_bytes=10**18)
    decode(decoder, latents(100, 70), nothing)
    assert max(max(size) for size in decoder.sizes) == decoding.TILE


def test_a_picture_that_turns_out_not_to_fit_is_tiled():
    decoder = Decoder(fails_above=64 * 64)
    result = decode(decoder, latents(100, 70), nothing)
    torch.testing.assert_close(result, Decoder().decode(latents(100, 70))[0], atol=1e-6, rtol=0)
    assert decoder.sizes[0] == (100, 70)


def test_where_no_tile_fits_the_user_hears_of_it():
    with pytest.raises(OutOfMemory):
        decode(Decoder(fails_above=0), latents(16, 16), nothing)


def test_other_failures_are_not_taken_for_memory():
    decoder = Decoder()
    decoder.decode = lambda latents: (_ for _ in ()).throw(RuntimeError("sizes of tensors must match"))
    with pytest.raises(RuntimeError, match="sizes"):
        decode(decoder, latents(8, 8), nothing)


def test_a_cancel_is_asked_for_between_tiles():
    asked = []
    decode(Decoder(), latents(40, 40), lambda: asked.append(1), 16)
    assert len(asked) > 4


def test_the_box_is_cut_and_values_are_rounded_or_truncated():
    levels = torch.tensor([-2.0, -1.0, 0.0, 0.999, 5.0]) * 1.0
    pixels = levels.expand(3, 2, 5).clone()
    box = Box(left=1, top=1, width=4, height=1)
    assert finish(pixels, box, truncate=False)[0, :, 0].tolist() == [0, 128, 255, 255]
    assert finish(pixels, box, truncate=True)[0, :, 0].tolist() == [0, 127, 254, 255]
    assert finish(pixels, box, truncate=True).shape == (1, 4, 3)
    assert finish(pixels, box, truncate=True).dtype == np.uint8
