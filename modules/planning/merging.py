"""A merge with nothing left to decide: which tensors the new checkpoint has, and what each is the sum of; no torch."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modules.core import limits
from modules.core.errors import BadValue, DiskFull, ModelError, WorkbenchError
from modules.core.merging import BakedLora, MergeRequest
from modules.core.plan import AdapterFile, Remark
from modules.families import base
from modules.families.evidence import LATENT_IN
from modules.library import folders, header, vaes
from modules.library.adapterkeys import FAMILIES
from modules.library.checkpoints import FOLDERS, SUFFIXES, Catalogue, Checkpoint
from modules.library.header import TensorInfo
from modules.planning.adapters import refuse_other_family
from modules.prompt import blocks

BASE = "BASE"
DTYPES = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
_UNET = "model.diffusion_model."
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_LETTERS = "abc"
Tensors = Mapping[str, TensorInfo]


class Term(NamedTuple):
    """One summand: so much of a tensor of a source."""

    source: int
    name: str
    factor: float


class Made(NamedTuple):
    """One tensor of the result. A copy has one term, and its very bytes; every other one is the sum of its terms."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    is_copy: bool

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * header.BITS[self.dtype] // 8


@dataclass(frozen=True)
class Source:
    """A file or folder that is read: its name for people, and its ``stamp`` (see `modules.core.plan.ModelFile`)."""

    name: str
    path: Path
    stamp: tuple[int, int]


@dataclass(frozen=True)
class MergePlan:
    """Everything decided. ``sources`` are the checkpoints, then the VAE if one is baked; ``tensors`` in file order.

    ``blocks`` names the weights of `MergeRequest.blocks` for this family. ``remarks`` are for the owner to hear.
    """

    request: MergeRequest
    target: Path
    family: str
    checkpoints: tuple[Checkpoint, ...]
    sources: tuple[Source, ...]
    tensors: tuple[Made, ...]
    loras: tuple[AdapterFile, ...]
    blocks: tuple[str, ...]
    remarks: tuple[Remark, ...]

    @property
    def size_bytes(self) -> int:
        """The result's numbers; its header is small beside them."""
        return sum(made.size_bytes for made in self.tensors)


def plan(request: MergeRequest, catalogue: Catalogue) -> MergePlan:
    """Decide a merge; only headers are read.

    Raises what `Catalogue.find` raises with the field ``a``, ``b`` or ``c``, and ModelError ``merge_families``,
    ``merge_tensor`` (naming the tensor that is missing or has another shape), ``merge_exists``, ``adapter_family``;
    BadValue for weights of blocks that this family does not have; DiskFull where the result has no room.
    """
    checkpoints = tuple(
        _found(catalogue, letter, name) for letter, name in zip(_LETTERS, request.sources, strict=False)
    )
    _refuse_other_families(checkpoints)
    target = _target(request.name, catalogue)
    family = base.family(checkpoints[0].family or "")
    listed = [tensors_of(one.path) for one in checkpoints]
    sources = [Source(one.name, one.path, one.stamp) for one in checkpoints]
    names = block_names(listed[0])
    if request.blocks and len(request.blocks) != len(names):
        raise BadValue(
            f"blocks holds {len(request.blocks)} weights; {family.title} has {len(names)}.",
            f"In order: {', '.join(names)}.", field="blocks", wanted=len(names),
        )  # fmt: skip
    amounts = dict(zip(names, request.blocks or (request.amount,) * len(names), strict=True))
    baked: Tensors = {}
    places: dict[str, str] = {}
    if request.vae and request.vae != vaes.OWN:
        vae, baked, places = _vae(request.vae, catalogue, checkpoints[0], listed[0])
        sources.append(vae)
    made: list[Made] = []
    for name, own in listed[0].items():
        use = family.use_of(name)
        if (use == "spare" and request.prune) or (places and name.startswith(vaes.PREFIX)):
            continue
        if use == "weights" and own.dtype in _FLOATS:
            terms = _terms(request, name, amounts[block_of(name, names)], listed, checkpoints)
            made.append(Made(name, DTYPES[request.precision], own.shape, terms, is_copy=False))
        else:
            made.append(Made(name, own.dtype, own.shape, (Term(0, name, 1.0),), is_copy=True))
    for name, there in places.items():
        info = baked[there]
        made.append(Made(name, DTYPES[request.precision], info.shape, (Term(len(checkpoints), there, 1.0),), False))
    # wide numbers first, as readers of the format that look at them in place need
    made.sort(key=lambda one: -header.BITS[one.dtype])
    loras = tuple(_lora(one, catalogue, checkpoints[0], index) for index, one in enumerate(request.loras))
    found = MergePlan(
        request, target, family.name, checkpoints, tuple(sources), tuple(made), loras, names, _remarks(checkpoints)
    )
    _refuse_without_room(target.parent, found.size_bytes)
    return found


def tensors_of(path: Path) -> Tensors:
    """A checkpoint's tensors by their original names, of a file or of a folder in parts, in the file's order."""
    if folders.is_folder(path):
        folder = folders.read(path)
        return {name: folder.headers[place.file].tensors[place.name] for name, place in folder.places.items()}
    return dict(sorted(header.read(path).tensors.items(), key=lambda item: item[1].start))


def block_names(names: Iterable[str]) -> tuple[str, ...]:
    """The blocks that a merge can weigh one by one: BASE, then those of the UNet as it is walked."""
    found = {blocks.of(name.removeprefix(_UNET)) for name in names if name.startswith(_UNET)} - {""}
    sides = ("IN", "M", "OUT")
    return (BASE, *sorted(found, key=lambda block: (sides.index(block.rstrip("0123456789")), block)))


def block_of(name: str, names: Sequence[str]) -> str:
    """Whose weight a tensor has: what is in no block of the UNet goes with the first or the last, the rest is BASE."""
    if not name.startswith(_UNET) or len(names) == 1:
        return BASE
    plain = name.removeprefix(_UNET)
    return blocks.of(plain) or (names[-1] if plain.startswith("out.") else names[1])


def _found(catalogue: Catalogue, letter: str, name: str) -> Checkpoint:
    try:
        return catalogue.find(name)
    except ModelError as problem:
        raise ModelError(
            problem.message, problem.hint, code=problem.code, field=letter, status=problem.status, **problem.facts
        ) from None


def _refuse_other_families(checkpoints: Sequence[Checkpoint]) -> None:
    first = checkpoints[0]
    for letter, other in zip(_LETTERS[1:], checkpoints[1:], strict=False):
        if other.family != first.family:
            titles = [base.family(one.family or "").title for one in (first, other)]
            raise ModelError(
                f"{first.name} is {titles[0]}, {other.name} is {titles[1]}: their tensors do not fit each other.",
                f"Choose a checkpoint of {titles[0]}.", code="merge_families", field=letter,
                first=first.name, other=other.name, family=titles[0], other_family=titles[1],
            )  # fmt: skip


def _target(name: str, catalogue: Catalogue) -> Path:
    """Where the result goes: the checkpoints' folder of the first models folder. Raises where the name is taken."""
    root = catalogue.folders[0]
    try:
        inner = next((place for place in sorted(root.iterdir()) if place.name.lower() in FOLDERS), None)
    except OSError:
        inner = None
    target = (inner or root / "Stable-diffusion") / f"{name}{SUFFIXES[0]}"
    known = {one.name.lower().rpartition("/")[2] for one in catalogue.list()}
    if name.lower() in known or os.path.lexists(target):
        raise ModelError(
            f"There is a checkpoint {name!r} already.", "Choose another name.", code="merge_exists", field="name",
            status=409, name=name,
        )  # fmt: skip
    return target


def _terms(
    request: MergeRequest, name: str, amount: float, listed: Sequence[Tensors], checkpoints: Sequence[Checkpoint]
) -> tuple[Term, ...]:
    factors = {"weighted": (1.0 - amount, amount), "difference": (1.0, amount, -amount), "none": (1.0,)}
    shape = listed[0][name].shape
    terms: list[Term] = []
    for source, factor in enumerate(factors[request.method]):
        there = name if source == 0 else _fitting(name, shape, listed[source], checkpoints[source], _LETTERS[source])
        terms.append(Term(source, there, factor))
    widths = {listed[term.source][term.name].shape for term in terms}
    if len(widths) == 1:  # what counts nothing is not read, but a wider tensor's rest is A's
        terms = [term for term in terms if term.factor] or terms[:1]
    return tuple(terms)


def _fitting(name: str, shape: tuple[int, ...], listed: Tensors, whose: Checkpoint, letter: str) -> str:
    """What another source calls the tensor; raises ModelError where it is missing or of another shape."""
    there = next((written for written in (name, _other_level(name)) if written in listed), None)
    if there is None:
        raise _unfit(name, whose, letter, "lacks the tensor", "")
    found = listed[there].shape
    if _without_ones(found) == _without_ones(shape) or _is_narrower_input(name, shape, found):
        return there
    raise _unfit(name, whose, letter, "has another shape of", f" ({list(found)}, not {list(shape)})")


def _unfit(name: str, whose: Checkpoint, letter: str, what: str, more: str) -> ModelError:
    return ModelError(
        f"{whose.name} {what} {name}{more}.", "Choose a checkpoint of the same making; a part of one cannot be merged.",
        code="merge_tensor", field=letter, checkpoint=whose.name, tensor=name,
    )  # fmt: skip


def _other_level(name: str) -> str:
    """CLIP's tensors with or without the level that transformers' versions differ in."""
    head, found, rest = name.partition(".transformer.")
    if not found:
        return name
    return head + found + (rest.removeprefix("text_model.") if rest.startswith("text_model.") else "text_model." + rest)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A matrix in one layout is a 1x1 convolution in another."""
    return shape[:-2] if len(shape) == 4 and shape[-2:] == (1, 1) else shape


def _is_narrower_input(name: str, shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """A model made for inpainting or edits takes more channels; of those, a plain one has the first."""
    is_input = name in LATENT_IN and len(shape) == len(other) == 4
    return is_input and other[1] < shape[1] and (other[0], *other[2:]) == (shape[0], *shape[2:])


def _vae(
    name: str, catalogue: Catalogue, checkpoint: Checkpoint, own: Tensors
) -> tuple[Source, Tensors, dict[str, str]]:
    found = catalogue.vaes.choose(name, checkpoint.path)
    assert found is not None  # only the words for "its own" give none
    listed = header.read(found.path).tensors
    places = vaes.original_names({one: info.shape for one, info in listed.items()}) or {}
    for written, there in places.items():
        if written in own and _without_ones(own[written].shape) != _without_ones(listed[there].shape):
            raise ModelError(
                f"The VAE {found.name} is not made for this family: {written} has another shape.",
                "Choose a VAE for this family of models.", code="vae_differs", field="vae", file=found.path.name,
            )  # fmt: skip
    return Source(found.name, found.path, found.stamp), listed, places


def _lora(one: BakedLora, catalogue: Catalogue, checkpoint: Checkpoint, index: int) -> AdapterFile:
    field = f"loras.{index}"
    weights = blocks.read(one.blocks) if one.blocks else ()
    if weights is None:
        lengths = ", ".join(str(length) for length in blocks.NAMES)
        raise BadValue(
            f"{one.blocks[:80]!r} is neither a preset nor {lengths} numbers.",
            f"There are {', '.join(blocks.PRESETS)}.", field=f"{field}.blocks",
        )  # fmt: skip
    try:
        if checkpoint.family not in FAMILIES:
            raise ModelError(f"No LoRA fits {checkpoint.name}.", "Take it out of the list.", code="adapter_family")
        found = catalogue.adapters.find("lora", one.name)
        refuse_other_family(found, checkpoint)
    except WorkbenchError as problem:
        raise ModelError(
            problem.message, "Take it out of the list, or choose another.", code=problem.code, field=field,
            **problem.facts,
        ) from None  # fmt: skip
    return AdapterFile(
        name=found.name, path=str(found.path), stamp=found.stamp, family=found.family, sha256=found.sha256,
        short_hash=found.short_hash, te=one.weight if one.text_weight is None else one.text_weight, unet=one.weight,
        blocks=weights,
    )  # fmt: skip


def _remarks(checkpoints: Sequence[Checkpoint]) -> tuple[Remark, ...]:
    first = checkpoints[0]
    return tuple(
        Remark(
            code="merge_prediction",
            message=f"{first.name} predicts {first.prediction}, {other.name} predicts {other.prediction}.",
            hint="A mixture of the two rarely draws well.",
            facts={"first": first.name, "prediction": first.prediction, "other": other.name,
                   "other_prediction": other.prediction},
        )
        for other in checkpoints[1:]
        if (other.prediction, other.zero_snr) != (first.prediction, first.zero_snr)
    )  # fmt: skip


def _refuse_without_room(folder: Path, size_bytes: int) -> None:
    place = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
    free = shutil.disk_usage(place).free
    if free < size_bytes + limits.MERGE_SPARE_BYTES:
        raise DiskFull(
            f"The result needs {size_bytes / 1e9:.2f} GB, {free / 1e9:.2f} GB are free for models.",
            "Free some space, or choose another models folder.", code="merge_room",
            size_bytes=size_bytes, free_bytes=free,
        )  # fmt: skip
