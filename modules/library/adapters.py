"""Which LoRAs and textual inversions there are: found fast, known by their headers, named, hashed."""

import contextlib
import difflib
import hashlib
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from modules.core import limits
from modules.core.errors import ModelError, WorkbenchError
from modules.core.settings import Settings
from modules.library import adaptercards
from modules.library.adapter import Adapter, Kind, State, as_json, from_row
from modules.library.adaptercards import Facts
from modules.library.adapterfolders import Entry, read_folder
from modules.library.database import Database
from modules.library.pictures import APPLICATION

FOLDERS: Final[Mapping[Kind, tuple[str, ...]]] = {"lora": ("lora", "lycoris", "loras"), "embedding": ("embeddings",)}
"""Of the models folder, as people have them, in any case."""

_LOOK_AGAIN_S: Final = 1.0  # at folders, whose time says whether anything came or went
_LOOK_CLOSER_S: Final = 30.0  # at every file
_DEEPEST: Final = 8
_LEARN_AT_ONCE: Final = 256
_CHUNK_BYTES: Final = 4 * limits.MIB


def _first_version(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE adapters (
             path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, beside TEXT NOT NULL,
             facts TEXT NOT NULL, sha256 TEXT, payload_sha256 TEXT
           ) STRICT"""
    )


class Adapters:
    """The LoRAs and embeddings below the models folder and the checkout's own; of two with one name the former counts.

    Listing opens no file: names, sizes and times come from the folders, and a folder that did not change is not read
    again. A header is read when a file is asked for by name, and remembered in the data folder under its path, size
    and time; with ``hashing`` a thread of low priority reads them all and then works through the hashes. Safe to use
    from any thread.
    """

    def __init__(self, settings: Settings, folders: Sequence[Path] | None = None, *, hashing: bool = False) -> None:
        wanted = folders if folders is not None else settings.model_folders
        self.folders = tuple(dict.fromkeys(folder.resolve() for folder in wanted))
        self._database = Database(settings.data / ".cache" / "adapters.sqlite", (_first_version,), APPLICATION)
        self._lock = threading.RLock()
        self._found: dict[tuple[Kind, str], Adapter] = {}
        self._remembered: dict[str, Adapter] = {}
        self._folders: dict[str, tuple[int, list[Entry]]] = {}
        self._index: _Index | None = None
        self._looked_at = self._looked_closer_at = -1e9
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._reader: threading.Thread | None = None
        if hashing:
            self._reader = threading.Thread(target=self._read_all, name="adapters", daemon=True)
            self._reader.start()

    def list(self, kind: Kind) -> Sequence[Adapter]:
        """All of a kind by name, unusable ones with their problem; what came or went shows within a second."""
        return self._indexed().sorted[kind]

    def find(self, kind: Kind, name: str) -> Adapter:
        """The usable file of that name, file name, alias or hash (10 to 64 digits), its header read.

        Raises ModelError: ``unknown_adapter`` with the nearest name, or the problem of a file that cannot be used.
        """
        found = self._indexed().named(kind, name)
        if found is None:
            self._recall()  # another process may have learnt an alias since
            found = self._indexed().named(kind, name)
        if found is None:
            raise self._unknown(kind, name)
        known = self._learnt(found)
        if known.problem:
            said = known.problem
            raise ModelError(said.message, said.hint, code=said.code, field="prompt", **said.facts)
        return known

    def embeddings(self, family: str | None) -> Mapping[str, int]:
        """Every textual inversion that a model of this family may read: the word -> how many vectors it is."""
        unread = [one for one in self.list("embedding") if one.facts is None or one.card is None]
        if unread:
            self._keep([_read(one) for one in unread])
        index = self._indexed()
        if family not in index.vectors:
            index.vectors[family] = {
                one.name.rpartition("/")[2]: one.facts.embeddings[""][0]
                for one in index.sorted["embedding"]
                if one.facts and not one.problem and (family is None or one.family in (None, family))
            }
        return index.vectors[family]

    def state(self, one: Adapter) -> State:
        """Whether the file is there with the bytes that were looked at, as far as size and time tell."""
        try:
            stat = one.path.stat()
        except OSError:
            return "missing"
        return "here" if one.stamp == (stat.st_size, stat.st_mtime_ns) else "changed"

    def refresh(self) -> None:
        """Look at every file now."""
        with self._lock:
            self._folders.clear()
            self._look()

    def close(self) -> None:
        """Stop reading and hashing, and close the cache."""
        self._closing.set()
        self._wake.set()
        if self._reader:
            self._reader.join()
        self._database.close()

    def _indexed(self) -> "_Index":
        with self._lock:
            if time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
                self._look()
            if self._index is None:
                self._index = _Index(self._found.values())
            return self._index

    def _look(self) -> None:
        """See what came, went or changed. Folders tell of the first two by their time; files are asked now and then.

        With a thread that reads, only it asks them, so that nobody's search waits for that.
        """
        now = time.monotonic()
        mine = self._reader in (None, threading.current_thread())
        closer = not self._folders or (mine and now - self._looked_closer_at > _LOOK_CLOSER_S)
        self._looked_at = now
        if not closer and all(_changed_at(folder) == changed for folder, (changed, _) in self._folders.items()):
            return
        if closer:
            self._folders.clear()
            self._looked_closer_at = now
        if not self._remembered:
            self._recall()
        found: dict[tuple[Kind, str], Adapter] = {}
        for kind, name, entry in self._entries():
            if (kind, name) not in found:
                known = self._found.get((kind, name)) or self._remembered.get(str(entry.path))
                found[kind, name] = _same_or_fresh(kind, name, entry, known)
        if found != self._found:
            self._found, self._index = found, None
            self._wake.set()

    def _entries(self) -> Iterator[tuple[Kind, str, Entry]]:
        for root in self.folders:
            with contextlib.suppress(OSError):
                self._folders[str(root)] = root.stat().st_mtime_ns, []
                inside = sorted(root.iterdir())
                for kind, names in FOLDERS.items():
                    for place in inside:
                        if place.name.lower() in names and place.is_dir():
                            for name, entry in self._walk(place, "", _DEEPEST, ()):
                                yield kind, name, entry

    def _walk(self, folder: Path, prefix: str, deeper: int, above: tuple[str, ...]) -> Iterator[tuple[str, Entry]]:
        """(name, entry) of the files in a folder and below; links are followed, never in circles."""
        real = os.path.realpath(folder)
        if real in above:
            return
        try:
            changed = folder.stat().st_mtime_ns
            known = self._folders.get(str(folder))
            entries = known[1] if known and known[0] == changed else read_folder(folder)
        except OSError:
            return
        self._folders[str(folder)] = changed, entries
        for entry in entries:
            if entry.is_folder:
                if deeper:
                    yield from self._walk(entry.path, f"{prefix}{entry.stem}/", deeper - 1, (*above, real))
            else:
                yield prefix + entry.stem, entry

    def _learnt(self, one: Adapter) -> Adapter:
        """The file with its header and its cards read; unchanged ones are not opened again."""
        if one.facts is not None and one.card is not None:
            return one
        learnt = _read(one)
        self._keep([learnt])
        return learnt

    def _keep(self, learnt: Sequence[Adapter]) -> None:
        with self._lock:
            for one in learnt:
                current = self._found.get((one.kind, one.name))
                if current and (current.path, current.stamp) == (one.path, one.stamp):
                    self._found[one.kind, one.name] = one
            self._index = None
            rows = [
                (str(one.path), one.size_bytes, one.mtime_ns, one.beside_stamp, as_json(one), one.sha256,
                 one.payload_sha256)
                for one in learnt
            ]  # fmt: skip
            # what cannot be stored now (a full disk) is learnt again at the next start
            with contextlib.suppress(WorkbenchError, sqlite3.Error), self._database.writing() as connection:
                connection.executemany("INSERT OR REPLACE INTO adapters VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _recall(self) -> None:
        with self._lock:
            with self._database.reading() as connection:
                rows = connection.execute("SELECT * FROM adapters").fetchall()
            self._remembered = {row["path"]: from_row(row) for row in rows}
            for key, one in self._found.items():
                known = self._remembered.get(str(one.path))
                if one.facts is None and known is not None and known.stamp == one.stamp:
                    self._found[key] = replace(known, kind=one.kind, name=one.name, beside=one.beside)
                    self._index = None

    def _unknown(self, kind: Kind, wanted: str) -> ModelError:
        names = {one.name.rpartition("/")[2].lower(): one.name for one in self.list(kind) if not one.problem}
        near = difflib.get_close_matches(wanted.lower()[:200], names, n=1, cutoff=0.5)
        what = "LoRA" if kind == "lora" else "embedding"
        hint = f"The nearest is {names[near[0]]!r}." if near else f"Put it into models/{_folder(kind)}."
        facts: dict[str, Any] = {"nearest": names[near[0]]} if near else {}
        return ModelError(
            f"There is no {what} {wanted[:100]!r}.", hint, code="unknown_adapter", field="prompt", name=wanted[:100],
            **facts,
        )  # fmt: skip

    def _read_all(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)  # of this thread alone
        while not self._closing.is_set():
            self._wake.clear()
            waiting = [one for kind in FOLDERS for one in self.list(kind)]
            unread = [one for one in waiting if one.facts is None or one.card is None]
            for start in range(0, len(unread), _LEARN_AT_ONCE):
                learnt = [_read(one) for one in unread[start : start + _LEARN_AT_ONCE] if not self._closing.is_set()]
                self._keep(learnt)
            unhashed = [one for kind in FOLDERS for one in self.list(kind) if one.sha256 is None and not one.problem]
            for one in sorted(unhashed, key=lambda adapter: adapter.size_bytes):
                if self._closing.is_set():
                    return
                if (digests := hashes(one.path, self._closing.is_set)) and self.state(one) == "here":
                    self._keep([replace(one, sha256=digests[0], payload_sha256=digests[1])])
            self._wake.wait(_LOOK_CLOSER_S)


class _Index:
    """The adapters by name, in order, and by everything that people write for them."""

    def __init__(self, adapters: Iterable[Adapter]) -> None:
        self.vectors: dict[str | None, dict[str, int]] = {}
        self.sorted: dict[Kind, list[Adapter]] = {kind: [] for kind in FOLDERS}
        self._names: dict[tuple[Kind, str], Adapter] = {}
        ordered = sorted(adapters, key=lambda one: one.name.lower())
        for one in ordered:
            self.sorted[one.kind].append(one)
        ranked = sorted(ordered, key=lambda one: one.problem is not None)  # of one name, the file that can be used
        for names in (
            [one.name for one in ranked],
            [one.name.rpartition("/")[2] for one in ranked],
            [one.alias for one in ranked],
        ):
            for name, one in zip(names, ranked, strict=True):
                self._names.setdefault((one.kind, name.lower()), one)

    def named(self, kind: Kind, wanted: str) -> Adapter | None:
        text = wanted.strip().lower().replace("\\", "/").removesuffix(".safetensors")
        found = self._names.get((kind, text))
        if found is None and re.fullmatch("[0-9a-f]{10,64}", text):
            digests = ((one, (one.payload_sha256, one.sha256, one.short_hash)) for one in self.sorted[kind])
            found = next((one for one, known in digests if any(d and d.startswith(text) for d in known)), None)
        return found


def hashes(path: Path, stop: Callable[[], bool] = lambda: False) -> tuple[str, str] | None:
    """(sha256 of the file, of its payload): what follows a safetensors header; None where it cannot be read."""
    whole, payload = hashlib.sha256(), hashlib.sha256()
    try:
        with path.open("rb") as file:
            start = file.read(8)
            head = file.read(min(int.from_bytes(start, "little"), limits.HEADER_BYTES))
            whole.update(start + head)
            while chunk := file.read(_CHUNK_BYTES):
                whole.update(chunk)
                payload.update(chunk)
                if stop():
                    return None
    except OSError:
        return None
    return whole.hexdigest(), payload.hexdigest()


def _same_or_fresh(kind: Kind, name: str, entry: Entry, known: Adapter | None) -> Adapter:
    """What is known of a listed file, if it is still that file; what is new about it is None until it is read."""
    if known is None or (known.path, known.stamp) != (entry.path, entry.stamp):
        return Adapter(kind, name, entry.path, *entry.stamp, entry.beside, entry.beside_stamp)
    same_card = known.beside_stamp == entry.beside_stamp
    if same_card and (known.kind, known.name, known.beside) == (kind, name, entry.beside):
        return known
    return replace(
        known, kind=kind, name=name, beside=entry.beside, beside_stamp=entry.beside_stamp,
        card=known.card if same_card else None,
    )  # fmt: skip


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _read(one: Adapter) -> Adapter:
    card = adaptercards.card(one.beside)
    if one.path.suffix.lower() != ".safetensors":
        problem = ModelError(
            f"The file {one.path.name} is a pickle, which can run code when it is opened.",
            "Use a .safetensors version of it.",
            code="unsafe_format", file=one.path.name,
        )  # fmt: skip
        return replace(one, facts=Facts(), card=card, problem=problem)
    try:
        return replace(one, facts=adaptercards.read(one.path, one.kind), card=card, problem=None)
    except ModelError as problem:
        return replace(one, facts=Facts(), card=card, problem=problem)


def _folder(kind: Kind) -> str:
    return "Lora" if kind == "lora" else "embeddings"
