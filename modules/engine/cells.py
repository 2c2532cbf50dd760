"""The cells of a sheet as pictures of one job: each is a request of its own, told under its place in the job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modules.core.events import AnyEvent, ImageMade, PhaseChanged, Preview, StepFinished, Warned
from modules.core.request import GenerationRequest
from modules.core.sheet import Sheet
from modules.engine.telling import Job


class Cell:
    """A job that makes one picture, as part of a job that makes ``total``, ``done`` of which are made."""

    def __init__(self, job: Job, picture: int, done: int, total: int) -> None:
        self._job, self._picture, self._done, self._total = job, picture, done, total

    def emit(self, event: AnyEvent) -> None:
        """As `modules.engine.telling.Job` has it, with the cell's number and the whole job's progress."""
        if isinstance(event, StepFinished):
            progress = (self._done + event.progress) / self._total
            eta_s = event.eta_s
            if eta_s is not None and event.progress < 1:
                # The cells to come are taken to be like this one, whose whole time the rest of it tells.
                eta_s += eta_s / (1 - event.progress) * (self._total - self._done - 1)
            event = event.model_copy(update={"progress": progress, "eta_s": eta_s})
        is_told = isinstance(event, Warned) and event.picture is not None
        if is_told or isinstance(event, PhaseChanged | StepFinished | Preview | ImageMade):
            event = event.model_copy(update={"picture": self._picture})
        self._job.emit(event)

    def check(self) -> None:
        """Raise ``Cancelled`` where this cell or the job is not wanted any more."""
        self._job.check()

    def is_skipped(self, picture: int) -> bool:
        """Whether this cell, but not the job, is not wanted any more."""
        return self._job.is_skipped(self._picture)


def each(
    request: GenerationRequest,
    sheet: Sheet,
    pictures: Sequence[int] | None,
    job: Job,
    make: Callable[[GenerationRequest, Job], None],
) -> None:
    """Make these cells (None: all), those together that share what costs most to change."""
    wanted = sheet.ordered(range(len(sheet.cells)) if pictures is None else pictures)
    for done, picture in enumerate(wanted):
        make(request.at(picture), Cell(job, picture, done, len(wanted)))
