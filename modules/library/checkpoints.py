"""Which checkpoints there are: found in the model folders, recognised by their headers, hashed in the background."""

import contextlib
import difflib
import hashlib
import json
import os
import re
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from modules.core import limits
from modules.core.errors import Cancelled, ModelError, WorkbenchError
from modules.core.geometry import Size
from modules.core.settings import Settings
from modules.families import base  # importing the package registers the built-in families
from modules.library import folders, header
from modules.library.adapters import Adapters
from modules.library.choices import Choice, Choices, Prediction, means
from modules.library.database import Database
from modules.library.pictures import APPLICATION
from modules.library.upscalers import Upscalers
from modules.library.vaes import Vaes

FOLDERS = ("stable-diffusion", "checkpoints")  # as people have them, in any case; files beside them count too
_INVOKEAI = "main"  # in each of its folders of one family
SUFFIXES = (".safetensors", ".ckpt", ".pt")
VOCABULARY = "atelier.vocabulary"
_LOOK_AGAIN_S = 1.0
_RECOGNITION = 4  # raised whenever files would be recognised otherwise than before
_DEEPEST = 8
_CHUNK_BYTES = 8 * limits.MIB


@dataclass(frozen=True)
class Checkpoint:
    """One model: a file, or a folder as `modules.library.folders` reads it.

    ``path`` stays inside the program; ``name`` is the path below its folder without the suffix. ``family`` is None and
    ``problem`` says why where the file cannot be used. ``sha256`` is None until the background hash is ready.
    ``prediction`` (eps, v, flow), ``zero_snr``, ``variant`` (text, inpaint, edit) and ``defaults`` were decided for
    ``reasons``, one sentence each. ``vocabulary`` is what the model was taught, where the file says so (as the starter
    does). ``stamp`` names the very bytes: a file that was replaced under its name has another one (a folder's is as
    `modules.library.folders.stamp` says).
    """

    name: str
    path: Path
    size_bytes: int
    mtime_ns: int
    family: str | None
    sha256: str | None = None
    title: str = ""
    prediction: str = "eps"
    zero_snr: bool = False
    variant: str = "text"
    reasons: tuple[str, ...] = ()
    defaults: base.Defaults | None = None
    is_chosen: bool = False  # whether the user said what it predicts
    metadata: dict[str, str] = field(default_factory=dict, repr=False)
    problem: ModelError | None = None

    @property
    def stamp(self) -> tuple[int, int]:
        return self.size_bytes, self.mtime_ns

    @property
    def size(self) -> Size | None:
        """What its family or its own metadata recommends, in pixels."""
        return self.defaults.size if self.defaults else None

    @property
    def short_hash(self) -> str:
        """The first ten digits of the sha256 ("AutoV2"), as infotext and model sites write it; empty if not known."""
        return (self.sha256 or "")[:10]

    @cached_property
    def vocabulary(self) -> dict[str, Any] | None:
        try:
            said = json.loads(self.metadata.get(VOCABULARY, "null"))
        except ValueError:
            return None
        return cast(dict[str, Any], said) if isinstance(said, dict) else None


def _first_version(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE files (
             path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
             families TEXT NOT NULL, facts TEXT NOT NULL, sha256 TEXT
           ) STRICT"""
    )


class Catalogue:
    """The checkpoints below the models folder and the checkout's own; of two with one name the former counts.

    No weight is read to list them: a file's header is read once and remembered in the data folder under its path, size
    and time. With ``hashing`` a thread of low priority works through the sha256 of files that have none: for the one
    process that shows them. ``settings`` may be replaced: its ``checkpoint`` is meant by the empty name. ``folders``
    stand in for the two. ``adapters``, ``vaes`` and ``upscalers`` are those of the same folders. Safe to use from
    any thread.
    """

    def __init__(self, settings: Settings, folders: Sequence[Path] | None = None, *, hashing: bool = False) -> None:
        self.settings = settings
        wanted = folders if folders is not None else settings.model_folders
        self.folders = tuple(dict.fromkeys(folder.resolve() for folder in wanted))
        self.adapters = Adapters(settings, self.folders, hashing=hashing)
        self.vaes = Vaes(self.folders)
        self.upscalers = Upscalers(self.folders, settings.data)
        self._choices = Choices(settings.data)
        self._database = Database(settings.data / ".cache" / "models.sqlite", (_first_version,), APPLICATION)
        self._lock = threading.RLock()
        self._found: dict[str, Checkpoint] = {}
        self._looked_at = -1e9
        self._recognised_by: dict[Path, str] = {}  # the families that were installed when each file was read
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._hasher: threading.Thread | None = None
        if hashing:
            self._hasher = threading.Thread(target=self._hash_all, name="hashes", daemon=True)
            self._hasher.start()

    def list(self) -> list[Checkpoint]:
        """All checkpoints by name, unusable ones with their problem; at most a second old."""
        with self._lock:
            if time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
                self.refresh()
            known = sorted(self._found.values(), key=lambda checkpoint: checkpoint.name.lower())
        choices = self._choices.all()
        return [_as_chosen(one, choices) for one in known] if choices else known

    def find(self, name_or_hash: str) -> Checkpoint:
        """The usable checkpoint of that name, file name, title ("name [hash]") or hash (8 to 64 digits).

        The empty name is the one in the settings, or else the starter, or else the first. Raises ModelError: with the
        code "unknown_model" and the nearest name, or with the problem of a file that cannot be used.
        """
        known = self.list()
        if name_or_hash:
            found = _named(known, name_or_hash)
        else:
            preferred = self.settings.checkpoint
            found = (_named(known, preferred) if preferred else None) or _starter(known)
        if found is None:
            raise self._unknown(name_or_hash, known)
        if found.problem:
            said = found.problem
            raise ModelError(said.message, said.hint, code=said.code, field="model.checkpoint", **said.facts)
        return found

    def choose_prediction(self, name_or_hash: str, prediction: Prediction | None) -> Checkpoint:
        """Keep what the user says that a checkpoint predicts; None leaves it to the signs in its file again.

        It counts for the file's bytes, wherever they lie, and from the next request on. Raises what `find` raises, and
        ModelError "model_prediction" for a model that predicts neither eps nor v.
        """
        found = self.find(name_or_hash)
        if found.prediction not in ("eps", "v"):
            raise ModelError(
                f"{found.name} predicts {found.prediction}: there is nothing to choose.", "Leave it as it is.",
                code="model_prediction", field="prediction",
            )  # fmt: skip
        self._choices.choose(found.sha256, found.stamp, prediction)
        return self.find(found.name)

    def sha256(self, checkpoint: Checkpoint, check: Callable[[], None]) -> str | None:
        """A checkpoint's hash: what is known of it, or else computed now, asking ``check``, which may raise.

        None where the file cannot be read to its end.
        """
        known = checkpoint.sha256 or self._hash_in_cache(checkpoint)
        return known or _sha256(checkpoint, check)

    def refresh(self) -> None:
        """Look at the folders now; only files that are new or changed are opened."""
        with self._lock:
            found: dict[str, Checkpoint] = {}
            families, remembered = _families(), self._remembered()
            learnt: list[Checkpoint] = []
            for name, path in self._files():
                if name in found:
                    continue
                try:
                    stamp = _stamp(path)
                except OSError:
                    continue  # gone between the listing and now
                known = remembered.get(str(path))
                if known is not None and known.stamp != stamp:
                    known = None
                if known is not None and self._recognised_by.get(path) == families:
                    checkpoint = replace(known, name=name)
                else:
                    checkpoint = replace(_recognise(name, path, *stamp), sha256=known.sha256 if known else None)
                    learnt.append(checkpoint)
                found[name] = checkpoint
            self._found = found
            self._recognised_by.update(dict.fromkeys((one.path for one in learnt), families))
            self._looked_at = time.monotonic()
            self._remember(learnt)
        self.upscalers.refresh()
        if learnt:
            self._wake.set()

    def is_current(self, checkpoint: Checkpoint) -> bool:
        """Whether the file still has the bytes that were looked at, as far as size and time tell."""
        try:
            return checkpoint.stamp == _stamp(checkpoint.path)
        except OSError:
            return False

    def close(self) -> None:
        """Stop hashing (an unfinished file starts anew the next time) and close the cache."""
        self._closing.set()
        self._wake.set()
        if self._hasher:
            self._hasher.join()
        self._database.close()
        self.adapters.close()

    def _files(self) -> Iterator[tuple[str, Path]]:
        for root in self.folders:
            places = [root]
            try:
                inside = sorted(root.iterdir())
                places += [inner for inner in inside if inner.name.lower() in FOLDERS]
                places += [inner / _INVOKEAI for inner in inside if (inner / _INVOKEAI).is_dir()]
            except OSError:
                continue
            for place in places:
                yield from _walk(place, "", _DEEPEST if place != root else 0)

    def _remembered(self) -> dict[str, Checkpoint]:
        """What was learnt before, by path; the first time from the cache."""
        if self._recognised_by:
            return {str(checkpoint.path): checkpoint for checkpoint in self._found.values()}
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM files").fetchall()
        self._recognised_by = {Path(row["path"]): row["families"] for row in rows}
        return {row["path"]: _from_row(row) for row in rows}

    def _hash_in_cache(self, one: Checkpoint) -> str | None:
        """What another process learnt since this one read the cache."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM files WHERE path = ?", (str(one.path),)).fetchall()
        return next((row["sha256"] for row in rows if (row["size_bytes"], row["mtime_ns"]) == one.stamp), None)

    def _remember(self, learnt: Sequence[Checkpoint]) -> None:
        if not learnt:
            return
        rows = [
            (str(one.path), one.size_bytes, one.mtime_ns, _families(), json.dumps(_facts(one)), one.sha256)
            for one in learnt
        ]
        # what cannot be stored now (a full disk) is learnt again at the next start: the models can be used all the same
        with contextlib.suppress(WorkbenchError, sqlite3.Error), self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _unknown(self, wanted: str, known: Sequence[Checkpoint]) -> ModelError:
        names = {one.name.lower(): one.name for one in known if not one.problem}
        near = difflib.get_close_matches(wanted.lower(), names, n=1, cutoff=0.0)
        if not names:
            hint = "Put a .safetensors checkpoint into models/Stable-diffusion."
        elif any(one.sha256 is None and not one.problem for one in known) and re.fullmatch(
            "[0-9a-f]{8,64}", wanted.lower()
        ):
            hint = "Some files are still being hashed; try again soon, or choose by name."
        else:
            hint = f"The nearest is {names[near[0]] if near else next(iter(names.values()))!r}."
        facts: dict[str, Any] = {"nearest": names[near[0]]} if near else {}
        message = f"There is no checkpoint {wanted!r}." if wanted else "There is no checkpoint."
        return ModelError(message, hint, code="unknown_model", field="model.checkpoint", name=wanted, **facts)

    def _hash_all(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)  # of this thread alone
        while not self._closing.is_set():
            self._wake.clear()
            waiting = [one for one in self.list() if one.sha256 is None and not one.problem]
            for one in sorted(waiting, key=lambda checkpoint: checkpoint.size_bytes):
                digest = self._hashed(one)
                if digest and self.is_current(one):
                    self._learn_hash(one, digest)
            self._wake.wait(60.0)

    def _hashed(self, one: Checkpoint) -> str | None:
        try:
            return _sha256(one, self._go_on)
        except Cancelled:
            return None

    def _go_on(self) -> None:
        if self._closing.is_set():
            raise Cancelled

    def _learn_hash(self, one: Checkpoint, digest: str) -> None:
        with self._lock:
            current = self._found.get(one.name)
            if current is None or current.stamp != one.stamp or current.path != one.path:
                return
            hashed = replace(current, sha256=digest)
            self._found[one.name] = hashed
            self._remember([hashed])
        with contextlib.suppress(WorkbenchError):  # a full disk: the stamp tells the file until the next time
            self._choices.learn(digest, one.stamp)


def _walk(folder: Path, prefix: str, deeper: int, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    """(name, path) of the model files in a folder and ``deeper`` levels below; links are followed, never in circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        stem, suffix = os.path.splitext(entry.name)
        if stem.lower().endswith(".vae"):
            continue  # the autoencoder of the checkpoint of that name
        if suffix.lower() in SUFFIXES and entry.is_file():
            name = prefix + stem
            if name.encode("utf-8", "ignore").decode() == name:  # else it has no name that a request could carry
                yield name, Path(entry.path)
        elif entry.is_dir() and folders.is_folder(entry.path):
            if (prefix + entry.name).encode("utf-8", "ignore").decode() == prefix + entry.name:
                yield prefix + entry.name, Path(entry.path)
        elif deeper and entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", deeper - 1, (*above, real))


def _as_chosen(one: Checkpoint, choices: Sequence[Choice]) -> Checkpoint:
    choice = next((choice for choice in choices if means(choice, one.sha256, one.stamp)), None)
    if choice is None or one.problem or one.prediction not in ("eps", "v"):
        return one
    others = [reason for reason in one.reasons if not reason.startswith(f"{one.prediction}, because")]
    reasons = (*others, f"{choice.prediction}, because you chose it")
    return replace(one, prediction=choice.prediction, reasons=reasons, is_chosen=True)


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return folders.stamp(path) if stat.S_ISDIR(facts.st_mode) else (facts.st_size, facts.st_mtime_ns)


def _evidence(path: Path) -> base.Evidence:
    if folders.is_folder(path):
        folder = folders.read(path)
        return base.Evidence(folder.shapes, folder.metadata, path.name, peek=folder.peek)
    read = header.read(path)
    return base.Evidence(read.shapes, read.metadata, path.stem, peek=lambda tensor: header.peek(path, read, tensor))


def _recognise(name: str, path: Path, size_bytes: int, mtime_ns: int) -> Checkpoint:
    plain = Checkpoint(name, path, size_bytes, mtime_ns, None, title=name.rpartition("/")[2])
    if path.suffix.lower() != ".safetensors" and not folders.is_folder(path):
        return replace(plain, problem=_unsafe(path))
    try:
        evidence = _evidence(path)
        match = base.recognise(evidence)
    except ModelError as problem:
        return replace(plain, problem=problem)
    if match is None:
        return replace(plain, problem=_stranger(path))
    lacking = base.family(match.family).lacks(evidence.shapes)
    return replace(
        plain, problem=lacking, family=match.family, title=evidence.metadata.get("modelspec.title") or plain.title,
        prediction=match.diffusion.prediction, zero_snr=match.diffusion.zero_snr, variant=match.variant,
        reasons=match.reasons, defaults=match.defaults, metadata=dict(evidence.metadata),
    )  # fmt: skip


def _unsafe(path: Path) -> ModelError:
    return ModelError(
        f"The file {path.name} is a pickle, which can run code when it is opened.",
        "Use a .safetensors version of it.",
        code="unsafe_format",
        file=path.name,
    )


def _stranger(path: Path) -> ModelError:
    return ModelError(
        f"The file {path.name} is of no family of models that is installed.",
        "It may be a LoRA or another part in the wrong folder, or need an extension.",
        code="unknown_family",
        file=path.name,
    )


def _named(known: Sequence[Checkpoint], wanted: str) -> Checkpoint | None:
    text = re.sub(r"\s*\[[0-9a-f]{8,10}\]$", "", wanted.strip()).lower().replace("\\", "/")
    stem = text.removesuffix(".safetensors")
    same = [one for one in known if one.name.lower() == stem]
    same = same or [one for one in known if one.name.lower().rpartition("/")[2] == stem]
    if same:
        return next((one for one in same if not one.problem), same[0])
    if re.fullmatch("[0-9a-f]{8,64}", text):
        return next((one for one in known if one.sha256 and one.sha256.startswith(text)), None)
    return None


def _starter(known: Sequence[Checkpoint]) -> Checkpoint | None:
    usable = [one for one in known if not one.problem]
    return next((one for one in usable if one.vocabulary), usable[0] if usable else None)


def _families() -> str:
    """What the recognition depends on: an installed family makes unknown files worth another look."""
    return f"{_RECOGNITION}:" + ",".join(sorted(known.name for known in base.FAMILIES))


def _facts(one: Checkpoint) -> dict[str, Any]:
    """All that `_from_row` needs beside the row's own columns."""
    kept = ("name", "family", "title", "prediction", "zero_snr", "variant", "reasons", "metadata")
    return {
        **{name: getattr(one, name) for name in kept},
        "defaults": asdict(one.defaults) | {"size": [one.defaults.size.width, one.defaults.size.height]}
        if one.defaults
        else None,
        "problem": one.problem.as_dict() if one.problem else None,
    }


def _from_row(row: sqlite3.Row) -> Checkpoint:
    facts = json.loads(row["facts"])
    for dropped in ("size",):  # of a cache that an earlier version wrote
        facts.pop(dropped, None)
    defaults, problem = facts.pop("defaults", None), facts.pop("problem")
    if defaults:
        width, height = defaults.pop("size")
        defaults = base.Defaults(size=Size(width=width, height=height), **defaults)
    return Checkpoint(
        path=Path(row["path"]), size_bytes=row["size_bytes"], mtime_ns=row["mtime_ns"], sha256=row["sha256"],
        reasons=tuple(facts.pop("reasons", ())), defaults=defaults,
        problem=ModelError(problem["message"], problem["hint"], code=problem["code"], **problem.get("facts", {}))
        if problem else None,
        **facts,
    )  # fmt: skip


def _sha256(one: Checkpoint, check: Callable[[], None]) -> str | None:
    """Of a file its own; of a folder that of all its weights' files one after the other."""
    made = hashlib.sha256()
    try:
        for path in folders.files_of(one.path) if folders.is_folder(one.path) else (one.path,):
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    made.update(chunk)
                    check()
    except (OSError, ModelError):
        return None
    return made.hexdigest()
