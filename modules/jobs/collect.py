"""Finished pictures become files and rows; one that finds no room is kept in memory until there is some."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.core.events import AnyEvent, GalleryChanged, ImageFinished, ImageMade, Warned
from modules.core.merging import MergeRequest
from modules.core.request import GenerationRequest
from modules.jobs.job import Job
from modules.jobs.ledger import Ledger
from modules.library import sheetpicture

NO_ROOM = ("disk_full", "not_writable")


class Saved(Protocol):
    """What saving answers: the gallery's id, and what went otherwise than asked."""

    @property
    def id(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def warnings(self) -> tuple[WorkbenchError, ...]: ...


class Outputs(Protocol):
    """Where pictures are written (library.outputs.Outputs)."""

    @property
    def folder(self) -> Path: ...

    def save(
        self, pixels: bytes, *, request: GenerationRequest, facts: Mapping[str, Any], picture: int, seed: int,
        job: str, elapsed_s: float, width: int, height: int, parents: Sequence[tuple[str, str]] = (),
    ) -> Saved: ...  # fmt: skip


class Gallery(Protocol):
    """Where pictures of an earlier run are found (library.index.Gallery)."""

    def of_job(self, job: str) -> tuple[Any, ...]: ...

    def path(self, id: str) -> Path: ...

    def reconcile(self) -> Any: ...


@dataclass
class _Kept:
    job: Job
    made: ImageMade
    elapsed_s: float
    saved: Saved | None = None


class Collector:
    """Saves each picture once: the file first, then the queue's row, by (job, picture).

    While the disk is full up to 8 pictures are kept in memory; ``is_full`` says that no more may be taken. ``complete``
    adds what is known here about a picture's facts, as the hash of a model that the engine had not read yet; ``saved``
    hears of each picture's id once it is recorded.
    """

    def __init__(
        self, outputs: Outputs, gallery: Gallery, ledger: Ledger, publish: Callable[[AnyEvent], Any],
        complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        saved: Callable[[Job, str], None] = lambda job, image: None,
    ) -> None:  # fmt: skip
        self._complete = complete
        self._saved = saved
        self._outputs = outputs
        self._gallery = gallery
        self._ledger = ledger
        self._publish = publish
        self._kept: list[_Kept] = []

    @property
    def folder(self) -> Path:
        """Where pictures are written."""
        return self._outputs.folder

    @property
    def kept(self) -> int:
        """How many finished pictures wait in memory for room."""
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        return len(self._kept) >= limits.SPOOL_PICTURES

    def take(self, job: Job, made: ImageMade, elapsed_s: float) -> str | None:
        """Save a finished picture. Returns None, or why it is kept in memory: "disk_full" or "not_writable".

        Raises WorkbenchError for pixels that no file can hold.
        """
        self._kept.append(_Kept(job, made, elapsed_s))
        return self.save_kept()

    def save_kept(self) -> str | None:
        """Save what is kept, oldest first; returns why some of it is still kept, or None when nothing is."""
        while self._kept:
            try:
                self._store(self._kept[0])
            except (WorkbenchError, OSError) as problem:
                code = problem.code if isinstance(problem, WorkbenchError) else "not_writable"
                if code in NO_ROOM:
                    return code
                self._kept.pop(0)
                raise
            self._kept.pop(0)
        return None

    def search(self) -> None:
        """Look for files that are not in the gallery's index yet."""
        self._gallery.reconcile()

    def adopt(self, job: Job) -> int:
        """Record pictures of this job that an earlier run wrote but could not record any more; returns how many."""
        wanted, adopted = set(job.unmade), 0
        for found in self._gallery.of_job(job.id):
            if found.picture in wanted:
                adopted += self._ledger.record(
                    ImageFinished(job=job.id, picture=found.picture, seed=found.seed or 0, image=found.id,
                                  width=found.width, height=found.height)
                )  # fmt: skip
        return adopted

    def lay_out(self, job: Job) -> None:
        """Make one picture of a whole sheet, whose parents are its cells; done once, whatever ended in between.

        One that cannot be made costs no cell and no job: its owner hears of it.
        """
        if isinstance(job.request, MergeRequest):
            return
        sheet, script = job.request.sheet, job.request.script
        if sheet is None or script is None or len(sheet.cells) < 2:
            return
        made = {found.picture: found for found in self._gallery.of_job(job.id)}
        number = len(sheet.cells)
        if number in made or not made:
            return

        def opened(cell: int) -> Image.Image | None:
            with contextlib.suppress(WorkbenchError, OSError):
                if cell in made:
                    with Image.open(self._gallery.path(made[cell].id)) as file:
                        return file.convert("RGB")
            return None

        first = made[min(made)]
        legend, margin = getattr(script, "legend", False), getattr(script, "margin", 0)
        try:
            whole = sheetpicture.compose(sheet, (first.width, first.height), opened, margin=margin, legend=legend)
            saved = self._outputs.save(
                whole.tobytes(), request=job.request, facts=dict(first.facts), picture=number, seed=job.request.seed,
                job=job.id, elapsed_s=0.0, width=whole.width, height=whole.height,
                parents=tuple((found.id, "cell") for found in made.values()),
            )  # fmt: skip
            self._publish(GalleryChanged(job=job.id, images=(saved.id,), change="found"))
        except (WorkbenchError, OSError, ValueError) as problem:
            with contextlib.suppress(WorkbenchError):
                self._publish(
                    Warned(job=job.id, code="sheet_failed", message=f"The sheet could not be made: {problem}",
                           hint="Its cells are in the gallery.")
                )  # fmt: skip

    def _store(self, kept: _Kept) -> None:
        job, made = kept.job, kept.made
        if kept.saved is None:
            if self._ledger.has_picture(job.id, made.picture):
                return
            kept.saved = self._outputs.save(
                made.pixels, request=job.pictured, facts=self._complete(dict(made.facts)),
                picture=made.picture, seed=made.seed, job=job.id, elapsed_s=kept.elapsed_s,
                width=made.width, height=made.height,
            )  # fmt: skip
        saved = kept.saved
        self._ledger.record(
            ImageFinished(job=job.id, picture=made.picture, seed=made.seed, image=saved.id, width=saved.width,
                          height=saved.height, elapsed_s=kept.elapsed_s)
        )  # fmt: skip
        self._saved(job, saved.id)
        for warning in saved.warnings:
            with contextlib.suppress(WorkbenchError):  # the picture is safe; a warning that finds no room is let go
                self._publish(
                    Warned(job=job.id, picture=made.picture, code=warning.code, message=warning.message,
                           hint=warning.hint, facts=warning.facts)
                )  # fmt: skip
