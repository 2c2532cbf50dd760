"""What the engine says while it works: phases with estimates, finished calls, previews, warnings, finished pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modules.core.errors import ExtensionFailed
from modules.core.events import AnyEvent, ImageMade, Phase, PhaseChanged, StepFinished, Warned
from modules.core.plan import Pass, Plan
from modules.core.sampling import find_sampler
from modules.engine.denoise import Call
from modules.engine.pace import Pace
from modules.engine.preview import Previewer
from modules.engine.residency import Loaded
from modules.planning.canvas import crop


class Job(Protocol):
    """Whoever wants the pictures."""

    def emit(self, event: AnyEvent) -> None:
        """Hear of something; must return at once."""

    def check(self) -> None:
        """Raise ``Cancelled`` if the job, or the picture last told of, is not wanted any more.

        Asked some hundred times a second, by any thread.
        """

    def is_skipped(self, picture: int) -> bool:
        """Whether this picture, but not the job, is not wanted any more."""
        ...


def tell_failed_extension(job: Job, failed: ExtensionFailed) -> None:
    """The picture is made without it, and its owner hears why."""
    job.emit(Warned(code=failed.code, message=failed.message, hint=failed.hint, facts=failed.facts))


def units(one: Pass) -> float:
    """About how much work a pass is: calls of the network times its pixels."""
    share = one.denoise_strength if one.start == "picture" and not one.exact_steps else 1.0
    return max(share * one.steps, 1.0) * (2 if find_sampler(one.sampler).second else 1) * one.canvas.pixels


@dataclass
class Progress:
    """How much of the job is done, in calls x pixels, and how long that took."""

    passes: Sequence[Pass]
    pictures: int
    ended: int = 0  # pictures made or skipped
    walked: float = 0.0  # finished walks of the current picture
    walked_s: float = 0.0

    def share(self, current: Pass, part: float) -> float:
        """Of the job, 0-1, when ``part`` of the current walk is done."""
        one_picture = sum(units(one) for one in self.passes)
        return min((self.ended + (self.walked + part * units(current)) / one_picture) / self.pictures, 1.0)


class Teller:
    """Says what happens in one job, picture by picture."""

    def __init__(self, plan: Plan, job: Job, pace: Pace, previews: bool) -> None:
        self.job = job
        self.progress = Progress(plan.passes, len(plan.pictures))
        self.picture = 0
        self._model = plan.models[plan.passes[0].model].path
        self._pace = pace
        self._previewer = Previewer(job.emit, previews)
        self._seconds: dict[str, float] = {}

    def begin(self, picture: int) -> None:
        """From now on everything is about this picture."""
        self.picture, self._seconds = picture, {}

    @contextmanager
    def phase(self, phase: Phase, work: float, detail: str = "") -> Iterator[None]:
        """Say that a phase begins, stop if it is not wanted any more, and learn from how long it took."""
        estimate_s = self._pace.estimate_s(phase, self._model, work)
        self.job.emit(PhaseChanged(phase=phase, picture=self.picture, estimate_s=estimate_s, detail=detail))
        self.job.check()
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self._pace.learn(phase, self._model, work, took)
        self._seconds[phase] = self._seconds.get(phase, 0.0) + took

    @contextmanager
    def walk(self, loaded: Loaded, one: Pass, check: Callable[[Call], None]) -> Iterator[Walk]:
        """The phase of one walk; what is yielded is the job as the loop sees it."""
        with self.phase("steps", units(one)):
            walk = Walk(self, loaded, one, check)
            yield walk
        self.progress.walked += units(one)
        self.progress.walked_s += walk.seconds

    def called(self, loaded: Loaded, one: Pass, call: Call, walking_s: float) -> None:
        """A call of the network is done: say so, and show a preview if its turn has come."""
        share = self.progress.share(one, call.share)
        eta_s = (self.progress.walked_s + walking_s) * (1 - share) / share if share else None
        self.job.emit(
            StepFinished(picture=self.picture, call=call.number, calls=call.total, progress=share, eta_s=eta_s)
        )
        self._previewer.offer(loaded, call.denoised.x0, self.picture, one.canvas, crop(one.canvas, one.size))

    def warn(self, code: str, message: str, hint: str = "", facts: Mapping[str, Any] | None = None) -> None:
        """Something goes otherwise than asked."""
        self.job.emit(Warned(code=code, message=message, hint=hint, facts=dict(facts or {}), picture=self.picture))

    def image(
        self, loaded: Loaded, image: NDArray[np.uint8], seed: int, file_changed: bool, more: Mapping[str, Any]
    ) -> None:
        """A picture [h w 3] is done; ``more`` are facts for its metadata."""
        height, width, _ = image.shape
        facts = {
            "model": loaded.file.name,
            "sha256": loaded.file.sha256,
            "family": loaded.file.family,
            "numerics": loaded.numerics.name,
            "model_changed": file_changed,
            **more,
            "seconds": {name: round(value, 3) for name, value in self._seconds.items()},
        }
        pixels = np.ascontiguousarray(image).tobytes()
        self.job.emit(
            ImageMade(picture=self.picture, seed=seed, width=width, height=height, pixels=pixels, facts=facts)
        )


class Walk:
    """The job as the loop sees it: asked before each call, told after it."""

    def __init__(self, teller: Teller, loaded: Loaded, one: Pass, check: Callable[[Call], None]) -> None:
        self.check = teller.job.check
        self._teller, self._loaded, self._pass, self._check_call = teller, loaded, one, check
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def called(self, call: Call) -> None:
        """As `modules.engine.denoise.Job` has it."""
        self._check_call(call)
        self._teller.called(self._loaded, self._pass, call, self.seconds)
