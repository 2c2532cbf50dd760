"""The picture that a walk starts from, made ready: cut to its frame, masked, filled and resized."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from modules.core.geometry import Box, Size
from modules.core.request import Inpaint, StartFrom
from modules.engine import masks
from modules.engine.masks import Overlay
from modules.library.blobs import Blobs
from modules.planning.canvas import covering, padded, proportioned, within
from modules.planning.inputs import reaches_past

Resize = Literal["stretch", "crop", "fill", "latent"]


@dataclass(frozen=True)
class Source:
    """A picture ready to be encoded, 8-bit RGB.

    ``mask`` is of the request's size, as is the picture unless its latents are to be stretched; None: all of it may
    change. ``overlay`` is laid over the result.
    """

    picture: Image.Image
    mask: Image.Image | None = None
    overlay: Overlay | None = None
    stretches_latents: bool = False


def prepare(start: StartFrom, size: Size, inputs: Blobs) -> Source:
    """The source of a request for pictures of this size; raises NotFound for a picture that is gone."""
    picture = inputs.open(start.picture)
    seen = Size(width=picture.width, height=picture.height)
    frame = start.frame or Box(left=0, top=0, width=picture.width, height=picture.height)
    extends = reaches_past(frame, seen)
    inpaint = start.inpaint or (Inpaint() if extends else None)
    mask = None
    if inpaint is not None:
        mask = _mask(inpaint, seen, frame, inputs)
        if extends:
            mask = masks.joined(mask, masks.outside(frame, seen))
        mask = masks.blurred(mask, inpaint.blur)
    return _ready(framed(picture, frame), mask, start.resize, inpaint, size)


def framed(picture: Image.Image, frame: Box) -> Image.Image:
    """What a frame shows; beyond the picture its outermost pixels go on, so that nothing ends at its old edge."""
    inside = picture.crop((max(frame.left, 0), max(frame.top, 0), min(frame.right, picture.width),
                           min(frame.bottom, picture.height)))  # fmt: skip
    around = (
        (max(-frame.top, 0), max(frame.bottom - picture.height, 0)),
        (max(-frame.left, 0), max(frame.right - picture.width, 0)),
        (0, 0),
    )
    return Image.fromarray(np.pad(np.asarray(inside), around, "edge")) if any(map(any, around)) else inside


def resized(image: Image.Image, size: Size, how: Resize) -> Image.Image:
    """At exactly this size: stretched, covered with the rest cut off, or fitted with its edges going on."""
    own = Size(width=image.width, height=image.height)
    if own == size:
        return image
    if how in ("stretch", "latent"):
        return _lanczos(image, size)
    scaled = _lanczos(image, covering(own, size) if how == "crop" else within(own, size))
    left, top = size.width // 2 - scaled.width // 2, size.height // 2 - scaled.height // 2
    if how == "crop":
        return scaled.crop((-left, -top, size.width - left, size.height - top))
    around = ((top, size.height - scaled.height - top), (left, size.width - scaled.width - left))
    pixels = np.asarray(scaled)
    return Image.fromarray(np.pad(pixels, (*around, (0, 0))[: pixels.ndim], "edge"))


def _ready(picture: Image.Image, mask: Image.Image | None, how: Resize, inpaint: Inpaint | None, size: Size) -> Source:
    if inpaint is None or mask is None:
        return Source(picture if how == "latent" else resized(picture, size, how), stretches_latents=how == "latent")
    area = masks.bounds(mask) if inpaint.area == "masked" else None
    if area is None:
        stretches = how == "latent" and inpaint.area == "whole"
        small = picture if stretches else resized(picture, size, how)
        mask = resized(mask, size, how)
        overlay = Overlay(resized(picture, size, how), masks.doubled(mask)) if inpaint.overlay else None
        return Source(_filled(small, mask, inpaint), mask, overlay, stretches)
    whole = Size(width=picture.width, height=picture.height)
    place = proportioned(padded(area, inpaint.padding, whole), size, whole)
    cut = (place.left, place.top, place.right, place.bottom)
    overlay = Overlay(picture, mask, place) if inpaint.overlay else None
    small, mask = (resized(image.crop(cut), size, "fill") for image in (picture, mask))
    return Source(_filled(small, mask, inpaint), mask, overlay)


def _mask(inpaint: Inpaint, seen: Size, frame: Box, inputs: Blobs) -> Image.Image:
    """What was painted, as the frame shows it; a mask of another size is stretched over the picture."""
    if inpaint.mask is None:
        return Image.new("L", (frame.width, frame.height))
    painted = resized(inputs.mask(inpaint.mask), seen, "stretch")
    painted = painted if inpaint.soft else masks.binary(painted)
    if inpaint.invert:
        painted = ImageOps.invert(painted)
    return painted.crop((frame.left, frame.top, frame.right, frame.bottom))


def _filled(picture: Image.Image, mask: Image.Image, inpaint: Inpaint) -> Image.Image:
    if inpaint.fill == "original":
        return picture
    return masks.filled(picture, mask if mask.size == picture.size else mask.resize(picture.size))


def _lanczos(image: Image.Image, size: Size) -> Image.Image:
    return image.resize((size.width, size.height), Image.Resampling.LANCZOS)
