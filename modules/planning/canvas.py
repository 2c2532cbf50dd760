"""Sizes: what the network sees (the canvas) for the picture that was asked for, and what is cut from it afterwards."""

from modules.core.geometry import Box, Size


def canvas_for(size: Size, multiple: int) -> Size:
    """The smallest canvas that covers a picture of this size; both sides are multiples of ``multiple`` pixels."""
    return size.padded_to(multiple)


def enlarged(canvas: Size, picture: Size, scale: float, multiple: int) -> Size:
    """The canvas of a second pass over a canvas enlarged by ``scale``: it covers ``picture``, the enlarged size.

    It grows with the whole first canvas, so that what was padding stays padding and nothing is stretched.
    """
    grown = canvas.times(scale)
    covering = Size(width=max(grown.width, picture.width), height=max(grown.height, picture.height))
    return covering.padded_to(multiple)


def crop(canvas: Size, size: Size) -> Box:
    """What is kept of the canvas: the picture from its middle."""
    return Box(
        left=(canvas.width - size.width) // 2,
        top=(canvas.height - size.height) // 2,
        width=size.width,
        height=size.height,
    )
