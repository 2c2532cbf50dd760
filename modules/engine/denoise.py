"""The loop that walks noise to latents, and the watch that counts, reports and stops it call by call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from modules.engine.samplers import Sampler


class Denoised(NamedTuple):
    """What a denoiser answers: ``x0`` [b c h w] to walk to, and beside it both halves as they were before guidance.

    ``cond`` and ``uncond`` are x0 predictions too, None where that half was not computed.
    """

    x0: Tensor
    cond: Tensor | None = None
    uncond: Tensor | None = None


Denoiser = Callable[[Tensor, float], Denoised]
"""``(x [b c h w], sigma) -> Denoised``, in the one space that samplers walk: x = x0 + sigma * n."""

NoiseSource = Callable[[float, float], Tensor]
"""``(sigma, sigma_next) -> unit normal noise [b c h w]`` for that interval; sources of independent noise ignore it."""


@dataclass
class Step:
    """A place between two steps where ``x`` may be edited: the sampler goes on from what stands there.

    ``sigma`` is where the step began, ``sigma_next`` how noisy ``x`` is now, ``denoised`` the x0 that it walked to.
    """

    index: int
    sigma: float
    x: Tensor
    denoised: Tensor
    sigma_next: float


class Call(NamedTuple):
    """One finished denoiser call: the unit of progress and preview.

    ``number`` counts from 1, ``total`` is None for adaptive samplers, ``share`` is the part of the walk done, 0-1.
    """

    number: int
    total: int | None
    share: float
    sigma: float
    denoised: Denoised


class Job(Protocol):
    """Whoever wants the picture: may stop the walk before every call, and hears of every finished one."""

    def check(self) -> None:
        """Raise ``Cancelled`` if the picture is not wanted any more."""

    def called(self, call: Call) -> None:
        """Hear of a finished call."""


class Hooks(Protocol):
    """Who may edit the walk between steps; ``modules.extend.hooks.Hooks`` is one."""

    def after_step(self, step: Any) -> None:
        """Look at a ``Step``, and edit its ``x`` if need be."""


def denoise(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    sampler: "Sampler",
    noise: NoiseSource,
    hooks: Hooks,
    job: Job,
    **options: Any,
) -> Tensor:
    """Walk x down the sigmas: samplers own the arithmetic, hooks the edits, the watched denoiser the clock.

    ``x`` [b c h w] is as noisy as ``sigmas[0]``; ``options`` are the sampler's own (``sampler.options`` names them).
    """
    for step in sampler(watch(denoiser, job, sampler.calls(sigmas), sigmas), x, sigmas, noise, **options):
        hooks.after_step(step=step)
        x = step.x
    return x


def watch(denoiser: Denoiser, job: Job, calls: int | None, sigmas: Sequence[float]) -> Denoiser:
    """The same denoiser, which asks the job before every call and tells it after.

    ``calls`` is the total, None for an adaptive sampler: then progress is the share of log sigma walked.
    """
    done, share = 0, 0.0

    def watched(x: Tensor, sigma: float) -> Denoised:
        nonlocal done, share
        job.check()
        denoised = denoiser(x, sigma)
        done += 1
        share = max(share, done / calls if calls else _share_of_log_sigma(sigma, sigmas))
        job.called(Call(done, calls, min(share, 1.0), sigma, denoised))
        return denoised

    return watched


def _share_of_log_sigma(sigma: float, sigmas: Sequence[float]) -> float:
    low, high = min(s for s in sigmas if s > 0), max(sigmas)
    return math.log(high / sigma) / math.log(high / low) if high > low else 1.0
