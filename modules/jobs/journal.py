"""The jobs database: one writer thread that commits in groups, and events that are heard only after their commit."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

from modules.core.errors import DiskFull, WorkbenchError
from modules.core.events import AnyEvent
from modules.jobs.schema import APPLICATION, MIGRATIONS
from modules.library.database import Database

T = TypeVar("T")
GROUP = 256  # writes that share one commit at most


class Spoken:
    """An event said inside a transaction; ``event`` carries its number once the transaction is committed."""

    def __init__(self, event: AnyEvent) -> None:
        self.event = event


class Transaction:
    """What a write may do: execute SQL, and say events that are heard only if the whole commit succeeds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.spoken: list[Spoken] = []

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement inside the group's transaction."""
        return self._connection.execute(sql, values)

    def one(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        return self.execute(sql, values).fetchone()

    def say(self, event: AnyEvent) -> Spoken:
        """Store a durable event; listeners hear it right after the commit."""
        self.spoken.append(Spoken(event))
        return self.spoken[-1]


class Herald(Protocol):
    """Who numbers events in the order in which they are heard: the bus."""

    order: threading.Lock

    def number(self, event: AnyEvent) -> AnyEvent: ...

    def deliver(self, event: AnyEvent) -> None: ...


class _Write:
    def __init__(self, action: Callable[[Transaction], Any]) -> None:
        self.action = action
        self.done: Future[Any] = Future()
        self.result: Any = None
        self.error: Exception | None = None


class Journal:
    """Durable storage of jobs, their pictures and events.

    Every write runs in the writer thread; writes that wait together share one commit, so that 200 submissions a second
    cost a few fsyncs. ``write`` returns after the commit (``synchronous=FULL``): what it answered survives kill -9 and
    a power cut.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, MIGRATIONS, APPLICATION)
        self.herald: Herald | None = None
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # so that nothing is put behind the closing mark
        self._closed = False
        self._thread = threading.Thread(target=self._write_forever, name="jobs-journal", daemon=True)
        self._thread.start()

    def write(self, action: Callable[[Transaction], T]) -> T:
        """Run ``action`` in a transaction and return its result after the commit.

        Raises what the action raises (its changes alone are undone), and DiskFull when nothing could be committed.
        """
        return self.post(action).result()

    def post(self, action: Callable[[Transaction], T]) -> "Future[T]":
        """As ``write``, without waiting: the future is done after the commit."""
        write = _Write(action)
        with self._gate:
            if self._closed:
                raise WorkbenchError("The queue is closed.", "Start Atelier again.", code="closed", status=503)
            self._waiting.put(write)
        return write.done

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of one SELECT, as of the last commit."""
        with self.database.reading() as connection:
            return connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Commit what waits and close the file; more writes raise."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()
        self.database.close()

    def _write_forever(self) -> None:
        going = True
        while going:
            group = [self._waiting.get()]
            while len(group) < GROUP and group[-1] is not None:
                try:
                    group.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            going = group[-1] is not None
            writes = [write for write in group if write is not None]
            if writes:
                self._commit(writes)

    def _commit(self, writes: list[_Write]) -> None:
        """One transaction for all; a write that raises is undone alone, a storage error undoes and refuses all."""
        try:
            self._together(writes)
        except Exception as problem:  # the writer lives on, and every waiting caller learns the reason
            refused = _as_error(problem)
            for write in writes:
                write.done.set_exception(refused)
            return
        for write in writes:
            if write.error is None:
                write.done.set_result(write.result)
            else:
                write.done.set_exception(write.error)

    def _together(self, writes: list[_Write]) -> None:
        herald = self.herald
        if herald is None:
            raise WorkbenchError("Nobody numbers events yet.", "Open the bus first.", code="closed", status=503)
        numbered: list[AnyEvent] = []
        # The bus's lock is held from numbering to delivery, so that numbers are heard in their order.
        with herald.order:
            with self.database.writing() as connection:
                spoken = [said for write in writes for said in _attempt(connection, write)]
                for said in spoken:
                    said.event = herald.number(said.event)
                    numbered.append(said.event)
                connection.executemany(
                    "INSERT INTO events (seq, job, type, body) VALUES (?, ?, ?, ?)",
                    [(event.seq, event.job, event.type, event.model_dump_json()) for event in numbered],
                )
            for event in numbered:
                herald.deliver(event)


def _attempt(connection: sqlite3.Connection, write: _Write) -> list[Spoken]:
    transaction = Transaction(connection)
    connection.execute("SAVEPOINT one")
    try:
        write.result = write.action(transaction)
    except sqlite3.Error:
        raise  # no room, or unreadable: SQLite may have rolled all back, so the group fails together
    except Exception as problem:  # belongs to the caller who waits for it
        connection.execute("ROLLBACK TO one")
        write.error = problem
        transaction.spoken.clear()
    connection.execute("RELEASE one")
    return transaction.spoken


def _as_error(problem: Exception) -> WorkbenchError:
    if isinstance(problem, WorkbenchError):
        return problem
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or isinstance(problem, OSError):
        return DiskFull("There is no room left for the queue.", "Free some space, then try again.")
    return WorkbenchError(
        f"The queue's database refused: {problem}.", "Look into the log.", code="database", status=500
    )
