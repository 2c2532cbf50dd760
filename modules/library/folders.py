"""A model that lies in a folder part by part, as diffusers writes it: which tensor of which file is what; no torch.

Such a folder has a ``model_index.json`` and a subfolder for each network, whose weights are one safetensors file or
several with an index. Tensors are known by the names that the original single files give them.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from modules.core import limits
from modules.core.errors import ModelError
from modules.families import layouts
from modules.library import header
from modules.library.header import Header

INDEX = "model_index.json"
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
_SCHEDULER = "scheduler/scheduler_config.json"
_STEMS = ("diffusion_pytorch_model", "model")  # of networks, and of text encoders
_VARIANTS = ("", ".fp16", ".bf16")  # the first that is whole counts
_PICKLES = (".bin", ".ckpt", ".pt")
_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP, _CLIP_L = "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."
_CLIP_G, _CLIP_G_ALONE = "conditioner.embedders.1.transformer.", "conditioner.embedders.0.model."


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: the file, and its name there."""

    file: Path
    name: str


@dataclass(frozen=True)
class Folder:
    """A read folder: every tensor by its original name, the headers of the files, and what the folder says of itself.

    ``metadata`` has ``modelspec.prediction_type`` where the folder's scheduler names one. ``stamp`` is as `stamp`.
    """

    path: Path
    places: Mapping[str, Place]
    headers: Mapping[Path, Header]
    metadata: Mapping[str, str]
    stamp: tuple[int, int]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What families recognise a checkpoint by."""
        return {name: self.headers[place.file].tensors[place.name].shape for name, place in self.places.items()}

    def peek(self, name: str) -> list[float] | None:
        """As `modules.library.header.peek`."""
        place = self.places.get(name)
        return header.peek(place.file, self.headers[place.file], place.name) if place else None


def is_folder(path: str | Path) -> bool:
    """Whether a model lies there part by part."""
    return os.path.isfile(os.path.join(path, INDEX))


def stamp(path: Path) -> tuple[int, int]:
    """(bytes of all weights, a number made from every file's name, size and time): another one after any change.

    Raises OSError where the folder is gone.
    """
    made, total = hashlib.blake2b(digest_size=7), 0  # 56 bits: a whole number in SQLite and in JSON's readers
    for name, facts in _listed(path):
        made.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        total += facts.st_size if name.endswith(".safetensors") else 0
    return total, int.from_bytes(made.digest(), "big")


def files_of(path: Path) -> list[Path]:
    """The weights' files, in an order that does not change: what a hash of the folder is made from."""
    return sorted(set(read(path).headers))


def read(path: Path) -> Folder:
    """Read the folder's own files and every header; no weight.

    Raises ModelError: ``model_missing``, ``model_damaged`` for an index that says nonsense, ``model_layout`` where a
    network is not there, ``unsafe_format`` where only pickles are, and what `modules.library.header.read` raises, with
    the part's name.
    """
    try:
        found = stamp(path)
    except OSError:
        raise _problem(path, "model_missing", "is not there any more", "Put it back, or choose another.") from None
    index = _json(path, path / INDEX)
    headers: dict[Path, Header] = {}
    places: dict[str, Place] = {}
    for part in NETWORKS:
        if not _has(index, part):
            continue
        names = [(file, name) for file in _files(path, part) for name in _header(path, part, file, headers).tensors]
        known = {name for _, name in names}
        for file, name in names:
            places[_original(part, name, known, index)] = Place(file, name)
    return Folder(path, places, headers, _metadata(path), found)


def _has(index: Mapping[str, Any], part: str) -> bool:
    said = index.get(part)
    return isinstance(said, list) and any(cast(list[Any], said))


def _original(part: str, name: str, names: set[str], index: Mapping[str, Any]) -> str:
    if part == "unet":
        return _UNET + layouts.unet_name(name, names)
    if part == "vae":
        return _VAE + layouts.vae_name(name)
    if part == "text_encoder":
        return (_CLIP_L if _has(index, "text_encoder_2") else _CLIP) + name
    return (_CLIP_G if _has(index, "text_encoder") else _CLIP_G_ALONE) + name


def _files(path: Path, part: str) -> list[Path]:
    """One network's files: a whole one before parts of one, and the usual precision before others."""
    place = path / part
    for stem in _STEMS:
        for variant in _VARIANTS:
            whole = place / f"{stem}{variant}.safetensors"
            if whole.is_file():
                return [whole]
            for index in (f"{stem}.safetensors.index{variant}.json", f"{stem}{variant}.safetensors.index.json"):
                if (place / index).is_file():
                    return _shards(path, place / index)
    if place.is_dir() and any(file.suffix in _PICKLES for file in place.iterdir()):
        why = f"has its part {part} as a pickle only, which can run code when it is opened"
        raise _problem(path, "unsafe_format", why, "Get its .safetensors files.")
    raise _problem(path, "model_layout", f"lacks its part {part}", "Its download stopped early: fetch it again.")


def _shards(path: Path, index: Path) -> list[Path]:
    said = _json(path, index).get("weight_map")
    names = set(cast(dict[str, Any], said).values()) if isinstance(said, dict) else set[Any]()
    # a name that leads out of the folder is nobody's shard
    if not names or not all(isinstance(name, str) and name == os.path.basename(name) for name in names):
        raise _problem(path, "model_damaged", f"is damaged: {index.name} names no files of its folder")
    return [index.parent / name for name in sorted(names)]


def _header(path: Path, part: str, file: Path, headers: dict[Path, Header]) -> Header:
    try:
        headers[file] = header.read(file)
    except ModelError as problem:
        facts: dict[str, Any] = {**problem.facts, "file": f"{path.name}/{part}/{file.name}"}
        message = f"In the folder {path.name}, part {part}: {problem.message}"
        raise ModelError(message, problem.hint, code=problem.code, **facts) from None
    return headers[file]


def _metadata(path: Path) -> dict[str, str]:
    if not (path / _SCHEDULER).is_file():
        return {}
    kind = _json(path, path / _SCHEDULER).get("prediction_type")
    said = {"epsilon": "eps", "v_prediction": "v"}.get(kind) if isinstance(kind, str) else None
    return {"modelspec.prediction_type": said} if said else {}


def _json(path: Path, file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > limits.HEADER_BYTES:
            raise _problem(path, "model_too_large", f"has a {file.name} that is too large")
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise _problem(path, "model_damaged", f"is damaged: {file.name} cannot be read") from None
    if not isinstance(found, dict):
        raise _problem(path, "model_damaged", f"is damaged: {file.name} holds no JSON object")
    return cast(dict[str, Any], found)


def _listed(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The folder's files and those of its networks, by name."""
    index = path / INDEX
    yield INDEX, index.stat()
    for part in (*NETWORKS, "scheduler"):
        try:
            names = sorted(os.listdir(path / part))
        except OSError:
            continue  # `read` says what is missing
        for name in names:
            facts = (path / part / name).stat()
            if stat.S_ISREG(facts.st_mode):
                yield f"{part}/{name}", facts


def _problem(path: Path, code: str, why: str, hint: str = "Fetch it again from where it came.") -> ModelError:
    return ModelError(f"The folder {path.name} {why}.", hint, code=code, file=path.name)
