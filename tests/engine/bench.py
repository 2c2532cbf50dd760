"""A bench for engine tests: checkpoints of the analytic and the tiny family, a job that keeps what it is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.core.errors import Cancelled
from modules.core.events import AnyEvent, ImageMade
from modules.core.plan import Plan
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.engine.workshop import Workshop
from modules.extend.loader import Registry
from modules.families.analytic import write_checkpoint
from modules.library.checkpoints import Catalogue
from modules.planning.compile import compile


class KeepingJob:
    """Keeps every event; ``hear`` sees each as it comes and may set ``cancelled`` or ``skipped``."""

    def __init__(self, hear: Callable[["KeepingJob", AnyEvent], None] = lambda job, event: None) -> None:
        self.events: list[AnyEvent] = []
        self.cancelled = False
        self.skipped: set[int] = set()
        self._hear = hear
        self._picture = -1

    def emit(self, event: AnyEvent) -> None:
        self._picture = getattr(event, "picture", self._picture)
        self.events.append(event)
        self._hear(self, event)

    def check(self) -> None:
        if self.cancelled or self._picture in self.skipped:
            raise Cancelled

    def is_skipped(self, picture: int) -> bool:
        return picture in self.skipped and not self.cancelled

    def of(self, type: str) -> list[Any]:
        """The events of one type."""
        return [event for event in self.events if event.type == type]

    def images(self) -> list[NDArray[np.uint8]]:
        """The finished pictures [h w 3], in the order in which they were made."""
        return [pixels(event) for event in self.of("image_made")]


def pixels(event: ImageMade) -> NDArray[np.uint8]:
    """The picture of an event as an array."""
    return np.frombuffer(event.pixels, np.uint8).reshape(event.height, event.width, 3)


def request(**changed: Any) -> GenerationRequest:
    """A small request of the analytic family; nested fields as plain data."""
    return GenerationRequest.from_data(
        {
            "prompt": "red cat",
            "seed": 7,
            "size": {"width": 64, "height": 64},
            "sampling": {"sampler": "Euler", "steps": 4, "cfg_scale": 1.5},
            **changed,
        }
    )


class Bench:
    """A models folder with an analytic checkpoint, a library of it, and a workshop on the CPU in 32 bit."""

    def __init__(self, folder: Path, delay_s: float = 0.0, registry: Registry | None = None) -> None:
        self.models = folder / "models"
        self.models.mkdir(exist_ok=True)
        write_checkpoint(self.models / "analytic.safetensors", delay_s=delay_s)
        settings = Settings(data_dir=str(folder), device="cpu", numerics="safe")
        self.catalogue = Catalogue(settings, [self.models])
        self.workshop = Workshop(settings, registry)

    def plan(self, **changed: Any) -> Plan:
        """The plan of a request that differs in some fields."""
        return compile(request(**changed), self.catalogue)
