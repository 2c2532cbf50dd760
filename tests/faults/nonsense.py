"""An engine whose first life sends what no engine of ours would: a pickle that would leave a file behind."""

import pickle
from pathlib import Path
from typing import Any

from modules.jobs.engine import Task
from modules.jobs.worker import WorkerJob
from tests.jobs.fakes import FakeMaker


class Mark:
    """Unpickled it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class Babbler(FakeMaker):
    def make(self, task: Task, job: WorkerJob) -> None:
        assert self.folder is not None
        said = self.folder / "said"
        if not said.exists():
            said.touch()
            worker: Any = job._send.__self__  # type: ignore[attr-defined]
            worker._send_frame(pickle.dumps(Mark(self.folder / "ran")))
            self.wait(job, {"deaf": ""})
        assert not (self.folder / "ran").exists()
        super().make(task, job)


def open_babbler(options: dict[str, Any]) -> Babbler:
    return Babbler(options)
