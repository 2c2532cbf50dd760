"""Which autoencoders there are outside checkpoints: in the folder VAE, and beside a checkpoint under its name."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core.errors import ModelError
from modules.families import layouts
from modules.library import header

FOLDER = "vae"  # in any case
SUFFIX = ".safetensors"
OWN = "none"  # the request's word for the checkpoint's own
PREFIX = "first_stage_model."  # in an original checkpoint
PREFIXES = ("", PREFIX, "vae.")
_SIGNS = ("decoder.conv_in.weight", "decoder.conv_out.weight", "encoder.conv_in.weight")


@dataclass(frozen=True)
class Vae:
    """One file: its ``name`` without the suffix, and its ``stamp`` (size in bytes, mtime in ns)."""

    name: str
    path: Path
    stamp: tuple[int, int]


class Vaes:
    """The autoencoders of some model folders; looked for when asked."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def list(self) -> list[Vae]:
        """All by name; of two of one name the first folder's counts."""
        found: dict[str, Vae] = {}
        for path in self._files():
            vae = _vae(path)
            if vae is not None:
                found.setdefault(vae.name, vae)
        return sorted(found.values(), key=lambda vae: vae.name.lower())

    def choose(self, wanted: str, checkpoint: Path) -> Vae | None:
        """The one that a request means; None for the checkpoint's own.

        The empty word is the file that bears the checkpoint's name (``name.vae.safetensors`` beside it, or in the
        folder VAE), where there is one. Raises ModelError "unknown_vae" with the nearest name, or what
        `modules.library.header.read` raises, or "model_layout" for a file that is no autoencoder.
        """
        if wanted == OWN:
            return None
        found = self._beside(checkpoint) if not wanted else self._named(wanted)
        if found is not None:
            examine(found)
        return found

    def _beside(self, checkpoint: Path) -> Vae | None:
        is_file = checkpoint.suffix.lower() == SUFFIX  # a folder's name may have a point in it
        stem = checkpoint.stem if is_file else checkpoint.name
        near = checkpoint.with_name(stem + ".vae" + SUFFIX)
        if near.is_file():
            return _vae(near)
        names = (stem.lower(), f"{stem}.vae".lower())
        return next((vae for vae in self.list() if vae.name.lower() in names), None)

    def _named(self, wanted: str) -> Vae:
        known = self.list()
        word = wanted.lower().removesuffix(SUFFIX)
        for vae in known:
            if vae.name.lower() == word:
                return vae
        names = {vae.name.lower(): vae.name for vae in known}
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.0)
        hint = f"The nearest is {names[near[0]]!r}." if near else "Put one into models/VAE, or choose the model's own."
        facts: dict[str, Any] = {"nearest": names[near[0]]} if near else {}
        raise ModelError(f"There is no VAE {wanted!r}.", hint, code="unknown_vae", field="vae", name=wanted, **facts)

    def _files(self) -> Iterator[Path]:
        for root in self._folders:
            try:
                inner = [place for place in sorted(root.iterdir()) if place.name.lower() == FOLDER and place.is_dir()]
            except OSError:
                continue
            for place in inner:
                for folder, folders, files in os.walk(place):
                    folders.sort()
                    yield from (Path(folder, name) for name in sorted(files) if name.lower().endswith(SUFFIX))


def examine(vae: Vae) -> None:
    """Raise ModelError where the file is no autoencoder that can be read."""
    shapes = header.read(vae.path).shapes
    if prefix_of(shapes) is None:
        raise ModelError(
            f"The file {vae.path.name} holds no autoencoder.", "Choose another VAE, or the model's own.",
            code="model_layout", field="vae", file=vae.path.name,
        )  # fmt: skip


def prefix_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What stands before an autoencoder's tensors in a file; None where it holds none."""
    return next((prefix for prefix in PREFIXES if all(prefix + sign in shapes for sign in _SIGNS)), None)


def original_names(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str] | None:
    """An autoencoder's tensors in a file: by what an original checkpoint calls each; None where it holds none."""
    prefix = prefix_of(shapes)
    if prefix is None:
        return None
    own = ((name, name.removeprefix(prefix)) for name in shapes if name.startswith(prefix))
    return {
        PREFIX + layouts.vae_name(plain): name for name, plain in own if not plain.startswith(("loss.", "model_ema."))
    }


def _vae(path: Path) -> Vae | None:
    try:
        facts = path.stat()
    except OSError:
        return None  # gone between the listing and now
    return Vae(path.name.removesuffix(SUFFIX), path, (facts.st_size, facts.st_mtime_ns))
