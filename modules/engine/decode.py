"""Latents become pixels and back: whole where memory allows, else in overlapping tiles; cut to the asked size."""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from modules.core.errors import OutOfMemory
from modules.core.geometry import Box, Size
from modules.engine.residency import free_bytes
from modules.engine.tiling import wrapped
from modules.families.base import Model
from modules.planning.canvas import crop

TILE = 64  # latent pixels: 512 pixels of a picture
OVERLAP = 16  # latent pixels that two tiles share, blended along a line
SAFETY = 1.2  # an estimate of memory is trusted only with so much room beside it


def decode(
    model: Model,
    latents: Tensor,
    check: Callable[[], None],
    tile: int | None = None,
    wraps: Literal["none", "both", "x", "y"] = "none",
) -> Tensor:
    """Latents [1 c h w] -> pixels [3 H W], float32 on the CPU, about -1 to 1.

    Tiled (``tile`` latent pixels, ``TILE`` unless told) where the whole asks for more memory than is free, or where it
    turns out so. ``check`` is asked between tiles. ``wraps`` says along which axes opposite edges meet: then tiles see
    beyond them too. Raises OutOfMemory where even a tile does not fit.
    """
    if tile is None and _fits(model, latents.shape[-2], latents.shape[-1]):
        try:
            return model.decode(latents)[0].float().cpu()
        except RuntimeError as problem:
            if not is_out_of_memory(problem):
                raise
    try:
        if wraps == "none":
            return _tiled(model, latents, tile or TILE, check)
        scale, margin = model.family.latent.downscale, wrapped(latents, OVERLAP, wraps)
        x, y = ((margin.shape[axis] - latents.shape[axis]) // 2 * scale for axis in (-1, -2))
        pixels = _tiled(model, margin, tile or TILE, check)
        return pixels[:, y : pixels.shape[1] - y, x : pixels.shape[2] - x]
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        raise OutOfMemory(
            "There is not enough memory to decode the picture.", "Close other programs, or make a smaller picture."
        ) from None


def encode(
    model: Model, pixels: Tensor, check: Callable[[], None], noise: Tensor | None = None, tile: int | None = None
) -> Tensor:
    """Pixels [1 3 H W] in -1 to 1 -> latents [1 c h w] on the model's device, tiled where `decode` would be.

    The mean of what the encoder says, or with ``noise`` [1 c h w] a draw. Raises OutOfMemory likewise.
    """
    pixels = pixels.to(model.device)
    scale = model.family.latent.downscale
    if tile is None and _fits(model, pixels.shape[-2] // scale, pixels.shape[-1] // scale):
        try:
            return _drawn(*model.posterior(pixels), noise)
        except RuntimeError as problem:
            if not is_out_of_memory(problem):
                raise
    try:
        return _drawn(*_encoded_tiles(model, pixels, tile or TILE, check), noise)
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        raise OutOfMemory(
            "There is not enough memory to read the picture.", "Close other programs, or use a smaller picture."
        ) from None


def as_pixels(picture: NDArray[np.uint8]) -> Tensor:
    """An 8-bit picture [h w 3] -> pixels [1 3 h w], float32 in -1 to 1."""
    scaled = torch.from_numpy(np.array(picture)).float() / 255 * 2 - 1
    return scaled.permute(2, 0, 1)[None]


def on_canvas(pixels: Tensor, canvas: Size) -> Tensor:
    """Pixels [1 c h w] in the middle of a canvas [1 c H W], their outermost ones going on to its ends."""
    box = crop(canvas, Size(width=pixels.shape[-1], height=pixels.shape[-2]))
    sides = (box.left, canvas.width - box.right, box.top, canvas.height - box.bottom)
    return functional.pad(pixels, sides, mode="replicate") if any(sides) else pixels


def is_out_of_memory(problem: RuntimeError) -> bool:
    """Whether torch ran out of memory: it has its own class on GPUs and only words on the CPU."""
    return isinstance(problem, torch.OutOfMemoryError) or "allocate memory" in str(problem)


def finish(pixels: Tensor, box: Box, truncate: bool) -> NDArray[np.uint8]:
    """Pixels [3 H W] about -1 to 1 -> 8-bit picture [h w 3] of the box.

    ``truncate`` cuts fractions off as A1111 does; otherwise they are rounded, which is true on average.
    """
    kept = pixels[:, box.top : box.bottom, box.left : box.right]
    scaled = ((kept + 1) / 2).clamp(0, 1) * 255
    whole = scaled.floor() if truncate else scaled.round()
    return whole.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _drawn(mean: Tensor, std: Tensor, noise: Tensor | None) -> Tensor:
    return mean if noise is None else mean + std * noise.to(mean)


def _encoded_tiles(model: Model, pixels: Tensor, tile: int, check: Callable[[], None]) -> tuple[Tensor, Tensor]:
    """Mean and spread as `_tiled` joins them: each latent pixel is the weighted mean of the tiles that it lies in."""
    scale = model.family.latent.downscale
    height, width = pixels.shape[-2] // scale, pixels.shape[-1] // scale
    total: list[Tensor] = []
    weights = torch.zeros(1, 1, height, width, device=pixels.device)
    for top, bottom in _spans(height, tile):
        for left, right in _spans(width, tile):
            check()
            part = model.posterior(pixels[..., top * scale : bottom * scale, left * scale : right * scale])
            weight = (_ramp(bottom - top, 1)[:, None] * _ramp(right - left, 1)[None, :]).to(pixels.device)
            total = total or [torch.zeros(1, one.shape[1], height, width, device=pixels.device) for one in part]
            for whole, one in zip(total, part, strict=True):
                whole[..., top:bottom, left:right] += one * weight
            weights[..., top:bottom, left:right] += weight
    mean, std = (whole / weights for whole in total)
    return mean, std


def _fits(model: Model, height: int, width: int) -> bool:
    """Whether latents of this height and width can be decoded in one go; encoding takes no more."""
    scale = model.family.latent.downscale
    size = Size(width=width * scale, height=height * scale)
    return SAFETY * model.decode_bytes(size) < free_bytes(model.device)


def _tiled(model: Model, latents: Tensor, tile: int, check: Callable[[], None]) -> Tensor:
    """Each tile weighs 1 in its middle and falls along a line towards its neighbours; the sum is divided by weights."""
    scale = model.family.latent.downscale
    height, width = latents.shape[-2] * scale, latents.shape[-1] * scale
    total, weights = torch.zeros(3, height, width), torch.zeros(1, height, width)
    for top, bottom in _spans(latents.shape[-2], tile):
        for left, right in _spans(latents.shape[-1], tile):
            check()
            part = model.decode(latents[..., top:bottom, left:right])[0].float().cpu()
            weight = _ramp(bottom - top, scale)[:, None] * _ramp(right - left, scale)[None, :]
            place = (slice(None), slice(top * scale, bottom * scale), slice(left * scale, right * scale))
            total[place] += part * weight
            weights[place] += weight
    return total / weights


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Equal tiles that cover the length, each sharing at least OVERLAP (or half a tile) with the next."""
    overlap = min(OVERLAP, tile // 2)
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    for index in range(count):
        start = round(index * (length - tile) / (count - 1)) if count > 1 else 0
        yield start, min(start + tile, length)


def _ramp(length: int, scale: int) -> Tensor:
    """1 in the middle of a tile, falling to nearly 0 at its ends; everywhere above 0."""
    places = torch.arange(length * scale) + 0.5
    edge = min(OVERLAP, length // 2) * scale
    return torch.minimum(places, length * scale - places).clamp(max=edge) / edge
