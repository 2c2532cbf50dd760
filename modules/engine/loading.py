"""A checkpoint file becomes a working model: read without mapping, checked before and after, typed errors for all else.

The file is read with plain reads: a file that is cut short underneath is then an error with a message, where a mapped
one would end the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from modules.core.errors import ModelError
from modules.core.plan import ModelFile, VaeFile
from modules.engine import attention
from modules.families.base import Evidence, Match, Model, Numerics, Shapes, family, recognise
from modules.families.ldm import UNET, VAE
from modules.library import folders, header, vaes

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""The safetensors format's names of element types."""

_LATENT_OUT = (UNET + "out.2.weight",)  # a network answers with as many planes as its latents have


def stamp(path: str | Path) -> tuple[int, int]:
    """(size in bytes, mtime in ns): what tells a file from another that took its name; raises ModelError.

    A folder's is as `modules.library.folders.stamp` says.
    """
    try:
        if folders.is_folder(path):
            return folders.stamp(Path(path))
        facts = os.stat(path)
    except OSError:
        raise ModelError(
            f"The checkpoint {Path(path).name} is not there any more.",
            "Put it back, or choose another checkpoint.",
            code="model_missing", field="model.checkpoint",
        ) from None  # fmt: skip
    return facts.st_size, facts.st_mtime_ns


def changed(file: ModelFile) -> bool:
    """Whether the file is gone, or another one now than the plan was made for."""
    try:
        return stamp(file.path) != file.stamp
    except ModelError:
        return True


class Weights(Mapping[str, Tensor]):
    """A checkpoint's tensors by name, each read from the disk when it is asked for; close it after use."""

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._check = check
        self.stamp = stamp(path)
        self.header = header.read(path)
        self.shapes: Shapes = self.header.shapes
        self._file = path.open("rb", buffering=0)

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor, in the file's own dtype; raises ModelError where the file ends before it does."""
        self._check()
        tensor = self.header.tensors[name]
        if tensor.dtype not in DTYPES:
            raise ModelError(
                f"{self.path.name} holds numbers of the type {tensor.dtype}, which cannot be read.",
                "Get the file in fp16, bf16 or fp32.",
                code="model_layout", field="model.checkpoint",
            )  # fmt: skip
        content = torch.empty(tensor.end - tensor.start, dtype=torch.uint8)
        into = content.numpy().data
        self._file.seek(self.header.data_start + tensor.start)
        done = 0
        while done < len(into):
            count = self._file.readinto(into[done:])
            if not count:
                raise header.incomplete(self.path, self._file.tell(), self.stamp[0])
            done += count
        return content.view(DTYPES[tensor.dtype]).reshape(tensor.shape)


class Named(Mapping[str, Tensor]):
    """Tensors of several files under one set of names: each name stands for one tensor of one file."""

    def __init__(self, places: Mapping[str, tuple[Tensors, str]]) -> None:
        self._places = places
        self.shapes: Shapes = {name: weights.shapes[own] for name, (weights, own) in places.items()}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, name: str) -> Tensor:
        weights, own = self._places[name]
        return weights[own]


Tensors = Weights | Named


@dataclass(frozen=True)
class Opened:
    """A checkpoint's open file, or the open files of its folder; ``metadata`` and ``stamp`` are of the whole."""

    tensors: Tensors
    metadata: Mapping[str, str]
    stamp: tuple[int, int]


@contextmanager
def opened(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[Opened]:
    """Open a checkpoint for reading, a single file or a folder in parts; raises what their readers raise."""
    with ExitStack() as files:
        if not folders.is_folder(path):
            whole = files.enter_context(Weights(path, check))
            yield Opened(whole, whole.header.metadata, whole.stamp)
            return
        folder = folders.read(path)
        parts = {file: files.enter_context(Weights(file, check)) for file in folder.headers}
        named = Named({name: (parts[place.file], place.name) for name, place in folder.places.items()})
        yield Opened(named, folder.metadata, folder.stamp)


@contextmanager
def tensors_of(file: ModelFile, check: Callable[[], None] = lambda: None) -> Iterator[tuple[Tensors, Match]]:
    """A checkpoint's tensors as its family names them, with another autoencoder if the plan says so; and what it is.

    Raises ModelError as `load` does.
    """
    with ExitStack() as files:
        found = files.enter_context(opened(Path(file.path), check))
        match = _recognised(file, found)
        if file.vae is None:
            yield found.tensors, match
            return
        vae = files.enter_context(Weights(Path(file.vae.path), check))
        _same_vae(file.vae, vae.stamp)
        yield with_vae(found.tensors, vae), match


def with_vae(checkpoint: Tensors, vae: Weights) -> Named:
    """The checkpoint with the other file's autoencoder in the place of its own."""
    names = vaes.original_names(vae.shapes)
    if names is None:
        raise ModelError(
            f"The file {vae.path.name} holds no autoencoder.", "Choose another VAE, or the model's own.",
            code="model_layout", field="vae", file=vae.path.name,
        )  # fmt: skip
    own = {name: (checkpoint, name) for name in checkpoint if not name.startswith(VAE)}
    others = {name: (vae, there) for name, there in names.items()}
    made = Named({**own, **others})
    _same_latents(checkpoint, made, vae.path.name)
    return made


def _same_latents(checkpoint: Tensors, made: Named, name: str) -> None:
    wanted = next((checkpoint.shapes[sign] for sign in _LATENT_OUT if sign in checkpoint.shapes), None)
    found = made.shapes.get(VAE + "decoder.conv_in.weight")
    if wanted and found and wanted[0] != found[1]:
        raise ModelError(
            f"The VAE {name} is made for {found[1]} planes of latents, the checkpoint for {wanted[0]}.",
            "Choose a VAE for this family of models.", code="vae_differs", field="vae", file=name,
        )  # fmt: skip


def examine(file: ModelFile) -> None:
    """Raise the ModelError that `load` would, as far as the files' headers tell: fast, and without memory."""
    with tensors_of(file) as (tensors, _):
        family(file.family).examine(tensors.shapes)


def load(file: ModelFile, numerics: Numerics, device: torch.device, check: Callable[[], None] = lambda: None) -> Model:
    """Read a checkpoint and build its model on the device; ``check`` is asked before every tensor and may raise.

    Raises ModelError: ``model_changed`` for a file replaced since the plan was made or while it was read, what
    `modules.library.header.read` raises for one that cannot be read, ``model_unknown`` and ``model_layout`` for one
    of another family or with other tensors. Whatever was loaded before is not touched.
    """
    with tensors_of(file, check) as (tensors, match):
        model = family(file.family).build(tensors, tensors.shapes, numerics, device)
    _same(file, stamp(file.path))
    model.diffusion = replace(match.diffusion, prediction=file.prediction, zero_snr=file.zero_snr)
    attention.install(model.parts()["network"], numerics.attention)
    return model


def _recognised(file: ModelFile, found: Opened) -> Match:
    _same(file, found.stamp)
    match = recognise(Evidence(found.tensors.shapes, found.metadata))
    if match is None or match.family != file.family:
        raise ModelError(
            f"{file.name} is no {family(file.family).title} checkpoint.",
            "Refresh the list of checkpoints and choose again.",
            code="model_unknown", field="model.checkpoint", checkpoint=file.name,
        )  # fmt: skip
    return match


def _same(file: ModelFile, found: tuple[int, int]) -> None:
    if found != file.stamp:
        raise ModelError(
            f"The checkpoint {file.name} was replaced while it was in use.",
            "Generate again: the new file is read then.",
            code="model_changed", field="model.checkpoint", checkpoint=file.name,
        )  # fmt: skip


def _same_vae(file: VaeFile, found: tuple[int, int]) -> None:
    if found != file.stamp:
        raise ModelError(
            f"The VAE {file.name} was replaced while it was in use.", "Generate again: the new file is read then.",
            code="model_changed", field="vae", file=file.name,
        )  # fmt: skip
