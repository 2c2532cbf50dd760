"""What the user decided about a model against the signs in its file: kept by the file's hash, counted first."""

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from modules.library import atomic

FILE = "models.json"
PLACE = ".atelier"
Prediction = Literal["eps", "v"]


@dataclass(frozen=True)
class Choice:
    """One model's: told by its ``sha256``, or by its ``stamp`` while that is not known."""

    sha256: str | None
    stamp: tuple[int, int]
    prediction: Prediction


class Choices:
    """The choices of one data folder, shared by all its processes through one small file; safe from any thread."""

    def __init__(self, data: Path) -> None:
        self._path = data / PLACE / FILE
        self._lock = threading.Lock()
        self._read_at: tuple[int, int, int] | None = None
        self._known: tuple[Choice, ...] = ()

    def all(self) -> tuple[Choice, ...]:
        """Every choice; the file is read only where it changed."""
        with self._lock:
            return self._all()

    def choose(self, sha256: str | None, stamp: tuple[int, int], prediction: Prediction | None) -> None:
        """Keep a choice, or with None leave it to the file's signs again; raises as `modules.library.atomic.write`."""
        with self._lock:
            kept = [one for one in self._all() if not means(one, sha256, stamp)]
            if prediction:
                kept.append(Choice(sha256, stamp, prediction))
            self._write(kept)

    def learn(self, sha256: str, stamp: tuple[int, int]) -> None:
        """The hash of a model became known: what was chosen for these bytes is kept by it from now on."""
        with self._lock:
            known = self._all()
            if any(one.sha256 is None and one.stamp == stamp for one in known):
                self._write(
                    [
                        Choice(sha256, stamp, one.prediction) if one.sha256 is None and one.stamp == stamp else one
                        for one in known
                    ]
                )

    def _all(self) -> tuple[Choice, ...]:
        try:
            facts = self._path.stat()
        except OSError:
            self._read_at, self._known = None, ()
            return ()
        at = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if at != self._read_at:
            self._known, self._read_at = _read(self._path), at
        return self._known

    def _write(self, kept: list[Choice]) -> None:
        atomic.write(self._path, json.dumps([asdict(one) for one in kept], indent=1).encode())


def means(choice: Choice, sha256: str | None, stamp: tuple[int, int]) -> bool:
    """Whether it is about the model with this hash, or with this stamp where one of the two hashes is not known."""
    return choice.sha256 == sha256 if choice.sha256 and sha256 else choice.stamp == stamp


def _read(path: Path) -> tuple[Choice, ...]:
    """A row that says nonsense (the file may be edited by hand) is as if it were not there."""
    try:
        rows: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    found = [_choice(row) for row in cast(list[Any], rows)] if isinstance(rows, list) else []
    return tuple(one for one in found if one)


def _choice(row: Any) -> Choice | None:
    match row:
        case {"sha256": str() | None as sha256, "stamp": [int() as size, int() as time], "prediction": "eps" | "v"}:
            return Choice(sha256, (size, time), row["prediction"])
        case _:
            return None
