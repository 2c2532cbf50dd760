"""What the worker opens: the library and the engine of this machine; imported in the worker only."""

from typing import Any

from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.jobs.engine import Task
from modules.jobs.worker import WorkerJob


class EngineMaker:
    """Compiles each request against this machine's own library and runs it."""

    def __init__(self, settings: Settings) -> None:
        from modules.engine.residency import Workshop
        from modules.extend.loader import load
        from modules.library.checkpoints import Catalogue

        self._settings = settings
        self._catalogue = Catalogue(settings)
        self._workshop = Workshop(settings, load(settings))

    def make(self, task: Task, job: WorkerJob) -> None:
        from modules.engine.run import run
        from modules.planning.compile import compile

        request = GenerationRequest.from_data(task.request)
        plan = compile(request, self._catalogue, task.pictures, default_checkpoint=self._settings.checkpoint)
        run(plan, self._workshop, job)

    def describe(self) -> dict[str, str]:
        return {"model": "", "device": self._settings.device}

    def close(self) -> None:
        pass


def open_maker(options: dict[str, Any]) -> EngineMaker:
    """``options["settings"]``: every setting by name."""
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in options["settings"].items()}
    return EngineMaker(Settings(**settings))
