"""One SQLite file: opened safely, one writer, many readers, migrated by number, backed up, set aside when damaged."""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modules.core.errors import DiskFull, WorkbenchError
from modules.library import atomic

Migration = Callable[[sqlite3.Connection], None]
_IDLE_READERS = 8
BUSY_S = 10.0  # how long to wait for another program's lock
# Not ours to open now, but whole for all that we know.
_ELSEWHERE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
              sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)  # fmt: skip


class Database:
    """A SQLite file in WAL mode with ``PRAGMA synchronous=FULL``: what is committed survives a crash.

    ``migrations[k]`` brings version k to k + 1 inside one transaction; the file is backed up before the first of them.
    A file that is cut, emptied or foreign is renamed to ``<name>.bad-<time>`` and the last backup takes its place;
    ``recovered`` then says "backup" or "empty", so that the owner can fill in what is missing. A file that is locked or
    cannot be reached is not damaged: it stays where it is, and opening raises WorkbenchError "database_busy".
    Raises WorkbenchError "newer_database" for a file written by a later version of the program.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration], application: int) -> None:
        self.path = path
        self.backup_path = path.with_name(path.name + ".backup")
        self.recovered: str | None = None
        self.recovered_at = 0.0
        self._application = application
        self._migrations = migrations
        self._lock = threading.RLock()
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(_IDLE_READERS)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self._is_sound(path):
            self._recover()
        self._writer = self._connect()
        self._migrate()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """One transaction of the only writer; committed at the end, rolled back on any exception.

        Raises DiskFull where SQLite finds no room, WorkbenchError "database_damaged" where the file is broken.
        """
        with self._lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as problem:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                explained = self._explained(problem) if isinstance(problem, sqlite3.DatabaseError) else None
                if explained:
                    raise explained from problem
                raise

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection for reading; readers never wait for the writer."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        except sqlite3.DatabaseError as problem:
            explained = self._explained(problem)
            if explained:
                raise explained from problem
            raise
        finally:
            try:
                self._idle.put_nowait(connection)
            except queue.Full:
                connection.close()

    def _explained(self, problem: sqlite3.DatabaseError) -> WorkbenchError | None:
        """DiskFull, or a damaged file in words for people; None for a mistake of ours."""
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(
                f"There is no room left for {self.path.name!r}.", "Free some space on the data folder's disk."
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
            return WorkbenchError(
                f"The database {self.path.name!r} cannot be read: {problem}.",
                "Restart Atelier: it sets the damaged file aside and uses its backup.",
                code="database_damaged",
                status=500,
            )
        return None

    def backup(self) -> None:
        """Copy the database by SQLite's backup API; the old backup stays until the new one is whole and checked."""
        part = atomic.part_of(self.backup_path)
        part.unlink(missing_ok=True)
        try:
            with self.reading() as source:
                target = sqlite3.connect(part)
                try:
                    source.backup(target, pages=1_000)
                    target.execute("PRAGMA journal_mode=DELETE")
                finally:
                    target.close()
            if not self._is_sound(part):
                raise sqlite3.DatabaseError("the copy is not whole")
            with part.open("rb") as file:
                os.fsync(file.fileno())
            atomic.replace(part, self.backup_path)
        except OSError as problem:
            raise atomic.explain(problem, self.path.parent) from problem
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close all connections that are not in use; the last one folds the WAL into the file."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        made.row_factory = sqlite3.Row
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("PRAGMA synchronous=FULL")
        made.execute("PRAGMA foreign_keys=ON")
        made.execute("PRAGMA temp_store=MEMORY")
        return made

    def _is_sound(self, path: Path) -> bool:
        """Whether this is our database, whole: an empty file passes SQLite's own check but lacks our mark."""
        connection = sqlite3.connect(path, timeout=BUSY_S)
        try:
            if connection.execute("PRAGMA application_id").fetchone()[0] != self._application:
                return False
            return connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        except sqlite3.DatabaseError as problem:
            if getattr(problem, "sqlite_errorcode", 0) & 0xFF in _ELSEWHERE:
                raise WorkbenchError(
                    f"The database {path.name!r} cannot be opened: {problem}.",
                    "Close other programs that use it, or see who may read and write it, and start again.",
                    code="database_busy", status=503,
                ) from problem  # fmt: skip
            return False
        finally:
            connection.close()

    def notice(self, what: str) -> WorkbenchError | None:
        """What people should hear where this file was damaged; ``what`` it holds: "gallery", "queue", "form" ..."""
        if self.recovered is None:
            return None
        return WorkbenchError(
            f"The database {self.path.name!r} was damaged and was set aside; its "
            + ("last copy took its place." if self.recovered == "backup" else "content begins anew."),
            "The damaged file was kept beside it, with .bad in its name.",
            code=f"recovered_{what}", source=self.recovered, at=self.recovered_at,
        )  # fmt: skip

    def _recover(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        self.recovered_at = time.time()
        for suffix in ("", "-wal", "-shm"):
            damaged = self.path.with_name(self.path.name + suffix)
            if damaged.exists():
                os.replace(damaged, self.path.with_name(f"{self.path.name}.bad-{stamp}{suffix}"))
        self.recovered = "empty"
        if self.backup_path.exists() and self._is_sound(self.backup_path):
            atomic.write(self.path, self.backup_path.read_bytes())
            self.recovered = "backup"

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > len(self._migrations):
            self.close()
            raise WorkbenchError(
                f"{self.path.name!r} was written by a later version of Atelier.",
                "Update Atelier, or start with another data folder.",
                code="newer_database",
                status=500,
            )
        if 0 < version < len(self._migrations):
            self.backup()
        for number in range(version, len(self._migrations)):
            with self.writing() as connection:
                self._migrations[number](connection)
                connection.execute(f"PRAGMA application_id={self._application}")
                connection.execute(f"PRAGMA user_version={number + 1}")
