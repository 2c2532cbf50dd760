"""The loop that owns a device: it takes one job at a time, says what happens, and may die at any instruction."""

import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from modules.core import limits
from modules.core.errors import Cancelled, OutOfMemory, WorkbenchError
from modules.core.events import AnyEvent, EngineChanged, ImageMade, PhaseChanged, StepFinished
from modules.jobs import wire
from modules.jobs.engine import Task

FREE = object()  # among the jobs: let the models go when the ones before are done


class Maker(Protocol):
    """Makes pictures, in the worker's thread; keeps models between jobs."""

    def make(self, task: Task, job: "WorkerJob") -> None:
        """Make the task's pictures; raises Cancelled when ``job.check`` did, or a WorkbenchError."""
        ...

    def describe(self) -> dict[str, Any]:
        """What EngineChanged says of it: ``model``, ``device``, and where known ``held``, ``free_bytes`` ..."""
        ...

    def free(self) -> None:
        """Let every loaded model go."""
        ...

    def warm_up(self) -> None:
        """What the first job would otherwise wait for; called once, before any job. May fail without harm."""
        ...

    def close(self) -> None: ...


class WorkerJob:
    """The job as the engine sees it: say what happens, and ask often whether to go on.

    ``check`` is called inside every network call, by any thread.
    """

    def __init__(self, task: Task, send: Callable[[dict[str, Any]], None]) -> None:
        self.id = task.job
        self.task = task
        self._send = send
        self._stopped = threading.Event()
        self._skipped: set[int] = set()
        self._picture: int | None = None

    def emit(self, event: AnyEvent) -> None:
        """Say something about this job."""
        if isinstance(event, PhaseChanged | StepFinished):
            self._picture = event.picture
        elif isinstance(event, ImageMade):
            self._picture = None  # made is made: it can be skipped no more
        self._send({"is": "event", **event.model_copy(update={"job": self.id}).model_dump()})

    def check(self) -> None:
        """Raises Cancelled when the job, or (once) when the picture being made, is to be left."""
        picture = self._picture
        if picture is not None and picture in self._skipped:
            self._picture = None  # what is asked next belongs to the next picture
            raise Cancelled
        if self._stopped.is_set():
            raise Cancelled

    def is_skipped(self, picture: int) -> bool:
        """Whether only this picture is to be left out: go on with the next one. False when the whole job is stopped."""
        return picture in self._skipped and not self._stopped.is_set()

    def stop(self) -> None:
        """From now on ``check`` raises."""
        self._stopped.set()

    def skip(self) -> None:
        """Leave out the picture that is being made, if one is."""
        picture = self._picture
        if picture is not None and picture not in self._skipped:
            self._skipped.add(picture)
            self._send({"is": "skipped", "job": self.id, "picture": picture})


def serve(
    receive: Callable[[], bytes],
    send: Callable[[bytes], None],
    open_maker: Callable[[], Maker],
    *,
    heartbeat_s: float = limits.HEARTBEAT_S,
    on_gone: Callable[[], None] = lambda: None,
) -> None:
    """Serve jobs until told to close.

    ``receive`` blocks for the next frame and raises EOFError or OSError when the program is gone (then ``on_gone`` is
    called); ``send`` may be called by several threads. The calling thread opens the maker and runs the jobs, a second
    one hears orders, a third beats the pulse, so that a busy engine still answers.
    """
    worker = _Worker(send)
    threading.Thread(target=worker.hear, args=(receive, on_gone), name="engine-orders", daemon=True).start()
    threading.Thread(target=worker.beat, args=(heartbeat_s,), name="engine-pulse", daemon=True).start()
    try:
        maker = open_maker()
        worker.warm_up(maker)
        worker.say_state("ready", maker)
        while (job := worker.next()) is not None:
            if job is FREE:
                worker.free(maker)
                continue
            worker.say_state("working", maker)
            worker.work(maker, job)
            if worker.is_spoilt:
                break  # not ready: a job handed over now would die with this process
            worker.say_state("ready", maker)
        maker.close()
    finally:
        worker.closing.set()


class _Worker:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send_frame = send
        self._sending = threading.Lock()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # jobs, FREE, None at the end
        self._jobs: dict[str, WorkerJob] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.is_spoilt = False  # the device refuses for good: only a new process can use it again

    def send(self, message: dict[str, Any]) -> None:
        frame = wire.pack(message)
        with self._sending:
            self._send_frame(frame)

    def say_state(self, state: Any, maker: Maker) -> None:
        about = maker.describe()
        event = EngineChanged.model_validate({"state": state, **about}, strict=False)
        self.send({"is": "event", **event.model_dump()})

    def next(self) -> Any:
        return self._inbox.get()

    def free(self, maker: Maker) -> None:
        try:
            maker.free()
        except Exception as problem:  # what was not let go is still there to be used
            traceback.print_exception(problem, file=sys.stderr)
        self.say_state("ready", maker)

    def warm_up(self, maker: Maker) -> None:
        self.say_state("loading", maker)
        try:
            maker.warm_up()
        except Exception as problem:  # the job that needs it will say what is wrong
            traceback.print_exception(problem, file=sys.stderr)

    def work(self, maker: Maker, job: WorkerJob) -> None:
        """One job, the wall around whatever it raises."""
        outcome, error = "finished", None
        try:
            job.check()  # stopped before its turn: not begun
            maker.make(job.task, job)
        except Cancelled:
            outcome = "cancelled"
        except Exception as problem:
            outcome, error = "failed", _as_error(problem).as_dict()
            self.is_spoilt = "CUDA error" in str(problem)
        finally:
            with self._lock:
                self._jobs.pop(job.id, None)
        self.send({"is": "ended", "job": job.id, "outcome": outcome, "error": error})

    def hear(self, receive: Callable[[], bytes], on_gone: Callable[[], None]) -> None:
        while True:
            try:
                message = wire.unpack(receive())
            except (EOFError, OSError):
                self._stop_all()
                on_gone()
                return
            verb, id = message["do"], message["job"]
            if verb == "run":
                job = WorkerJob(wire.task(message), self.send)
                with self._lock:
                    self._jobs[id] = job
                self._inbox.put(job)
            elif verb == "free":
                self._inbox.put(FREE)
            elif verb == "close":
                self._stop_all()
                return
            else:
                with self._lock:
                    job = self._jobs.get(id)
                if job is not None:
                    job.stop() if verb == "cancel" else job.skip()

    def beat(self, heartbeat_s: float) -> None:
        while not self.closing.wait(heartbeat_s):
            try:
                self.send({"is": "pulse", "rss_bytes": _rss_bytes()})
            except (OSError, EOFError, Cancelled):
                return  # nobody listens any more

    def _stop_all(self) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.stop()
        self._inbox.put(None)


def _rss_bytes() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def _as_error(problem: Exception) -> WorkbenchError:
    """What people are told; the traceback goes to the engine's log only, because it names paths."""
    if isinstance(problem, WorkbenchError):
        return problem
    traceback.print_exception(problem, file=sys.stderr)
    name = type(problem).__name__
    if isinstance(problem, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator" in str(problem):
        return OutOfMemory("The picture needs more memory than there is.", "Make it smaller, or make fewer at once.")
    return WorkbenchError(
        f"The engine failed with {name}.", "Try again; the engine's log in the data folder has the details.",
        code="engine_failed", status=500,
    )  # fmt: skip
