"""What a person says about a LoRA or an embedding, kept in the data folder; the files beside it are never written."""

import json
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from modules.core import limits
from modules.library import atomic
from modules.library.adapter import Adapter, Kind

FILE: Final = "adapters.json"
PLACE: Final = ".atelier"


class Note(NamedTuple):
    """A person's word on one adapter; None leaves it to the cards beside the file."""

    weight: float | None = None  # the preferred strength
    words: str | None = None  # what goes into the prompt with it
    notes: str | None = None
    favourite: bool = False


_EMPTY: Final = Note()


class Notes:
    """The notes of one data folder, one small file, by kind and name; safe to use from any thread."""

    def __init__(self, data: Path) -> None:
        self._path = data / PLACE / FILE
        self._lock = threading.Lock()
        self._read_at: tuple[int, int, int] | None = None
        self._known: dict[tuple[Kind, str], Note] = {}

    def all(self) -> dict[tuple[Kind, str], Note]:
        """Every note by kind and name; the file is read only where it changed."""
        with self._lock:
            return self._all()

    def of(self, one: Adapter) -> Note:
        """What was said about this one."""
        return self.all().get((one.kind, one.name), _EMPTY)

    def keep(self, one: Adapter, changes: dict[str, Any]) -> Note:
        """Change the named fields of a note; raises as `modules.library.atomic.write`."""
        with self._lock:
            known = dict(self._all())
            note = known.pop((one.kind, one.name), _EMPTY)._replace(**changes)
            if note != _EMPTY:
                known[one.kind, one.name] = note
            rows = [{"kind": kind, "name": name, **note._asdict()} for (kind, name), note in sorted(known.items())]
            atomic.write(self._path, json.dumps(rows, indent=1, ensure_ascii=False).encode())
            return note

    def _all(self) -> dict[tuple[Kind, str], Note]:
        try:
            facts = self._path.stat()
        except OSError:
            self._read_at, self._known = None, {}
            return self._known
        at = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if at != self._read_at:
            self._known, self._read_at = _read(self._path), at
        return self._known


def _read(path: Path) -> dict[tuple[Kind, str], Note]:
    """A row that says nonsense (the file may be edited by hand) is as if it were not there."""
    try:
        rows: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found: dict[tuple[Kind, str], Note] = {}
    for row in cast(list[Any], rows) if isinstance(rows, list) else []:
        match row:
            case {"kind": "lora" | "embedding" as kind, "name": str() as name}:
                found[kind, name] = _note(cast(dict[str, Any], row))
            case _:
                continue
    return found


def _note(row: dict[str, Any]) -> Note:
    weight, words, notes = row.get("weight"), row.get("words"), row.get("notes")
    return Note(
        float(weight) if isinstance(weight, int | float) and abs(weight) <= limits.PROMPT_WEIGHT else None,
        words[: limits.NOTE_CHARACTERS] if isinstance(words, str) else None,
        notes[: limits.NOTE_CHARACTERS] if isinstance(notes, str) else None,
        row.get("favourite") is True,
    )
