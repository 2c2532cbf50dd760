"""Files and index agree again: what came, went or changed in outputs/ while nobody looked."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from modules.core.errors import BadValue
from modules.core.request import GenerationRequest
from modules.library import atomic, infotext, picturefile, trash
from modules.library.database import Database
from modules.library.pictures import Entry, State

_BATCH = 64
_Change = tuple[str, float | None, int, int, int, int, str]  # state, trashed_at, size, mtime, width, height, id
_SETTLED_NS = 2_000_000_000  # a folder changed this recently may change again under the same time stamp


@dataclass(frozen=True)
class Changes:
    """Ids of pictures by what was noticed: ``found`` are new to the index, ``changed`` have another state now."""

    found: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """A picture file without a row: ``path`` below outputs/ (or below the trash, where ``trashed``)."""

    path: str
    trashed: bool
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class _Folder:
    """One listed folder: ``files`` by name with (size in bytes, mtime in ns)."""

    path: str
    mtime_ns: int
    files: dict[str, tuple[int, int]]


def reconcile_files(database: Database, outputs: Path, reserve: Callable[[int], int], stop: threading.Event) -> Changes:
    """Bring index and files together, both ways.

    A folder whose time stamp is the one of the last run is not listed, so that a start with 100,000 pictures looks at
    its folders only. ``reserve`` gives places in the gallery's order: found pictures get theirs by age, and are read
    newest first. ``stop`` ends the run early; the rest is found the next time.
    """
    with database.reading() as connection:
        stamps = {row["path"]: row["mtime_ns"] for row in connection.execute("SELECT path, mtime_ns FROM folders")}
    visited: set[str] = set()
    listed = list(_changed_folders(outputs, "", stamps, visited))
    gone = [_Folder(path, -1, {}) for path in stamps if path not in visited]
    found: list[_File] = []
    changed: list[str] = []
    for folder in (*listed, *gone):
        new, other = _compare(database, outputs, folder)
        found += new
        changed += other
    ids = _index(database, outputs, found, reserve, stop)
    if not stop.is_set():
        _keep_stamps(database, listed, gone)
    return Changes(tuple(ids), tuple(changed))


def _changed_folders(outputs: Path, path: str, stamps: dict[str, int], visited: set[str]) -> Iterator[_Folder]:
    try:
        mtime_ns = (outputs / path).stat().st_mtime_ns
    except OSError:
        return
    visited.add(path)
    if stamps.get(path) == mtime_ns:
        below = [known for known in stamps if known and known != path and _parent(known) == path]
    else:
        folder, below = _list(outputs, path, mtime_ns)
        yield folder
    for inner in below:
        yield from _changed_folders(outputs, inner, stamps, visited)


def _list(outputs: Path, path: str, mtime_ns: int) -> tuple[_Folder, list[str]]:
    files: dict[str, tuple[int, int]] = {}
    below: list[str] = []
    try:
        with os.scandir(outputs / path) as entries:
            for entry in entries:
                name = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") or name == trash.FOLDER:
                        below.append(name)
                elif atomic.is_abandoned(entry.name):
                    Path(entry.path).unlink(missing_ok=True)
                elif os.path.splitext(entry.name)[1].lower() in picturefile.SUFFIXES:
                    if not entry.is_file(follow_symlinks=False):
                        continue  # a link may lead out of the outputs folder
                    facts = entry.stat()
                    files[entry.name] = (facts.st_size, facts.st_mtime_ns)
    except OSError:
        return _Folder(path, -1, {}), []
    return _Folder(path, mtime_ns, files), below


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _compare(database: Database, outputs: Path, folder: _Folder) -> tuple[list[_File], list[str]]:
    """What is new in one folder, and the ids of rows whose state had to change."""
    in_trash = PurePosixPath(folder.path).parts[:1] == (trash.FOLDER,)
    path = folder.path.removeprefix(trash.FOLDER).removeprefix("/") if in_trash else folder.path
    with database.reading() as connection:
        rows = {row["path"].rpartition("/")[2]: row for row in _rows_in(connection, path)}
    found = [
        _File(f"{path}/{name}" if path else name, in_trash, *facts)
        for name, facts in folder.files.items()
        if name not in rows
    ]
    changes: list[_Change] = []
    for name, row in rows.items():
        facts, trashed = folder.files.get(name), row["trashed_at"] is not None
        if trashed != in_trash and facts is None:
            continue  # it is looked at in the folder where it should lie
        if trashed != in_trash or row["state"] == "missing" or facts != (row["size_bytes"], row["mtime_ns"]):
            change = _judge(outputs, row)
            changes += [change] if change else []
    if changes:
        with database.writing() as connection:
            connection.executemany(
                "UPDATE pictures SET state = ?, trashed_at = ?, size_bytes = ?, mtime_ns = ?, width = ?, height = ?"
                " WHERE id = ?",
                changes,
            )
    return found, [change[-1] for change in changes]


def _rows_in(connection: sqlite3.Connection, path: str) -> list[sqlite3.Row]:
    columns = "id, path, size_bytes, mtime_ns, width, height, state, trashed_at"
    if not path:
        return connection.execute(f"SELECT {columns} FROM pictures WHERE path NOT GLOB '*/*'").fetchall()
    sql = f"SELECT {columns} FROM pictures WHERE path > ? AND path < ?"  # "0" follows "/"
    rows = connection.execute(sql, (path + "/", path + "0")).fetchall()
    return [row for row in rows if _parent(row["path"]) == path]


def _judge(outputs: Path, row: sqlite3.Row) -> _Change | None:
    """What the row should say, or None where it is right: the file is looked for where the row says, then beyond."""
    was_trashed = row["trashed_at"] is not None
    places = {False: outputs / row["path"], True: outputs / trash.FOLDER / row["path"]}
    trashed = next((place for place in (was_trashed, not was_trashed) if places[place].is_file()), None)
    known = (row["size_bytes"], row["mtime_ns"])
    if trashed is None:
        if row["state"] == "missing":
            return None
        return "missing", row["trashed_at"], *known, row["width"], row["height"], row["id"]
    facts = places[trashed].stat()
    if trashed == was_trashed and row["state"] != "missing" and (facts.st_size, facts.st_mtime_ns) == known:
        return None
    said = picturefile.look(places[trashed])
    state: State = "ok" if said.whole else "damaged"
    width, height = (said.width, said.height) if said.width else (row["width"], row["height"])
    since = (row["trashed_at"] or time.time()) if trashed else None
    return state, since, facts.st_size, facts.st_mtime_ns, width, height, row["id"]


def _index(
    database: Database, outputs: Path, found: list[_File], reserve: Callable[[int], int], stop: threading.Event
) -> list[str]:
    """Add rows for found files, newest first; each gets its place in the order by its age."""
    found.sort(key=lambda file: (file.mtime_ns, file.path))
    first = reserve(len(found))
    numbered = list(enumerate(found, start=first))[::-1]
    ids: list[str] = []
    for at in range(0, len(numbered), _BATCH):
        if stop.is_set():
            break
        entries = [(seq, file, _read(outputs, file)) for seq, file in numbered[at : at + _BATCH]]
        with database.writing() as connection:
            for seq, file, entry in entries:
                known = connection.execute("SELECT 1 FROM pictures WHERE id = ?", (entry.id,)).fetchone()
                if known is None:  # saved in this moment: its own row knows more
                    entry.insert(connection, seq, time.time() if file.trashed else None)
                    ids.append(entry.id)
    return ids


def _read(outputs: Path, file: _File) -> Entry:
    """The row of a file by what the file says about itself: our own record, or else the infotext."""
    said = picturefile.look((outputs / trash.FOLDER if file.trashed else outputs) / file.path)
    record = said.record or {}
    request = _request(record.get("request"))
    seed: Any = record.get("seed")
    facts: Any = record.get("facts")
    if request is None and said.infotext:
        request, seed, facts = _recall(said.infotext)
    return Entry(
        path=file.path,
        width=said.width,
        height=said.height,
        created_at=_number(record.get("created_at"), file.mtime_ns / 1e9),
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        seed=seed if type(seed) is int and 0 <= seed < 2**63 else None,
        request=request,
        infotext=said.infotext,
        facts=cast(dict[str, Any], facts) if isinstance(facts, dict) else {},
        job=record["job"] if isinstance(record.get("job"), str) else None,
        picture=record["picture"] if type(record.get("picture")) is int else 0,
        state="ok" if said.whole and said.width else "damaged",
        parents=_parents(record.get("parents")),
    )


def _recall(text: str) -> tuple[GenerationRequest | None, Any, dict[str, Any]]:
    """(request, seed, facts) of a picture that another program made, as far as its text tells."""
    said = infotext.read(text)
    seed = said.fields.get("seed")
    facts = {"made_by": said.made_by, "sha256_start": said.model_hash, "model": said.fields.get("model.checkpoint", "")}
    try:
        request = said.apply(GenerationRequest(seed=seed)) if seed is not None else None
    except BadValue:
        request = None
    return request, seed, {key: value for key, value in facts.items() if value}


def _request(data: Any) -> GenerationRequest | None:
    try:
        return GenerationRequest.from_data(data) if isinstance(data, dict) else None
    except BadValue:
        return None  # of a later version, or edited by hand: the infotext still tells


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e11 else otherwise


def _parents(data: Any) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for pair in cast(list[object], data) if isinstance(data, list) else []:
        match pair:
            case [str(parent), str(role)]:
                found.append((parent, role))
            case _:
                continue
    return tuple(found)


def _keep_stamps(database: Database, listed: list[_Folder], gone: list[_Folder]) -> None:
    settled = time.time_ns() - _SETTLED_NS
    stamps = [(folder.path, folder.mtime_ns) for folder in listed if 0 <= folder.mtime_ns < settled]
    with database.writing() as connection:
        connection.executemany("DELETE FROM folders WHERE path = ?", [(folder.path,) for folder in (*listed, *gone)])
        connection.executemany("INSERT INTO folders (path, mtime_ns) VALUES (?, ?)", stamps)
