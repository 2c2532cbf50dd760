"""Enlarging between two passes: latents along lines or steps, or the decoded picture by an upscaler of pixels."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from modules.core.errors import BadValue
from modules.core.geometry import Size
from modules.core.upscaling import find_upscaler

NONE = "None"  # only resampled
MOST_TIMES = 3  # one of a fixed factor is repeated so often at most, as in A1111

Pixels = NDArray[np.uint8]


class Upscaler(Protocol):
    """Makes a picture larger; one that only knows its own factor uses that, and is asked again if need be."""

    def enlarge(self, pixels: Pixels, factor: float) -> Pixels:
        """8-bit RGB [h w 3] -> [h' w' 3], about ``factor`` times as large on each side, or by its own factor."""
        ...


class Resampling:
    """Plain arithmetic: a filter of Pillow's."""

    def __init__(self, kernel: Image.Resampling) -> None:
        self._kernel = kernel

    def enlarge(self, pixels: Pixels, factor: float) -> Pixels:
        """As `Upscaler.enlarge`, for any factor."""
        height, width, _ = pixels.shape
        size = max(1, int(width * factor)), max(1, int(height * factor))
        return np.asarray(Image.fromarray(pixels).resize(size, self._kernel))


UPSCALERS: dict[str, Upscaler] = {
    "Lanczos": Resampling(Image.Resampling.LANCZOS),
    "Nearest": Resampling(Image.Resampling.NEAREST),
}
"""Upscalers of pixels by name; ``modules.core.upscaling`` has the same names with their facts."""


def register_upscaler(name: str, upscaler: Upscaler) -> None:
    """Add an upscaler of pixels, or replace the one of its name; its facts go to ``core.upscaling.set_upscalers``."""
    UPSCALERS[name] = upscaler


def enlarge_pixels(
    pixels: Pixels, size: Size, name: str, find: Callable[[str], Upscaler | None] = UPSCALERS.get
) -> Pixels:
    """A picture [h w 3] at exactly ``size``: enlarged until it covers that, then resampled (Lanczos).

    Raises BadValue for an upscaler that is not here.
    """
    upscaler = find(name) if name != NONE else None
    if upscaler is None and name != NONE:
        raise BadValue(f"The upscaler {name!r} is not here any more.", "Choose another one.", field="hires.upscaler")
    for _ in range(MOST_TIMES):
        factor = max(size.width / pixels.shape[1], size.height / pixels.shape[0])
        if factor <= 1 or upscaler is None:
            break
        before = pixels.shape
        pixels = upscaler.enlarge(pixels, factor)
        if pixels.shape == before:
            break
    if (pixels.shape[1], pixels.shape[0]) == (size.width, size.height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.LANCZOS))


def enlarge_latents(latents: Tensor, height: int, width: int, name: str) -> Tensor:
    """Latents [b c h w] -> [b c height width] by the latent upscaler of that name."""
    facts = find_upscaler(name)
    return functional.interpolate(latents, size=(height, width), mode=facts.mode, antialias=facts.antialias)


def middle_of(latents: Tensor, height: int, width: int) -> Tensor:
    """The middle [b c height width] of latents; of an odd excess the smaller half goes left and above."""
    top, left = (latents.shape[-2] - height) // 2, (latents.shape[-1] - width) // 2
    return latents[..., top : top + height, left : left + width]
