"""What the worker opens: the library and the engine of this machine; the engine is imported in the worker only."""

import logging
from dataclasses import replace
from typing import Any, cast

from modules.core.errors import ExtensionFailed
from modules.core.merging import MergeRequest
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.jobs.engine import Task
from modules.jobs.extensions import announce, extensions
from modules.jobs.job import wanted_from
from modules.jobs.worker import WorkerJob
from modules.library.checkpoints import Catalogue
from modules.planning.compile import compile

LOG = logging.getLogger("atelier.engine")


class EngineMaker:
    """Compiles each request against this machine's own library and runs it."""

    def __init__(self, settings: Settings, *, warm_up: bool = True) -> None:
        from modules.engine import guests
        from modules.engine.merge import merge
        from modules.engine.run import fulfil
        from modules.engine.workshop import Workshop

        self._fulfil, self._merge = fulfil, merge
        self._warms_up = warm_up
        self._catalogue = Catalogue(settings)
        self._extensions = extensions(settings)
        self._extensions.on_change(lambda: guests.seat(announce(self._extensions, _log)))
        self._workshop = Workshop(settings, self._extensions)

    def warm_up(self) -> None:
        """Measure the machine once, and load the checkpoint that is used when none is chosen."""
        if not self._warms_up:
            return
        plan = compile(GenerationRequest(seed=0), self._catalogue)
        numerics = self._workshop.numerics(plan.numerics)
        for file in plan.models.values():
            self._workshop.residency.model(file, numerics)

    def make(self, task: Task, job: WorkerJob) -> None:
        """Make the task's pictures with the preferences of the moment, or the checkpoint that it asks for."""
        self._prefer(task.settings)
        self._catalogue.upscalers.refresh()  # a file may be new since the last job
        request = wanted_from(task.request)
        if isinstance(request, MergeRequest):
            self._merge(request, self._catalogue, job)
        else:
            self._fulfil(request, task.pictures, self._catalogue, self._workshop, job)

    def describe(self) -> dict[str, Any]:
        return self._workshop.describe()

    def free(self) -> None:
        self._workshop.residency.unload()

    def close(self) -> None:
        """Let the models go."""
        self._workshop.close()
        self._catalogue.close()

    def _prefer(self, changes: dict[str, Any]) -> None:
        settings = replace(self._workshop.settings, **plain(changes))
        self._workshop.settings = self._catalogue.settings = settings
        self._extensions.set_off(settings.extensions_off)


def _log(failure: ExtensionFailed) -> None:
    LOG.warning("%s", failure.message)


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they come off the wire, where tuples are lists."""
    return {
        name: tuple(cast(list[str], value)) if isinstance(value, list) else value for name, value in settings.items()
    }


def open_maker(options: dict[str, Any]) -> EngineMaker:
    """``options``: "settings" has every setting by name; "warm_up" says whether to load a model in advance."""
    return EngineMaker(Settings(**plain(options["settings"])), warm_up=options.get("warm_up", True))
