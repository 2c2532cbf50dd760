"""Latents become pixels: whole where memory allows, in overlapping tiles where it does not, cut to the asked size."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.core.errors import OutOfMemory
from modules.core.geometry import Box, Size
from modules.engine.residency import free_bytes
from modules.families.base import Model

TILE = 64  # latent pixels: 512 pixels of a picture
OVERLAP = 16  # latent pixels that two tiles share, blended along a line
SAFETY = 1.2  # an estimate of memory is trusted only with so much room beside it


def decode(model: Model, latents: Tensor, check: Callable[[], None], tile: int | None = None) -> Tensor:
    """Latents [1 c h w] -> pixels [3 H W], float32 on the CPU, about -1 to 1.

    Tiled (``tile`` latent pixels, ``TILE`` unless told) where the whole asks for more memory than is free, or where it
    turns out so. ``check`` is asked between tiles. Raises OutOfMemory where even a tile does not fit.
    """
    if tile is None and _fits(model, latents):
        try:
            return model.decode(latents)[0].float().cpu()
        except RuntimeError as problem:
            if not is_out_of_memory(problem):
                raise
    try:
        return _tiled(model, latents, tile or TILE, check)
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        raise OutOfMemory(
            "There is not enough memory to decode the picture.", "Close other programs, or make a smaller picture."
        ) from None


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


def _fits(model: Model, latents: Tensor) -> bool:
    scale = model.family.latent.downscale
    size = Size(width=latents.shape[-1] * scale, height=latents.shape[-2] * scale)
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
