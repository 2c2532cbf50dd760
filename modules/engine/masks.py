"""Masks: which part of a picture is made anew, how softly it ends, and how the old pixels are laid over the result.

A mask is 8-bit grey, white (255) where the picture is made anew. The rules are A1111's (docs/parity.md, Inpainting).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from modules.core.geometry import Box, Size

THRESHOLD = 128  # a value above it is masked
FILLING = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))  # (radius of the blur, how often it is laid on)

Pixels = NDArray[np.uint8]


def binary(mask: Image.Image) -> Image.Image:
    """Only white and black."""
    return mask.point([255 * (value > THRESHOLD) for value in range(256)])


def blurred(mask: Image.Image, sigma: int) -> Image.Image:
    """Gaussian blur, across and then down, each with a kernel of 2 int(2.5 sigma + 0.5) + 1 values, mirrored ends."""
    if sigma == 0:
        return mask
    radius = int(2.5 * sigma + 0.5)
    kernel = np.exp(-np.square(np.arange(-radius, radius + 1)) / (2.0 * sigma**2))
    values = np.asarray(mask, np.float64)
    for axis in (1, 0):
        values = np.rint(_along(values, kernel / kernel.sum(), axis))
    return Image.fromarray(values.astype(np.uint8))


def _along(values: NDArray[np.float64], kernel: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    from scipy.ndimage import correlate1d

    return correlate1d(values, kernel, axis, mode="mirror")


def bounds(mask: Image.Image) -> Box | None:
    """The smallest box around everything that is not black; None where all is."""
    found = mask.getbbox()
    if found is None:
        return None
    left, top, right, bottom = found
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def filled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The masked part in the colours of its surroundings: blurred copies of the rest, ever sharper, on each other.

    Where even the widest blur has no colour the rest's mean is taken.
    """
    rest = Image.new("RGBa", picture.size)
    rest.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    made = Image.new("RGBA", picture.size)
    for radius, times in FILLING:
        layer = rest.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            made.alpha_composite(layer)
    weights = 255.0 - np.asarray(mask, np.float64)
    mean = np.average(np.asarray(picture).reshape(-1, 3), 0, weights.ravel()) if weights.any() else (127.5,) * 3
    ground = Image.new("RGB", picture.size, tuple(round(float(value)) for value in mean))
    has_colour = made.getchannel("A").point([255 * (alpha > 0) for alpha in range(256)])
    return Image.composite(made.convert("RGB"), ground, has_colour)


@dataclass(frozen=True)
class Overlay:
    """What is laid over a finished result: the old ``picture``, but where ``mask`` (both of one size) is white.

    ``place`` is where in the old picture the result belongs, None for all of it.
    """

    picture: Image.Image
    mask: Image.Image
    place: Box | None = None

    def with_mask(self, mask: Image.Image) -> "Overlay":
        """The same with another mask, as large as the result."""
        if self.place is None:
            return replace(self, mask=mask)
        whole = Image.new("L", self.picture.size)
        whole.paste(mask.resize((self.place.width, self.place.height), Image.Resampling.LANCZOS), _corner(self.place))
        return replace(self, mask=whole)

    def over(self, result: Pixels) -> Pixels:
        """The result [h w 3] in its place, mixed by the mask; bytes where the mask is black are the old picture's."""
        made = Image.fromarray(result)
        if self.place is None:
            size = made.size
            old, mask = (_sized(image, size) for image in (self.picture, self.mask))
        else:
            old, mask = self.picture, self.mask
            laid = old.copy()
            laid.paste(_sized(made, (self.place.width, self.place.height)), _corner(self.place))
            made = laid
        return np.asarray(Image.composite(made, old, mask))


def _sized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _corner(box: Box) -> tuple[int, int]:
    return box.left, box.top


def doubled(mask: Image.Image) -> Image.Image:
    """Twice as white, so that a soft edge lies outside of what was painted."""
    return mask.point([min(2 * value, 255) for value in range(256)])


def joined(one: Image.Image, other: Image.Image) -> Image.Image:
    """White where either is."""
    return ImageChops.lighter(one, other)


def outside(frame: Box, size: Size) -> Image.Image:
    """The mask of what a frame shows beyond a picture of this size."""
    mask = Image.new("L", (frame.width, frame.height), 255)
    mask.paste(0, (-frame.left, -frame.top, size.width - frame.left, size.height - frame.top))
    return mask
