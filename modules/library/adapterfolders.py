"""The adapter files of one folder, each with what lies beside it, without opening any."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from modules.library import adaptercards
from modules.library.adapter import Stamp

SUFFIXES: Final = (".safetensors", ".pt", ".ckpt", ".bin")
_BESIDE: Final = tuple(sorted(adaptercards.suffixes(), key=len, reverse=True))


class Entry(NamedTuple):
    """A file or a folder of one folder, as it was listed."""

    stem: str
    path: Path
    is_folder: bool
    stamp: Stamp
    beside: Mapping[str, Path]
    beside_stamp: str


def read_folder(folder: Path) -> list[Entry]:
    """Its files and folders by name, hidden ones left out; raises OSError."""
    files: dict[str, tuple[Path, Stamp]] = {}
    folders: list[Entry] = []
    beside: dict[str, dict[str, tuple[Path, Stamp]]] = {}
    with os.scandir(folder) as listed:
        for entry in listed:
            name = entry.name
            if name.startswith(".") or name.encode("utf-8", "ignore").decode() != name:
                continue
            stem, suffix = os.path.splitext(name)
            try:
                if suffix.lower() in SUFFIXES and entry.is_file():
                    files[stem] = Path(entry.path), _stamp(entry)
                elif entry.is_dir():
                    folders.append(Entry(name, Path(entry.path), True, (0, 0), {}, ""))
                elif ending := next((ending for ending in _BESIDE if name.lower().endswith(ending)), ""):
                    beside.setdefault(name[: -len(ending)], {})[ending] = Path(entry.path), _stamp(entry)
            except OSError:
                continue  # gone between the listing and now
    entries = folders
    for stem, (path, stamp) in files.items():
        cards = beside.get(stem, {})
        said = ";".join(f"{ending}{when}" for ending, (_, when) in sorted(cards.items()))
        entries.append(Entry(stem, path, False, stamp, {ending: where for ending, (where, _) in cards.items()}, said))
    return sorted(entries, key=lambda entry: entry.stem)


def _stamp(entry: os.DirEntry[str]) -> Stamp:
    stat = entry.stat()
    return stat.st_size, stat.st_mtime_ns
