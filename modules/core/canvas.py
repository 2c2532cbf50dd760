"""What lies on a workspace's canvas: the picture, what was painted over it stroke by stroke, and the frame."""

from typing import Annotated, Literal

from pydantic import Field

from modules.core import limits
from modules.core.geometry import Box, Size
from modules.core.part import Part
from modules.core.request import Sha256

Coordinate = Annotated[float, Field(ge=-limits.FRAME_REACH, le=limits.FRAME_REACH)]


class Stroke(Part):
    """One pull of the brush: what it did, its full width in the picture's pixels, and x, y, pressure (0-1) by turns."""

    tool: Literal["paint", "erase"] = "paint"
    width: Annotated[float, Field(gt=0.0, le=limits.SIDE[1])]
    points: Annotated[tuple[Coordinate, ...], Field(max_length=limits.STROKE_NUMBERS)]


class Document(Part):
    """A canvas as it is kept.

    ``picture`` and ``mask`` (what was masked before the first of the ``strokes``) are pictures' hashes, ``size`` is the
    picture's. ``undone`` are strokes that were taken back and can be done again, the last one first. ``frame`` is the
    part that counts, None for the whole picture.
    """

    version: Literal[1] = 1
    picture: Sha256 | None = None
    size: Size | None = None
    mask: Sha256 | None = None
    strokes: Annotated[tuple[Stroke, ...], Field(max_length=limits.STROKES)] = ()
    undone: Annotated[tuple[Stroke, ...], Field(max_length=limits.UNDONE)] = ()
    frame: Box | None = None
