"""The running side of the queue: a job is taken, its pictures are recorded, and it ends exactly once."""

import json
import time
from collections.abc import Callable, Collection
from typing import Any

from modules.core import limits
from modules.core.errors import BadValue, WorkbenchError
from modules.core.events import CancelledEvent, Failed, Finished, ImageFinished, Queued, Retried, Started
from modules.jobs.job import Job, summary, wanted_from
from modules.jobs.journal import Journal, Transaction
from modules.jobs.queue import Queue

PRUNED_AT_ONCE = 500
BACKUP_EVERY_S = 24 * 3600.0


class Ledger:
    """What the conductor writes down; one conductor at a time uses it.

    Every method returns after its commit. Ending a job that has ended changes nothing, so no event comes twice.
    """

    def __init__(self, journal: Journal, queue: Queue) -> None:
        self._journal = journal
        self._queue = queue

    def recover(self) -> tuple[str, ...]:
        """At the program's start: jobs that were running when it stopped wait again, or are set aside, or cancelled.

        Returns the ids of those that wait again.
        """

        def write(transaction: Transaction) -> tuple[str, ...]:
            again: list[str] = []
            for row in transaction.execute("SELECT * FROM jobs WHERE state = 'running' ORDER BY number").fetchall():
                if row["stopping"]:
                    _end_cancelled(transaction, row)
                elif row["attempt"] >= limits.ATTEMPTS:
                    _end_set_aside(transaction, row, "Atelier stopped while it was made.")
                else:
                    _requeue(transaction, row, row["attempt"] + 1)
                    again.append(row["id"])
            return tuple(again)

        return self._journal.write(write)

    def take(self, warm: Collection[str] = ()) -> Job | None:
        """Start the job whose turn it is; None when none may start. ``warm``: names of the loaded checkpoint."""

        def write(transaction: Transaction) -> str | None:
            while chosen := self._queue.choose(transaction, warm):
                row = _row(transaction, chosen.id)
                try:
                    wanted_from(json.loads(row["request"]))
                except (BadValue, ValueError) as problem:
                    _end_failed(transaction, row, _as_error(problem))
                    continue
                started = row["started_at"] or time.time()
                transaction.execute(
                    "UPDATE jobs SET state = 'running', started_at = ? WHERE id = ?", (started, chosen.id)
                )
                transaction.say(Started(job=chosen.id, attempt=row["attempt"], done=_done(transaction, chosen.id)))
                return chosen.id
            return None

        id = self._journal.write(write)
        return self._queue.job(id) if id else None

    def is_stopping(self, job: str) -> bool:
        """Whether its owner wants it stopped."""
        rows = self._journal.read("SELECT stopping FROM jobs WHERE id = ?", (job,))
        return bool(rows and rows[0]["stopping"])

    def has_picture(self, job: str, picture: int) -> bool:
        """Whether this picture is recorded."""
        return bool(self._journal.read("SELECT 1 FROM images WHERE job = ? AND picture = ?", (job, picture)))

    def record(self, event: ImageFinished) -> bool:
        """A picture is a file; False when it was recorded before (then nothing is said again)."""

        def write(transaction: Transaction) -> bool:
            added = transaction.execute(
                "INSERT OR IGNORE INTO images (job, picture, image) VALUES (?, ?, ?)",
                (event.job, event.picture, event.image),
            ).rowcount
            if added:
                transaction.say(event)
            return bool(added)

        return self._journal.write(write)

    def record_skipped(self, job: str, picture: int) -> None:
        """Its owner left this picture out: no retry makes it."""
        sql = "INSERT OR IGNORE INTO skipped (job, picture) VALUES (?, ?)"

        def write(transaction: Transaction) -> None:
            transaction.execute(sql, (job, picture))

        self._journal.write(write)

    def finish(self, job: str, elapsed_s: float) -> None:
        """All pictures are made or skipped."""

        def write(transaction: Transaction, row: Any) -> None:
            _end(transaction, row, "finished")
            transaction.say(Finished(job=job, done=_done(transaction, job), elapsed_s=elapsed_s))

        self._ending(job, write)

    def fail(self, job: str, error: WorkbenchError) -> None:
        """The job cannot be made; its finished pictures are kept."""

        def write(transaction: Transaction, row: Any) -> None:
            _end_failed(transaction, row, error)

        self._ending(job, write)

    def cancelled(self, job: str) -> None:
        """The engine has stopped it as its owner asked; with all its pictures made it counts as finished."""
        self._ending(job, _end_cancelled)

    def crashed(self, job: str, reason: str) -> Job:
        """The engine stopped under it. Returns the job: still running (make the rest again), or ended."""

        def write(transaction: Transaction, row: Any) -> None:
            if row["stopping"]:
                _end_cancelled(transaction, row)
            elif row["attempt"] >= limits.ATTEMPTS:
                _end_set_aside(transaction, row, reason)
            else:
                done, count = _done(transaction, job), len(json.loads(row["pictures"]))
                transaction.execute("UPDATE jobs SET attempt = attempt + 1 WHERE id = ?", (job,))
                transaction.say(Retried(job=job, done=done, count=count, reason=reason))
                transaction.say(Started(job=job, attempt=row["attempt"] + 1, done=done))

        self._ending(job, write)
        return self._queue.job(job)

    def put_back(self, job: str) -> None:
        """The program is closing: the job waits again, with its finished pictures and without blame."""

        def write(transaction: Transaction, row: Any) -> None:
            if row["stopping"]:
                _end_cancelled(transaction, row)
            else:
                _requeue(transaction, row, row["attempt"])

        self._ending(job, write)

    def back_up(self) -> None:
        """Copy the database, once a day: a file that was damaged is replaced by the copy at the next start."""
        database = self._journal.database
        if not database.backup_path.exists() or time.time() - database.backup_path.stat().st_mtime > BACKUP_EVERY_S:
            database.backup()

    def prune(self) -> None:
        """Forget the oldest ended jobs and events beyond their bounds, a few at a time."""

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE state IN ('finished', 'failed',"
                " 'cancelled') ORDER BY number DESC LIMIT ? OFFSET ?)",
                (PRUNED_AT_ONCE, limits.ENDED_JOBS),
            )
            last = transaction.one("SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?", (limits.STORED_EVENTS,))
            if last:
                transaction.execute("DELETE FROM events WHERE seq <= ?", (last["seq"],))
                transaction.execute(
                    "INSERT OR REPLACE INTO facts (name, value) VALUES ('pruned', ?)", (str(last["seq"]),)
                )

        self._journal.write(write)

    def _ending(self, job: str, write: Callable[[Transaction, Any], None]) -> None:
        def guarded(transaction: Transaction) -> None:
            row = _row(transaction, job)
            if row["state"] == "running":
                write(transaction, row)

        self._journal.write(guarded)


def _row(transaction: Transaction, job: str) -> Any:
    row = transaction.one("SELECT * FROM jobs WHERE id = ?", (job,))
    if row is None:
        raise WorkbenchError(f"The job {job!r} is gone.", "Look into the log.", code="error", status=500)
    return row


def _done(transaction: Transaction, job: str) -> int:
    return transaction.execute("SELECT count(*) FROM images WHERE job = ?", (job,)).fetchone()[0]


def _end(transaction: Transaction, row: Any, state: str, error: dict[str, Any] | None = None) -> None:
    transaction.execute(
        "UPDATE jobs SET state = ?, ended_at = ?, error = ? WHERE id = ?",
        (state, time.time(), json.dumps(error, ensure_ascii=False) if error else None, row["id"]),
    )


def _end_failed(transaction: Transaction, row: Any, error: WorkbenchError) -> None:
    _end(transaction, row, "failed", error.as_dict())
    facts = {**error.facts, **({"field": error.field} if error.field else {})}
    transaction.say(
        Failed(job=row["id"], code=error.code, message=error.message, hint=error.hint,
               done=_done(transaction, row["id"]), facts=facts)
    )  # fmt: skip


def _end_set_aside(transaction: Transaction, row: Any, reason: str) -> None:
    error = WorkbenchError(
        "This job stopped the engine twice and is set aside; the queue goes on.",
        "Try again, perhaps smaller or with another model.",
        code="set_aside",
        reason=reason,
    )
    _end_failed(transaction, row, error)


def _end_cancelled(transaction: Transaction, row: Any) -> None:
    done, count = _done(transaction, row["id"]), len(json.loads(row["pictures"]))
    if done == count:
        _end(transaction, row, "finished")
        transaction.say(Finished(job=row["id"], done=done))
    else:
        _end(transaction, row, "cancelled")
        transaction.say(CancelledEvent(job=row["id"], done=done, count=count))


def _requeue(transaction: Transaction, row: Any, attempt: int) -> None:
    transaction.execute("UPDATE jobs SET state = 'queued', attempt = ? WHERE id = ?", (attempt, row["id"]))
    try:
        shown = summary(wanted_from(json.loads(row["request"])), len(json.loads(row["pictures"])))
    except (BadValue, ValueError):
        shown = {}  # taking the job will say what is wrong with it
    transaction.say(
        Queued(job=row["id"], workspace=row["workspace"], client=row["client"], position=row["position"], summary=shown)
    )


def _as_error(problem: Exception) -> WorkbenchError:
    if isinstance(problem, WorkbenchError):
        return problem
    return BadValue("The stored request cannot be read.", "Submit it again.")
