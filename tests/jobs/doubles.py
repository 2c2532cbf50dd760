"""Stand-ins that a test drives by hand: an engine that does what it is told, and outputs that may be full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core.errors import Busy, DiskFull, WorkbenchError
from modules.core.events import ImageMade
from modules.core.request import GenerationRequest
from modules.jobs.engine import Ended, Said, Task
from tests.jobs.fakes import pixels


class ScriptedEngine:
    """Makes a picture, ends or dies when the test says so; remembers which jobs it was asked to stop."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.left: list[int] = []
        self.said: list[Said] = []
        self.tasks: list[Task] = []
        self.stopped: list[str] = []
        self.restarts = 0
        self.rss_bytes = 0
        self.recycled = 0

    def submit(self, task: Task) -> None:
        if self.task is not None:
            raise Busy("It is busy.")
        self.task, self.left = task, list(task.pictures)
        self.tasks.append(task)

    def events(self, timeout_s: float) -> list[Said]:
        said, self.said = self.said, []
        return said

    def cancel(self, job: str) -> None:
        if self.task is not None and self.task.job == job:
            self.stopped.append(job)
            self.end("cancelled")

    def skip(self, job: str) -> None:
        pass

    def wake(self) -> None:
        pass

    def free(self) -> None:
        pass

    def recycle(self) -> None:
        self.recycled += 1

    def describe(self) -> dict[str, Any]:
        running = self.task.job if self.task else None
        return {
            "state": "ready", "model": "m", "device": "cpu", "running": running, "restarts": self.restarts, "pid": 1,
            "rss_bytes": self.rss_bytes,
        }  # fmt: skip

    def close(self, timeout_s: float) -> None:
        self.task = None

    def make_one(self) -> None:
        """Finish the next picture; after the last one the job ends."""
        if self.task is None:
            return
        if self.left:
            seeds = GenerationRequest.from_data(self.task.request).seeds()
            picture = self.left.pop(0)
            made = ImageMade(
                job=self.task.job, picture=picture, seed=seeds[picture], width=8, height=8,
                pixels=pixels(seeds[picture], 8, 8),
            )  # fmt: skip
            self.said.append(made)
        if not self.left:
            self.end("finished")

    def end(self, outcome: Any, error: dict[str, Any] | None = None) -> None:
        """The job ends; ``died`` stands for the engine's own end."""
        if self.task is not None:
            self.said.append(Ended(self.task.job, outcome, error, "ended by SIGKILL"))
            self.restarts += outcome == "died"
            self.task = None


@dataclass(frozen=True)
class MemorySaved:
    id: str
    width: int
    height: int
    picture: int
    seed: int
    job: str
    pixels: bytes
    warnings: tuple[WorkbenchError, ...] = ()


class MemoryOutputs:
    """Keeps pictures in a list, as outputs and gallery in one; raises ``problem`` while there is one."""

    def __init__(self) -> None:
        self.files: list[MemorySaved] = []
        self.problem: Exception | None = None
        self.warnings: tuple[WorkbenchError, ...] = ()
        self.folder = Path.cwd()

    def fill(self) -> None:
        self.problem = DiskFull("full")

    def save(
        self, pixels: bytes, *, request: GenerationRequest, facts: Mapping[str, Any], picture: int, seed: int,
        job: str, elapsed_s: float, width: int, height: int, parents: Sequence[tuple[str, str]] = (),
    ) -> MemorySaved:  # fmt: skip
        if self.problem:
            raise self.problem
        id = f"{len(self.files):016x}"
        self.files.append(MemorySaved(id, width, height, picture, seed, job, pixels, self.warnings))
        return self.files[-1]

    def of_job(self, job: str) -> tuple[MemorySaved, ...]:
        return tuple(file for file in self.files if file.job == job)

    def path(self, id: str) -> Path:
        raise WorkbenchError(f"{id} is in memory alone.")

    def reconcile(self) -> None:
        pass
