"""The pictures that a request starts from: whether they are there, and whether something of them is made anew."""

from collections.abc import Iterator
from typing import Protocol

from modules.core.errors import BadValue, WorkbenchError
from modules.core.geometry import Box, Size
from modules.core.request import GenerationRequest, StartFrom


class Inputs(Protocol):
    """What planning needs of the input pictures; ``modules.library.blobs.Blobs`` has it."""

    def size(self, sha256: str) -> Size:
        """The picture's size upright; raises NotFound, and WorkbenchError for one that cannot be decoded."""
        ...

    def mask_range(self, sha256: str) -> tuple[int, int]:
        """The darkest and the lightest value of a mask, 0-255; raises likewise."""
        ...


def problems(request: GenerationRequest, inputs: Inputs | None) -> Iterator[WorkbenchError]:
    """What is wrong with the pictures that a request starts from."""
    start = request.start
    if start is None or inputs is None:
        return
    try:
        size = inputs.size(start.picture)
        frame = start.frame or Box(left=0, top=0, width=size.width, height=size.height)
    except WorkbenchError as problem:
        yield _of("start.picture", problem)
        return
    if not overlaps(frame, size):
        yield BadValue("The frame shows nothing of the picture.", "Move it over the picture.", field="start.frame")
    elif start.inpaint:
        yield from _nothing_masked(start, size, frame, inputs)


def overlaps(frame: Box, size: Size) -> bool:
    """Whether a frame shows some of a picture of this size."""
    return frame.left < size.width and frame.top < size.height and frame.right > 0 and frame.bottom > 0


def reaches_past(frame: Box, size: Size) -> bool:
    """Whether a frame shows more than a picture of this size."""
    return frame.left < 0 or frame.top < 0 or frame.right > size.width or frame.bottom > size.height


def _nothing_masked(start: StartFrom, size: Size, frame: Box, inputs: Inputs) -> Iterator[WorkbenchError]:
    assert start.inpaint is not None
    mask, extends = start.inpaint.mask, reaches_past(frame, size)
    try:
        low, high = inputs.mask_range(mask) if mask else (0, 0)
    except WorkbenchError as problem:
        yield _of("start.inpaint.mask", problem)
        return
    is_masked = high > 0 if not start.inpaint.invert else low < 255
    if not extends and not (mask and is_masked):
        yield BadValue("The mask is empty: nothing would be made anew.", "Paint over what is to change.",
                       code="mask_empty", field="start.inpaint.mask")  # fmt: skip


def _of(field: str, problem: WorkbenchError) -> WorkbenchError:
    return WorkbenchError(problem.message, problem.hint, code=problem.code, field=field, status=422, **problem.facts)
