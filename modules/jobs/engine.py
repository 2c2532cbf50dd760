"""Engine: what the queue needs of whatever makes pictures; a process, a thread, later another machine."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from modules.core.events import AnyEvent


@dataclass(frozen=True)
class Task:
    """One attempt at a job, as plain data: the request's JSON, which pictures to make, and which are made already.

    The made ones are told so that a retry keeps the composition of the calls of the broken attempt. ``settings`` are
    the preferences of this moment that the engine minds (see ``modules.core.settings``).
    """

    job: str
    request: dict[str, Any]
    pictures: tuple[int, ...]
    made: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Ended:
    """How an attempt ended. ``died``: the engine stopped under it and is being started again; ``reason`` says why."""

    job: str
    outcome: Literal["finished", "cancelled", "failed", "died"]
    error: dict[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Skipped:
    """The engine left a picture out because its owner asked."""

    job: str
    picture: int


@dataclass(frozen=True)
class Bounds:
    """How long the engine may be silent or deaf, in seconds."""

    heartbeat_s: float
    dump_s: float
    kill_s: float
    cancel_s: float


Said = AnyEvent | Ended | Skipped


class Engine(Protocol):
    """Makes one job at a time. Every method returns at once but ``events`` and ``close``.

    ``events`` must be called again and again, also while idle, and always by the same thread: it hears the engine,
    watches its pulse and starts it again. All other methods may be called by any thread.
    """

    def submit(self, task: Task) -> None:
        """Begin a job; raises Busy while another one runs."""
        ...

    def events(self, timeout_s: float) -> list[Said]:
        """What was said since the last call, waiting at most so long for the first word."""
        ...

    def cancel(self, job: str) -> None:
        """Stop this job, and no other: a job that does not run here is left alone."""
        ...

    def skip(self, job: str) -> None:
        """Leave out the picture of this job that is being made."""
        ...

    def wake(self) -> None:
        """Let a waiting ``events`` return."""
        ...

    def free(self) -> None:
        """Let the loaded models go once no job runs; the next job loads what it needs."""
        ...

    def recycle(self) -> None:
        """Start the engine afresh as soon as no job runs."""
        ...

    def describe(self) -> dict[str, Any]:
        """``state``, ``model`` (loaded checkpoint), ``device``, ``restarts``, ``pid``, ``rss_bytes``, and the
        newest ``told``: EngineChanged as plain data; all of it plain data."""
        ...

    def close(self, timeout_s: float) -> None:
        """Stop the running job, wait so long for it, then stop the engine in any case."""
        ...


@dataclass
class Pulse:
    """What the engine last told of itself."""

    state: str = "starting"
    model: str = ""
    device: str = ""
    restarts: int = 0
    pid: int | None = None
    rss_bytes: int = 0
    told: dict[str, Any] = field(default_factory=dict[str, Any])
    running: str | None = field(default=None)
