"""The durable queue: what was accepted is done, waiting, or ended with a reason, whatever stops the program."""

import json
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol, get_args

from modules.core import limits
from modules.core.errors import BadValue, Busy, DiskFull, NotFound, WorkbenchError
from modules.core.events import CancelledEvent, QueueChanged, Queued
from modules.core.merging import MergeRequest
from modules.jobs.bus import Bus
from modules.jobs.fairness import Turns, Waiting
from modules.jobs.job import Job, State, Wanted, from_row, summary
from modules.jobs.journal import Journal, Transaction

PRIORITIES = (-100, 100)
NAME_CHARACTERS = 200
_WAITING = "SELECT id, client, priority, position, model FROM jobs WHERE state = 'queued'"


class Controls(Protocol):
    """What the queue asks of whoever runs the jobs; every call returns at once."""

    def wake(self) -> None: ...

    def stop(self, job: str) -> None: ...

    def skip(self, job: str) -> None: ...


class Queue:
    """Jobs of all clients.

    Every method that changes something returns after its commit. ``client`` owns a job; ``workspace`` is the form it
    came from. A method given an id raises NotFound where there is none, or where it belongs to another ``client``.
    """

    def __init__(self, journal: Journal, bus: Bus, turns: Turns | None = None) -> None:
        self._journal = journal
        self._bus = bus
        self._turns = turns or Turns()
        self._controls: Controls | None = None
        self._estimate: Callable[[Wanted, int], float | None] = lambda request, pictures: None
        facts = {row["name"]: row["value"] for row in journal.read("SELECT name, value FROM facts")}
        self._paused = facts.get("paused") == "1"
        self._reason = facts.get("reason", "")
        bus.recall(self._paused, self._reason)
        bus.describe_jobs(self._describe_waiting, lambda id: self.job(id).summary())

    def attach(self, controls: Controls) -> None:
        """Whoever runs the jobs hears of new ones, stops and skips from now on."""
        self._controls = controls

    def estimate_by(self, estimate: Callable[[Wanted, int], float | None]) -> None:
        """How long a request with so many pictures may take, in seconds, for ``Job.estimate_s``."""
        self._estimate = estimate

    def submit(self, request: Wanted, *, client: str, workspace: str, priority: int = 0, key: str | None = None) -> Job:
        """Accept a request. The same ``key`` from the same client gives the same Job, however often it is sent.

        Raises Busy when the queue is full and DiskFull when nothing could be stored (then nothing was accepted).
        """
        count = 1 if isinstance(request, MergeRequest) else request.count
        return self._add(request, tuple(range(count)), client, workspace, priority, key)

    def again(self, id: str, client: str | None = None) -> Job:
        """A new job that makes the pictures which this one left unmade, with the same seeds."""
        job = self.job(id, client)
        made = {picture for picture, _ in job.images}
        left = tuple(picture for picture in job.pictures if picture not in made)
        if not job.has_ended:
            raise WorkbenchError(
                "This job has not ended yet.", "Wait for it, or cancel it.", code="not_ended", status=409
            )
        if not left or (isinstance(job.request, MergeRequest) and job.state == "finished"):
            raise WorkbenchError(
                "All pictures of this job are made.", "Press Generate.", code="nothing_left", status=409
            )
        return self._add(job.request, left, job.client, job.workspace, job.priority, None)

    def job(self, id: str, client: str | None = None) -> Job:
        """One job by its id."""
        rows = self._journal.read("SELECT * FROM jobs WHERE id = ?", (id,))
        if not rows or client not in (None, rows[0]["client"]):
            raise _no_such_job(id)
        return self._read(rows)[0]

    def jobs(
        self, states: Sequence[State] = (), workspace: str | None = None, limit: int = 100, client: str | None = None
    ) -> list[Job]:
        """Jobs, the newest first; rows that a newer version stored are left out."""
        wanted = states or get_args(State)
        where = [f"state IN ({','.join('?' * len(wanted))})"]
        values: list[Any] = [*wanted]
        for column, value in (("workspace", workspace), ("client", client)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        sql = f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"
        return self._read(self._journal.read(sql, [*values, max(0, limit)]))

    def waiting(self, limit: int | None = None) -> list[Job]:
        """Queued jobs in the order in which they will run."""
        ids = [waiting.id for waiting in self._order()][:limit]
        rows = self._journal.read(f"SELECT * FROM jobs WHERE id IN ({','.join('?' * len(ids))})", ids)
        found = {job.id: job for job in self._read(rows)}
        return [found[id] for id in ids if id in found]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        rows = self._journal.read("SELECT state, count(*) AS count FROM jobs GROUP BY state")
        found = {row["state"]: row["count"] for row in rows}
        return {state: found.get(state, 0) for state in get_args(State)}

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def pause_reason(self) -> str:
        return self._reason

    def cancel(self, id: str, client: str | None = None) -> Job:
        """Stop a job at whatever stage it is; repeated, or after its end, it changes nothing."""

        def write(transaction: Transaction) -> bool:
            row = _owned(transaction, id, client)
            if row["state"] == "queued":
                transaction.execute(
                    "UPDATE jobs SET state = 'cancelled', stopping = 1, ended_at = ? WHERE id = ?", (time.time(), id)
                )
                made = transaction.execute("SELECT count(*) FROM images WHERE job = ?", (id,)).fetchone()[0]
                transaction.say(CancelledEvent(job=id, done=made, count=len(json.loads(row["pictures"]))))
                self._turns.forget(id)
            elif row["state"] == "running":
                transaction.execute("UPDATE jobs SET stopping = 1 WHERE id = ?", (id,))
                return True
            return False

        if self._journal.write(write) and self._controls:
            self._controls.stop(id)
        return self.job(id)

    def skip(self, id: str, client: str | None = None) -> Job:
        """Leave out the picture that is being made; a job that is not running stays as it is."""
        job = self.job(id, client)
        if job.state == "running" and self._controls:
            self._controls.skip(id)
        return job

    def move(self, id: str, before: str | None, client: str | None = None) -> Job:
        """Put a waiting job before another, whose priority it takes, or (None) behind all of them."""

        def write(transaction: Transaction) -> None:
            row = _owned(transaction, id, client)
            if row["state"] != "queued" or id == before:
                return
            if before is None:
                priority = row["priority"]
                last = transaction.one("SELECT max(position) AS place FROM jobs WHERE state = 'queued'")
                position = (last["place"] if last else 0.0) + 1.0
            else:
                target = _owned(transaction, before, client)
                if target["state"] != "queued":
                    raise WorkbenchError("That job no longer waits.", "Choose another.", code="not_queued", status=409)
                priority = target["priority"]
                position = _between(transaction, target, id)
            transaction.execute("UPDATE jobs SET position = ?, priority = ? WHERE id = ?", (position, priority, id))

        self._journal.write(write)
        self._announce()
        return self.job(id)

    def front(self, id: str, client: str | None = None) -> Job:
        """Put a waiting job before all others of its owner."""

        def write(transaction: Transaction) -> None:
            row = _owned(transaction, id, client)
            if row["state"] != "queued":
                return
            best = transaction.one(
                "SELECT min(position) AS place, max(priority) AS priority FROM jobs"
                " WHERE state = 'queued' AND client = ?",
                (row["client"],),
            )
            if best:
                transaction.execute(
                    "UPDATE jobs SET position = ?, priority = ? WHERE id = ?", (best["place"] - 1, best["priority"], id)
                )

        self._journal.write(write)
        self._announce()
        return self.job(id)

    def pause(self, reason: str = "") -> None:
        """Start no further job; the running one goes on. ``reason`` is a word for programs, as "disk_full"."""
        self._set_paused(True, reason)

    def resume(self) -> None:
        """Go on, whatever the reason of the pause was."""
        self._set_paused(False, "")
        if self._controls:
            self._controls.wake()

    def choose(self, transaction: Transaction, warm: Collection[str]) -> Waiting | None:
        """Inside a write: whose turn it is, None while paused or empty."""
        if self._paused:
            return None
        return self._turns.choose([Waiting(*row) for row in transaction.execute(_WAITING)], warm)

    def _set_paused(self, paused: bool, reason: str) -> None:
        self._paused, self._reason = paused, reason  # at once: a full disk must not keep the queue from pausing

        def write(transaction: Transaction) -> None:
            for name, value in (("paused", "1" if paused else "0"), ("reason", reason)):
                transaction.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))
            transaction.say(self._changed())

        try:
            self._journal.write(write)
        except DiskFull:
            self._bus.tell(self._changed())  # no room to store it, but everybody must know

    def _add(
        self, request: Wanted, pictures: tuple[int, ...], client: str, workspace: str, priority: int,
        key: str | None,
    ) -> Job:  # fmt: skip
        _check_names(client=client, workspace=workspace, key=key or "")
        if not PRIORITIES[0] <= priority <= PRIORITIES[1]:
            low, high = PRIORITIES
            raise BadValue(f"priority is {priority}, outside {low}-{high}.", field="priority", low=low, high=high)
        stored = request.to_json()
        model = "" if isinstance(request, MergeRequest) else request.model.checkpoint

        def write(transaction: Transaction) -> str:
            if key is not None:
                same = transaction.one("SELECT id FROM jobs WHERE client = ? AND key = ?", (client, key))
                if same:
                    return same["id"]
            _refuse_when_full(transaction, client)
            id = secrets.token_hex(8)
            last = transaction.one("SELECT max(position) AS place FROM jobs WHERE state = 'queued'")
            position = (last["place"] or 0.0 if last else 0.0) + 1.0
            transaction.execute(
                "INSERT INTO jobs (id, request, model, pictures, client, workspace, key, priority, position, state,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                (id, stored, model, json.dumps(pictures), client, workspace, key, priority, position,
                 time.time()),
            )  # fmt: skip
            shown = summary(request, len(pictures))
            transaction.say(Queued(job=id, workspace=workspace, client=client, position=position, summary=shown))
            return id

        id = self._journal.write(write)
        if self._controls:
            self._controls.wake()
        return self.job(id)

    def _read(self, rows: list[Any]) -> list[Job]:
        ids = [row["id"] for row in rows]
        marks = ",".join("?" * len(ids))
        images: dict[str, list[tuple[int, str]]] = {id: [] for id in ids}
        skipped: dict[str, list[int]] = {id: [] for id in ids}
        for row in self._journal.read(f"SELECT * FROM images WHERE job IN ({marks}) ORDER BY picture", ids):
            images[row["job"]].append((row["picture"], row["image"]))
        for row in self._journal.read(f"SELECT * FROM skipped WHERE job IN ({marks}) ORDER BY picture", ids):
            skipped[row["job"]].append(row["picture"])
        found: list[Job] = []
        for row in rows:
            try:
                found.append(self._estimated(from_row(row, images[row["id"]], skipped[row["id"]])))
            except BadValue:
                if len(rows) == 1:
                    raise
        return found

    def _estimated(self, job: Job) -> Job:
        return job if job.has_ended else replace(job, estimate_s=self._estimate(job.request, len(job.unmade)))

    def _order(self) -> list[Waiting]:
        return list(self._turns.order(Waiting(*row) for row in self._journal.read(_WAITING)))

    def _describe_waiting(self) -> dict[str, Any]:
        order = self._order()
        return {"count": len(order), "first": [job.summary() for job in self.waiting(5)]}

    def _changed(self) -> QueueChanged:
        return QueueChanged(paused=self._paused, reason=self._reason, order=tuple(job.id for job in self._order()))

    def _announce(self) -> None:
        self._bus.publish(self._changed())


def _no_such_job(id: str) -> NotFound:
    return NotFound(f"There is no job {id[:40]!r}.", "It may have been cleared away; look at the queue.")


def _owned(transaction: Transaction, id: str, client: str | None) -> Any:
    row = transaction.one("SELECT * FROM jobs WHERE id = ?", (id,))
    if row is None or client not in (None, row["client"]):
        raise _no_such_job(id)
    return row


def _between(transaction: Transaction, target: Any, moved: str) -> float:
    """A place right before ``target``; when floats have no number left in between, all places are counted anew."""
    for _ in range(2):
        before = transaction.one(
            "SELECT max(position) AS place FROM jobs WHERE state = 'queued' AND position < ? AND id <> ?",
            (target["position"], moved),
        )
        low = before["place"] if before and before["place"] is not None else target["position"] - 2.0
        middle = (low + target["position"]) / 2
        if low < middle < target["position"]:
            return middle
        waiting = transaction.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY position, number").fetchall()
        for place, row in enumerate(waiting, 1):
            transaction.execute("UPDATE jobs SET position = ? WHERE id = ?", (float(place), row["id"]))
        target = transaction.one("SELECT * FROM jobs WHERE id = ?", (target["id"],))
    raise WorkbenchError("The queue could not be sorted.", "Try again.", code="error", status=500)


def _refuse_when_full(transaction: Transaction, client: str) -> None:
    total, own = transaction.execute(
        "SELECT count(*), coalesce(sum(client = ?), 0) FROM jobs WHERE state = 'queued'", (client,)
    ).fetchone()
    if total >= limits.QUEUED_JOBS or own >= limits.QUEUED_JOBS_PER_CLIENT:
        raise Busy(f"{total} jobs are waiting already.", "Wait for some, or cancel some.", waiting=total)


def _check_names(**names: str) -> None:
    for field, name in names.items():
        if len(name) > NAME_CHARACTERS or not (name == "" or name.isprintable()):
            raise BadValue(f"{field} is no usable name.", f"Use up to {NAME_CHARACTERS} plain characters.", field=field)
