"""Sizes and places: what the network sees for the picture that was asked for, what is cut from it, and where to cut."""

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


def covering(picture: Size, size: Size) -> Size:
    """The picture's own proportions at the smallest size that covers ``size``, in A1111's whole numbers."""
    if size.width / size.height > picture.width / picture.height:
        return Size(width=size.width, height=max(1, picture.height * size.width // picture.width))
    return Size(width=max(1, picture.width * size.height // picture.height), height=size.height)


def within(picture: Size, size: Size) -> Size:
    """The picture's own proportions at the largest size that fits into ``size``, in A1111's whole numbers."""
    if size.width / size.height < picture.width / picture.height:
        return Size(width=size.width, height=max(1, picture.height * size.width // picture.width))
    return Size(width=max(1, picture.width * size.height // picture.height), height=size.height)


def padded(box: Box, padding: int, picture: Size) -> Box:
    """The box with so many pixels around it, within the picture."""
    left, top = max(box.left - padding, 0), max(box.top - padding, 0)
    right, bottom = min(box.right + padding, picture.width), min(box.bottom + padding, picture.height)
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def proportioned(box: Box, size: Size, picture: Size) -> Box:
    """The box widened or heightened to the proportions of ``size`` and shifted into the picture, as far as that goes.

    So what is cut out for a walk at ``size`` is not distorted. The whole numbers are A1111's.
    """
    ratio = size.width / size.height
    left, right, top, bottom = box.left, box.right, box.top, box.bottom
    if box.width / box.height > ratio:
        top, bottom = _stretched(top, bottom, box.width / ratio, picture.height)
    else:
        left, right = _stretched(left, right, box.height * ratio, picture.width)
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def _stretched(start: int, end: int, wanted: float, limit: int) -> tuple[int, int]:
    more = int(wanted - (end - start))
    start, end = start - more // 2, end + more - more // 2
    over = max(end - limit, 0)
    start, end = start - over, end - over
    under = max(-start, 0)
    return start + under, min(end + under, limit)
