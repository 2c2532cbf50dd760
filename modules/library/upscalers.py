"""Which upscalers there are as files, in the folders where people have them; pickles become safetensors once."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core import upscaling
from modules.core.errors import BadValue, ModelError
from modules.core.upscaling import UpscalerFacts
from modules.library.convert import convert

FOLDERS = ("esrgan", "realesrgan", "bsrgan", "swinir", "scunet", "dat", "hat", "upscale_models", "upscalers")
SUFFIX = ".safetensors"
PICKLES = (".pth", ".pt")
CACHE = Path(".cache", "upscalers")  # of the data folder
_FACTOR = re.compile(r"(?<![0-9a-z])([1-8])x|x([1-8])(?![0-9])", re.IGNORECASE)
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True)
class UpscalerFile:
    """One file: its ``name`` without the suffix, and its ``stamp`` (size in bytes, mtime in ns)."""

    name: str
    path: Path
    stamp: tuple[int, int]

    @property
    def facts(self) -> UpscalerFacts:
        """Its name for page and API; how much it enlarges only as far as the name says it."""
        said = _FACTOR.search(self.name)
        return UpscalerFacts(self.name, factor=int(said[1] or said[2]) if said else 0)


class Upscalers:
    """The upscalers of some model folders; what is converted lies in the data folder's cache. For any thread."""

    def __init__(self, folders: Sequence[Path], data: Path) -> None:
        self._folders, self._cache = tuple(folders), data / CACHE
        self._lock = threading.Lock()
        self._found: dict[str, UpscalerFile] = {}
        self._looked_at = -1e9

    def list(self) -> list[UpscalerFile]:
        """All by name, at most a second old; of two of one name the first folder's counts."""
        if time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
            self.refresh()
        return sorted(self._found.values(), key=lambda one: one.name.lower())

    def refresh(self) -> None:
        """Look at the folders now, and make the names known to requests, forms and the API of this process."""
        with self._lock:
            found: dict[str, UpscalerFile] = {}
            for path in self._files():
                one = _upscaler(path)
                if one is not None:
                    found.setdefault(one.name.lower(), one)
            self._found, self._looked_at = found, time.monotonic()
            upscaling.set_upscalers([one.facts for one in self.list()])

    def find(self, name: str) -> UpscalerFile:
        """The file of that name, in any case; raises BadValue for one that is not there any more."""
        found = self._found.get(name.lower())
        if found is None or _upscaler(found.path) != found:
            self.refresh()
            found = self._found.get(name.lower())
        if found is None:
            raise BadValue(f"The upscaler {name!r} is not here any more.", "Choose another one.", field="upscaler")
        return found

    def weights(self, one: UpscalerFile) -> Path:
        """The safetensors file with its weights; a pickle passes `modules.library.convert` the first time.

        Raises what that raises: ModelError ``unsafe_format`` or ``conversion_failed``.
        """
        if one.path.suffix.lower() == SUFFIX:
            return one.path
        key = hashlib.sha256(f"{one.path}\0{one.stamp}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        made = self._cache / f"{key}{SUFFIX}"
        with self._lock:
            return made if made.is_file() else _converted(one.path, made)

    def _files(self) -> Iterator[Path]:
        for root in self._folders:
            try:
                inner = [place for place in sorted(root.iterdir()) if place.name.lower() in FOLDERS and place.is_dir()]
            except OSError:
                continue
            for place in inner:
                for folder, folders, files in os.walk(place):
                    folders.sort()
                    # of one name as both, the safetensors file counts: it needs no conversion
                    wanted = [name for name in files if name.lower().endswith((SUFFIX, *PICKLES))]
                    yield from (Path(folder, name) for name in sorted(wanted, key=_order))


def _order(name: str) -> tuple[bool, str]:
    return not name.lower().endswith(SUFFIX), name


def _converted(source: Path, target: Path) -> Path:
    try:
        return convert(source, target)
    except ModelError:
        raise
    except OSError as problem:
        raise ModelError(
            f"The upscaler {source.name} could not be converted: {problem.strerror}.",
            "Make room in the data folder, or use a .safetensors file.", code="conversion_failed", file=source.name,
        ) from None  # fmt: skip


def _upscaler(path: Path) -> UpscalerFile | None:
    try:
        facts = path.stat()
    except OSError:
        return None  # gone between the listing and now
    return UpscalerFile(path.stem, path, (facts.st_size, facts.st_mtime_ns))
