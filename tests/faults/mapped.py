"""An engine that reads its weights from a mapped file: when the file is cut, SIGBUS ends the process."""

import mmap
from pathlib import Path
from typing import Any

from modules.core.errors import ModelError
from modules.jobs.engine import Task
from modules.jobs.worker import WorkerJob
from tests.jobs.fakes import FakeMaker

BYTES = 1 << 20


class MappedMaker(FakeMaker):
    def make(self, task: Task, job: WorkerJob) -> None:
        assert self.folder is not None
        weights = self.folder / "weights"
        if weights.stat().st_size != BYTES:
            raise ModelError("The file is incomplete.", "Fetch it again.", code="model_cut", file=weights.name)
        with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            super().make(task, job)
            (self.folder / "made").touch()
            while not (self.folder / "cut").exists():
                self.wait(job, {})
            mapped[BYTES - 1]


def open_mapped(options: dict[str, Any]) -> MappedMaker:
    return MappedMaker(options)


def write_weights(folder: Path) -> Path:
    """The whole file."""
    path = folder / "weights"
    path.write_bytes(bytes(BYTES))
    return path
