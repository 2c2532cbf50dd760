"""Checkpoints become a new one, tensor by tensor: read, summed in float32, written behind a header that stands first.

Sources are read with plain reads, as everywhere here: a file that is cut short underneath is an error, where a mapped
one would end the process. At no time is more than one tensor of the result in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

import torch
from torch import Tensor

from modules.core import limits
from modules.core.errors import ModelError
from modules.core.events import PhaseChanged, StepFinished, Warned
from modules.core.merging import MergeRequest
from modules.engine import loading
from modules.engine.adapters.baked import Baking, baking
from modules.engine.loading import DTYPES, Opened, Tensors
from modules.engine.telling import Job
from modules.families.base import family
from modules.library import atomic, header, recipes
from modules.library.checkpoints import Catalogue
from modules.library.recipes import Baked
from modules.planning.merging import Made, MergePlan, Source, plan

HALF_MOST = torch.finfo(torch.float16).max


def merge(request: MergeRequest, catalogue: Catalogue, job: Job) -> None:
    """Make the checkpoint; told as it grows: ``StepFinished`` counts MiB.

    Raises what `modules.planning.merging.plan` raises, ModelError for a source that was replaced meanwhile or ends
    early, DiskFull, and Cancelled; then nothing is left behind.
    """
    job.emit(PhaseChanged(phase="reading", detail=request.name))
    wanted = plan(request, catalogue)
    for remark in wanted.remarks:
        job.emit(Warned(code=remark.code, message=remark.message, hint=remark.hint, facts=remark.facts))
    hashes = [catalogue.sha256(one, job.check) for one in wanted.checkpoints]
    loras = [Baked(one.name, one.sha256, one.unet, one.te) for one in wanted.loras]
    said = recipes.metadata(request, list(zip(wanted.checkpoints, hashes, strict=True)), loras, wanted.family)
    start = header.encoded(((made.name, made.dtype, made.shape) for made in wanted.tensors), said)
    shapes = {made.name: made.shape for made in wanted.tensors}
    with _sources(wanted, job) as sources, baking(wanted.loras, family(wanted.family), shapes) as changes:
        _write(wanted, start, _Sums(sources, changes, wanted.sources), job)


def _write(wanted: MergePlan, start: bytes, sums: _Sums, job: Job) -> None:
    target, part = wanted.target, atomic.part_of(wanted.target)
    job.emit(PhaseChanged(phase="merging", detail=wanted.request.name))
    try:
        atomic.make_folder(target.parent)
        _forget_earlier(wanted)
        with part.open("wb", buffering=0) as file:
            file.write(start)
            meter = _Meter(file, wanted.size_bytes, job)
            for made in wanted.tensors:
                job.check()
                meter.write(sums.bytes_of(made))
            os.fsync(file.fileno())
        for source in wanted.sources:
            _refuse_changed(source, loading.stamp(source.path))
        if os.path.lexists(target):
            raise ModelError(
                f"A checkpoint {wanted.request.name!r} came while this one was made.", "Choose another name.",
                code="merge_exists", field="name", status=409, name=wanted.request.name,
            )  # fmt: skip
        atomic.replace(part, target)
    except OSError as problem:
        raise atomic.explain(problem, target.parent) from problem
    finally:
        part.unlink(missing_ok=True)
    sums.tell(job)


class _Meter:
    """Writes whole tensors, tells how far the file is, and syncs it now and then."""

    def __init__(self, file: IO[bytes], size_bytes: int, job: Job) -> None:
        self._file, self._size, self._job = file, max(size_bytes, 1), job
        self._done = self._synced = 0
        self._told = 0.0

    def write(self, content: memoryview) -> None:
        left = content
        while left:
            count = self._file.write(left[: limits.MERGE_SYNC_BYTES])
            left = left[count:]
            self._done += count
            if self._done - self._synced >= limits.MERGE_SYNC_BYTES:
                os.fsync(self._file.fileno())
                self._synced = self._done
        progress = self._done / self._size
        if progress - self._told >= 0.005 or self._done == self._size:
            self._told = progress
            self._job.emit(
                StepFinished(
                    picture=0,
                    call=self._done // limits.MIB,
                    calls=self._size // limits.MIB,
                    progress=min(progress, 1.0),
                )
            )


class _Sums:
    """Computes the result's tensors, and keeps what is wrong with the numbers."""

    def __init__(self, sources: Sequence[Tensors], changes: Baking, known: Sequence[Source]) -> None:
        self._sources, self._changes, self._known = sources, changes, known
        self._empty: dict[str, list[str]] = {}  # by the source: its tensors that hold NaN or infinity
        self._too_large: list[str] = []

    def bytes_of(self, made: Made) -> memoryview:
        """One tensor as the file holds it."""
        with torch.inference_mode():
            if made.is_copy:
                return _bytes(self._sources[0][made.terms[0].name])
            value = self._sum(made)
            self._changes.into(made.name, value)
            self._examine(made, value)
            return _bytes(value.to(DTYPES[made.dtype]))

    def _sum(self, made: Made) -> Tensor:
        """In float32. Where another source is narrower, the rest stays as the first has it."""
        first, *others = made.terms
        value = self._sources[first.source][first.name].to(torch.float32).reshape(made.shape)
        part = value
        for one in others:
            sides = self._sources[one.source].shapes[one.name]
            if len(sides) == value.dim() > 1 and sides[1] < part.shape[1]:
                part = value[:, : sides[1]]
        if first.factor != 1.0:
            part.mul_(first.factor)
        for one in others:
            part.add_(_cut(self._sources[one.source][one.name], part), alpha=one.factor)
        return value

    def _examine(self, made: Made, value: Tensor) -> None:
        if not value.numel():
            return
        low, high = (float(edge) for edge in torch.aminmax(value))
        most = max(abs(low), abs(high)) if low == low and high == high else float("nan")
        if most == float("inf") or most != most:
            for one in made.terms:
                if not torch.isfinite(self._sources[one.source][one.name].float()).all():
                    self._empty.setdefault(self._known[one.source].name, []).append(one.name)
        elif made.dtype == "F16" and most > HALF_MOST:
            self._too_large.append(made.name)

    def tell(self, job: Job) -> None:
        """Warn of numbers that draw nothing."""
        for source, names in self._empty.items():
            job.emit(
                Warned(
                    code="merge_not_finite", message=f"{source} holds NaN or infinity in {len(names)} tensors.",
                    hint="Pictures of the result may come out empty; get another copy of that file.",
                    facts={"source": source, "count": len(names), "tensor": names[0]},
                )
            )  # fmt: skip
        if self._too_large:
            job.emit(
                Warned(
                    code="merge_overflow",
                    message=f"{len(self._too_large)} tensors hold numbers that are too large for fp16.",
                    hint="Merge again with bf16 or fp32.",
                    facts={"count": len(self._too_large), "tensor": self._too_large[0]},
                )
            )


def _cut(other: Tensor, part: Tensor) -> Tensor:
    """Another source's tensor in the shape of what it is added to, from the wider of the two the first channels."""
    if other.numel() == part.numel():
        return other.reshape(part.shape)
    return other[:, : part.shape[1]]


def _bytes(value: Tensor) -> memoryview:
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().data


@contextmanager
def _sources(wanted: MergePlan, job: Job) -> Iterator[list[Tensors]]:
    """The checkpoints' tensors, then the VAE's, all open; raises ModelError where one was replaced since."""
    with ExitStack() as files:
        found: list[Opened] = []
        for source in wanted.sources:
            found.append(files.enter_context(loading.opened(source.path, job.check)))
            _refuse_changed(source, found[-1].stamp)
        yield [one.tensors for one in found]


def _refuse_changed(source: Source, found: tuple[int, int]) -> None:
    if found != source.stamp:
        raise ModelError(
            f"{source.name} was replaced while it was merged.", "Merge again: the new file is read then.",
            code="model_changed", checkpoint=source.name,
        )  # fmt: skip


def _forget_earlier(wanted: MergePlan) -> None:
    """What an engine that died left of this very file."""
    head = atomic.part_of(wanted.target).name.rsplit(".", 3)[0]
    for left in wanted.target.parent.glob(".*.part"):
        if left.name.rsplit(".", 3)[0] == head and atomic.is_abandoned(left.name):
            left.unlink(missing_ok=True)
