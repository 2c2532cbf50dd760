"""The conductor: takes the job whose turn it is, hands it to the engine, and writes down what comes of it."""

import contextlib
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psutil

from modules.core import limits
from modules.core.errors import DiskFull, ExtensionFailed, WorkbenchError
from modules.core.events import AnyEvent, EngineChanged, ImageMade, PhaseChanged, Warned
from modules.core.merging import MergeRequest
from modules.jobs.bus import Bus
from modules.jobs.collect import NO_ROOM, Collector
from modules.jobs.engine import Ended, Engine, Said, Skipped, Task
from modules.jobs.estimates import Course, Estimates
from modules.jobs.job import Job
from modules.jobs.ledger import Ledger
from modules.jobs.queue import Queue

T = TypeVar("T")
TURN_S = 0.25
SAVE_AGAIN_S = 5.0
CARE_EVERY_JOBS = 50
ENGINE_STOPPED = "engine_stopped"
log = logging.getLogger("atelier.jobs")


class Conductor:
    """One thread that drives one engine; the queue tells it what to wake for.

    It survives whatever the engine does: a job that the engine dies under is handed over once more with its unmade
    pictures, and set aside the second time.
    """

    def __init__(
        self, queue: Queue, ledger: Ledger, bus: Bus, engine: Engine, collector: Collector, estimates: Estimates,
        preferences: Callable[[], dict[str, Any]] = dict, judge: Callable[[Job, set[str]], None] | None = None,
    ) -> None:  # fmt: skip
        self._queue, self._ledger, self._bus = queue, ledger, bus
        self._engine, self._collector, self._estimates = engine, collector, estimates
        self._preferences, self._judge = preferences, judge
        self._failed_extensions: set[str] = set()
        self._job: Job | None = None
        self._is_submitted = False
        self._ended: Ended | None = None  # waits while a finished picture finds no room
        self._course: Course | None = None
        self._asked_by = ""  # the name that the loaded model was asked by; a fresh engine has the default one
        self._look = threading.Event()  # there may be a job to take
        self._look.set()
        self._closing = threading.Event()
        self._close_at = 0.0
        self._save_again_at = 0.0
        self._has_warned = False
        self._has_given_up = False
        self._starting_since = time.monotonic()
        self._jobs_run = 0
        self._recovered: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
        queue.attach(self)

    def start(self) -> None:
        """Recover what an earlier run left, then work until ``close``.

        A pause that was the program's own ends here: its reason may be gone, and where it is not, it comes again.
        """
        self._recovered = self._ledger.recover()
        if self._queue.paused and self._queue.pause_reason in (*NO_ROOM, ENGINE_STOPPED):
            self._queue.resume()
        self._thread.start()

    def wake(self) -> None:
        """Something changed: look at the queue."""
        self._look.set()
        self._engine.wake()

    def stop(self, job: str) -> None:
        """The job's owner wants it stopped."""
        self._engine.cancel(job)
        self.wake()

    def skip(self, job: str) -> None:
        """The job's owner wants the picture left out that is being made."""
        self._engine.skip(job)

    def close(self, timeout_s: float = limits.CANCEL_KILL_S) -> None:
        """Stop the running job within the time, put it back with its finished pictures, and stop the engine."""
        self._close_at = time.monotonic() + timeout_s
        self._closing.set()
        job = self._job
        if job is not None:
            self._engine.cancel(job.id)
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 10.0)

    def _run(self) -> None:
        try:
            self._find_earlier()
            with contextlib.suppress(WorkbenchError, OSError, sqlite3.Error):
                self._ledger.back_up()
            while not self._is_over():
                try:
                    self.turn()
                except Exception:  # the boundary of a job: whatever it did, the next one runs
                    log.exception("a job could not be conducted")
                    self._abandon()
        finally:
            self._leave()

    def _is_over(self) -> bool:
        if not self._closing.is_set():
            return False
        return self._job is None or not self._is_submitted or time.monotonic() > self._close_at

    def turn(self) -> None:
        """One round; the conductor's thread calls it again and again."""
        if self._collector.kept:
            self._save_again()
            if self._collector.is_full:
                self._look.wait(TURN_S)  # the engine is not heard, so it waits with its next picture
                self._look.clear()
                return
        if self._ended and not self._collector.kept:
            self._conclude(self._ended)
        self._hand_over()
        for said in self._engine.events(TURN_S):
            self._hear(said)

    def _hand_over(self) -> None:
        if self._job and not self._is_submitted and self._ledger.is_stopping(self._job.id):
            self._conclude(Ended(self._job.id, "cancelled"))  # asked while the engine starts again
        about = self._engine.describe()
        if about["state"] == "stopped":
            self._give_up_or_try()
        if about["state"] != "ready" or about["running"] or self._is_submitted or self._closing.is_set():
            return
        if self._job is None:
            if not self._look.is_set():
                return
            self._look.clear()
            warm = {about["model"], self._asked_by} if about["model"] else set[str]()
            self._job = self._persist(lambda: self._ledger.take(warm))
            if self._job is None:
                return
            self._look.set()  # there may be more behind it
        self._begin(self._job, about)

    def _begin(self, job: Job, about: dict[str, Any]) -> None:
        if self._ledger.is_stopping(job.id):
            self._conclude(Ended(job.id, "cancelled"))
            return
        if self._collector.adopt(job):
            job = self._job = self._queue.job(job.id)
        if not job.unmade:
            self._conclude(Ended(job.id, "finished"))
        else:
            self._course = Course(self._estimates, job, about["model"], about["device"])
            made = tuple(picture for picture, _ in job.images)
            request = job.request.model_dump(mode="json")
            self._engine.submit(Task(job.id, request, job.unmade, made, self._preferences()))
            self._is_submitted = True
            if self._ledger.is_stopping(job.id):  # asked while it was handed over
                self._engine.cancel(job.id)

    def _hear(self, said: Said) -> None:
        if isinstance(said, EngineChanged):
            self._hear_engine(said)
            return
        job, course = self._job, self._course
        if job is None or course is None or said.job != job.id:
            return
        if isinstance(said, Ended):
            self._ended = said
            if not self._collector.kept:
                self._conclude(said)
        elif isinstance(said, Skipped):
            self._persist(lambda: self._ledger.record_skipped(job.id, said.picture))
        elif isinstance(said, ImageMade):
            self._collect(job, course, said)
        else:
            if isinstance(said, Warned) and said.code == ExtensionFailed.code:
                self._failed_extensions.add(str(said.facts.get("extension")))
            self._tell(course.hear(said))

    def _collect(self, job: Job, course: Course, made: ImageMade) -> None:
        self._tell(course.hear(PhaseChanged(job=job.id, phase="saving", picture=made.picture)))
        try:
            reason = self._collector.take(job, made, course.picture_elapsed_s())
        except WorkbenchError as error:
            self._fail(job, error)
            return
        course.picture_ended()
        if reason:
            self._no_room(reason)

    def _no_room(self, reason: str) -> None:
        self._save_again_at = time.monotonic() + SAVE_AGAIN_S
        if not self._queue.paused:  # somebody's own pause keeps its reason, and lasts
            self._queue.pause(reason)
        if self._has_warned:
            return
        self._has_warned = True
        free_mb = 0
        with contextlib.suppress(OSError):
            free_mb = shutil.disk_usage(self._collector.folder).free // limits.MIB
        warning = Warned(
            job=self._job.id if self._job else None, code=reason,
            message=f"No space left for pictures ({free_mb} MB free)." if reason == "disk_full"
            else "The folder for pictures cannot be written.",
            hint="The finished picture is kept in memory and the queue waits.", facts={"mb": free_mb},
        )  # fmt: skip
        try:
            self._bus.publish(warning)
        except DiskFull:
            self._bus.tell(warning)

    def _save_again(self) -> None:
        """By timer, or at once when somebody resumed the queue."""
        if self._queue.paused and time.monotonic() < self._save_again_at and not self._closing.is_set():
            return
        reason = self._collector.save_kept()
        if reason:
            self._no_room(reason)
            return
        self._has_warned = False
        if self._queue.paused and self._queue.pause_reason in NO_ROOM:
            self._queue.resume()

    def _hear_engine(self, said: EngineChanged) -> None:
        now = time.monotonic()
        if said.state == "starting":
            self._starting_since, self._asked_by = now, ""
            said = said.model_copy(update={"estimate_s": self._estimates.seconds("starting", "", "")})
        elif said.state == "ready" and self._starting_since:
            self._estimates.learn("starting", "", "", 1.0, now - self._starting_since)
            self._starting_since = 0.0
            self._look.set()
        self._tell(said)

    def _give_up_or_try(self) -> None:
        """The engine does not start: pause once; when somebody resumes the queue, try again."""
        if not self._has_given_up:
            self._has_given_up = True
            if self._job is not None:
                job, self._job = self._job, None
                self._persist(lambda: self._ledger.put_back(job.id))
            self._queue.pause(ENGINE_STOPPED)
        elif not self._queue.paused:
            self._has_given_up = False
            self._engine.recycle()

    def _conclude(self, ended: Ended) -> None:
        """Write down how the attempt ended, exactly once."""
        job, self._ended, self._is_submitted = self._job, None, False
        if job is None:
            return
        course = self._course
        id = job.id
        if ended.outcome == "died":
            log.warning("the engine stopped under job %s: %s", id, ended.reason)
            if self._closing.is_set():
                self._persist(lambda: self._ledger.put_back(id))
                self._job = None
            else:
                left = self._persist(lambda: self._ledger.crashed(id, ended.reason))
                self._job = left if left and left.state == "running" else None
        elif ended.outcome == "finished":
            self._collector.lay_out(job)
            self._persist(lambda: self._ledger.finish(id, course.elapsed_s() if course else 0.0))
            self._job = None
        elif ended.outcome == "failed":
            self._persist(lambda: self._ledger.fail(id, _error(ended.error)))
            self._job = None
        else:
            end = self._ledger.put_back if self._closing.is_set() else self._ledger.cancelled
            self._persist(lambda: end(id))
            self._job = None
        self._course = None
        if self._job is None:
            if not isinstance(job.request, MergeRequest):  # which leaves the loaded model as it is
                self._asked_by = job.request.model.checkpoint
            self._look.set()
            self._tidy(job)

    def _tidy(self, job: Job) -> None:
        """Between two jobs: judge extensions, forget what is old, renew an engine that has grown too large."""
        if self._judge:
            self._judge(job, self._failed_extensions)
        self._failed_extensions = set()
        about = self._engine.describe()
        if about["pid"] and about["rss_bytes"] > limits.ENGINE_MEMORY_SHARE * psutil.virtual_memory().total:
            self._engine.recycle()
        self._jobs_run += 1
        if self._jobs_run % CARE_EVERY_JOBS == 0:
            with contextlib.suppress(WorkbenchError, OSError, sqlite3.Error):
                self._ledger.prune()
                self._ledger.back_up()

    def _find_earlier(self) -> None:
        """After a crash: pictures that were written but not even indexed, so that they are not made again."""
        if self._recovered:
            with contextlib.suppress(WorkbenchError, OSError):
                self._collector.search()

    def _abandon(self) -> None:
        """Something here went wrong: the running job fails with a reason."""
        if self._job is None:
            self._closing.wait(1.0)
            return
        error = WorkbenchError("The job could not be carried out.", "The log says why.", code="internal", status=500)
        with contextlib.suppress(WorkbenchError):
            self._fail(self._job, error)

    def _fail(self, job: Job, error: WorkbenchError) -> None:
        """The job ends here, whatever the engine still does with it."""
        self._job, self._ended, self._course, self._is_submitted = None, None, None, False
        self._engine.cancel(job.id)
        self._look.set()
        self._persist(lambda: self._ledger.fail(job.id, error))

    def _leave(self) -> None:
        with contextlib.suppress(WorkbenchError, OSError):
            self._collector.save_kept()
        job = self._job
        if job is not None:
            with contextlib.suppress(WorkbenchError):
                self._ledger.put_back(job.id)
        self._engine.close(max(1.0, min(5.0, self._close_at - time.monotonic())))

    def _tell(self, event: AnyEvent) -> None:
        try:
            self._bus.publish(event)
        except DiskFull:
            self._bus.tell(event)

    def _persist(self, action: Callable[[], T]) -> T | None:
        """Write down what happened, however long the disk is full; None only when the program closes meanwhile."""
        had_room = True
        while True:
            try:
                done = action()
            except DiskFull:
                if not self._queue.paused:
                    had_room = False
                    self._queue.pause("disk_full")
                if self._closing.wait(1.0):
                    return None
            else:
                if not had_room and not self._collector.kept:
                    self._queue.resume()
                return done


def _error(data: dict[str, Any] | None) -> WorkbenchError:
    said = data or {}
    error = WorkbenchError(
        str(said.get("message", "The engine failed.")), str(said.get("hint", "")), field=said.get("field"),
        code=str(said.get("code", "engine_failed")),
    )  # fmt: skip
    error.facts = dict(said.get("facts") or {})
    return error
