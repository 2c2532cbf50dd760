"""What people keep to write with: styles in CSV files and wildcard lists in text files, read again when they change."""

import contextlib
import fnmatch
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modules.core import limits
from modules.core.errors import BadValue, NotFound, WorkbenchError
from modules.library import atomic
from modules.prompt import styles, wildcards
from modules.prompt.styles import Style

STYLES: Final = "styles.csv"  # the page writes this one; as A1111 keeps it
MORE_STYLES: Final = "styles"  # a folder of further files, which are only read
WILDCARDS: Final = "wildcards"
_FILES_MOST: Final = 10_000
_Stamp = tuple[int, int]  # size in bytes, mtime in ns


@dataclass(frozen=True)
class Shelved:
    """A style and whether it can be changed here: those of ``styles.csv`` can, those of other files are read only."""

    style: Style
    is_own: bool


class Phrases:
    """The styles and wildcard lists of one data folder.

    Styles come from ``styles/*.csv`` in the order of their names and then from ``styles.csv``; of one name the last
    counts. ``wildcards/animals/cats.txt`` is the list ``animals/cats``, and ``animals/*`` all lists of that folder.
    Files are looked at whenever they are asked for, and read again where they changed. Safe in any thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._styles: dict[Path, tuple[_Stamp, tuple[Style, ...]]] = {}
        self._lists: dict[Path, tuple[_Stamp, tuple[str, ...]]] = {}

    def styles(self) -> dict[str, Style]:
        """Every style by its name; a file that is no such table is passed over."""
        return {name: shelved.style for name, shelved in self.shelved().items()}

    def shelved(self) -> dict[str, Shelved]:
        """The same, and which of them can be changed."""
        with self._lock:
            found: dict[str, Shelved] = {}
            for path in self._tables():
                with contextlib.suppress(WorkbenchError, OSError):
                    found |= {style.name: Shelved(style, path.name == STYLES) for style in self._read_styles(path)}
            return found

    def problems(self) -> list[WorkbenchError]:
        """Which files of styles could not be read, and why."""
        found: list[WorkbenchError] = []
        with self._lock:
            for path in self._tables():
                try:
                    self._read_styles(path)
                except WorkbenchError as problem:
                    found.append(problem)
                except OSError as problem:
                    found.append(atomic.explain(problem, path))
        return found

    def keep(self, style: Style, instead_of: str = "") -> None:
        """Write a style into ``styles.csv``, in place of the one named ``instead_of`` (or of its own name).

        The file as it was stays beside it as ``styles.csv.bak``. Raises BadValue for a name that is none or is taken,
        for texts that are too long, and DiskFull or WorkbenchError where nothing could be written.
        """
        name = style.name.strip()
        if not name or len(name) > limits.STYLE_NAME or any(char < " " for char in name):
            raise BadValue("A style needs a name of one line.", "Give it one.", code="bad_style", field="name")
        for field in ("prompt", "negative_prompt"):
            if len(getattr(style, field)) > limits.PROMPT_CHARACTERS:
                raise BadValue(
                    f"{field} has more than {limits.PROMPT_CHARACTERS} characters.", "Shorten it.",
                    code="prompt_too_long", field=field, high=limits.PROMPT_CHARACTERS,
                )  # fmt: skip
        kept = Style(name, style.prompt, style.negative_prompt)
        with self._lock:
            known, own = self.shelved(), list(self._own())
            if name in known and name != instead_of:
                raise BadValue(
                    f"There is a style named {name!r} already.", "Take another name, or edit that one.",
                    code="style_exists", field="name", name=name,
                )  # fmt: skip
            place = next((index for index, one in enumerate(own) if one.name == instead_of), len(own))
            own[place : place + 1] = [kept]
            self._write(own)

    def remove(self, name: str) -> None:
        """Take a style out of ``styles.csv``; raises NotFound, and BadValue for one of another file."""
        with self._lock:
            own = self._own()
            if all(style.name != name for style in own):
                if name in self.shelved():
                    raise BadValue(
                        f"The style {name!r} is in a file of the styles folder.", "Take it out of that file.",
                        code="style_elsewhere", field="name", name=name,
                    )  # fmt: skip
                raise NotFound(f"There is no style named {name!r}.", "Look at the list.", code="no_style", name=name)
            self._write([style for style in own if style.name != name])

    def lines(self, name: str) -> tuple[str, ...] | None:
        """A wildcard list's lines by its name, of all lists together where it holds ``*``; None where there is none."""
        with self._lock:
            lists = dict(self._text_files())
            if "*" in name:
                names = sorted(fnmatch.filter(lists, name))
                return tuple(line for one in names for line in self._read_list(lists[one])) or None
            return self._read_list(lists[name]) if name in lists else None

    def lists(self) -> list[str]:
        """The names of all wildcard lists."""
        return sorted(name for name, _ in self._text_files())

    def _tables(self) -> list[Path]:
        more = self._folder / MORE_STYLES
        found = sorted(path for path in more.glob("*.csv") if path.is_file()) if more.is_dir() else []
        own = self._folder / STYLES
        return [*found[:_FILES_MOST], *([own] if own.is_file() else [])]

    def _read_styles(self, path: Path) -> tuple[Style, ...]:
        stamp = _stamp(path)
        kept = self._styles.get(path)
        if kept is None or kept[0] != stamp:
            kept = self._styles[path] = (stamp, styles.from_csv(_text(path), file=path.name))
        return kept[1]

    def _own(self) -> tuple[Style, ...]:
        path = self._folder / STYLES
        return self._read_styles(path) if path.is_file() else ()

    def _write(self, own: list[Style]) -> None:
        path = self._folder / STYLES
        with contextlib.suppress(FileNotFoundError):
            atomic.write(path.with_name(path.name + ".bak"), path.read_bytes())
        atomic.write(path, styles.to_csv(own).encode("utf-8", "replace"))

    def _text_files(self) -> Iterator[tuple[str, Path]]:
        root = self._folder / WILDCARDS
        count = 0
        for folder, _, files in os.walk(root):
            for file in files:
                if file.endswith(".txt") and count < _FILES_MOST:
                    count += 1
                    path = Path(folder, file)
                    yield path.relative_to(root).with_suffix("").as_posix(), path

    def _read_list(self, path: Path) -> tuple[str, ...]:
        try:
            stamp = _stamp(path)
            kept = self._lists.get(path)
            if kept is None or kept[0] != stamp:
                kept = self._lists[path] = (stamp, wildcards.from_text(_text(path)))
        except OSError:
            return ()
        return kept[1]


def _stamp(path: Path) -> _Stamp:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _text(path: Path) -> str:
    """A text file, at most 4 MiB of it."""
    with path.open("rb") as file:
        return file.read(limits.JSON_BODY_BYTES + 1).decode("utf-8", "replace")
