"""What a sampler is: a walk with a name, its number of calls and its options; and the table of them all."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step

Walk = Callable[..., Iterator[Step]]
Sigmas = Sequence[float]


@dataclass(frozen=True)
class Sampler:
    """A walk with what must be known before it starts.

    ``count`` tells how many denoiser calls given sigmas make, None where only the walk itself finds out. ``alone``
    says that the step size depends on the pictures, so that each of a batch must be walked by itself.
    """

    name: str
    walk: Walk
    count: Callable[[Sigmas], int | None]
    alone: bool = False

    def __call__(
        self, denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, **options: Any
    ) -> Iterator[Step]:
        """Walk ``x`` [b c h w] from ``sigmas[0]`` to ``sigmas[-1]``; a single sigma is no step at all."""
        return self.walk(denoiser, x, sigmas, noise, **options) if len(sigmas) > 1 else iter(())

    def calls(self, sigmas: Sigmas) -> int | None:
        """How many denoiser calls a walk over these sigmas makes; None for an adaptive sampler."""
        return self.count(sigmas) if len(sigmas) > 1 else 0

    @cached_property
    def options(self) -> dict[str, Any]:
        """The sampler's own numbers by name, with their defaults: eta, s_noise and the like."""
        parameters = inspect.signature(self.walk).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


SAMPLERS: dict[str, Sampler] = {}
"""Every sampler by the name that people know; ``modules.core.sampling`` has the same names with their facts."""


def one_a_step(sigmas: Sigmas) -> int:
    """One denoiser call for each step."""
    return len(sigmas) - 1


def two_a_step(sigmas: Sigmas) -> int:
    """Two denoiser calls for each step, one for a last step to sigma 0."""
    return 2 * (len(sigmas) - 1) - (sigmas[-1] == 0)


def sampler(name: str, calls: Callable[[Sigmas], int | None] = one_a_step, alone: bool = False):
    """Enter a walk into the table under the name that people know."""

    def enter(walk: Walk) -> Walk:
        SAMPLERS[name] = Sampler(name, walk, calls, alone)
        return walk

    return enter


@dataclass(frozen=True)
class Churn:
    """Noise added before a step, and as much more to take away in it: Karras et al. 2022, algorithm 2, lines 4 to 6.

    ``amount`` is spread over ``steps``, at most sqrt(2) - 1 of sigma a step, where sigma is between ``low`` and
    ``high``; ``scale`` multiplies the noise. As in k-diffusion every step draws once churning is on at all.
    """

    steps: int
    amount: float
    low: float
    high: float
    scale: float

    def __call__(self, x: Tensor, sigma: float, noise: NoiseSource) -> tuple[Tensor, float]:
        """x with more noise, and the sigma that it then has."""
        if self.amount <= 0:
            return x, sigma
        fresh = noise(sigma, sigma)
        share = min(self.amount / self.steps, 2**0.5 - 1) if self.low <= sigma <= self.high else 0.0
        raised = sigma * (1 + share)
        return x + fresh * (self.scale * (raised**2 - sigma**2) ** 0.5), raised


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(where to step down to, how much fresh noise to add) so that together they make sigma_next.

    At eta 1 the step forgets as much as DDPM does, at 0 it is deterministic. Song et al. 2020 (arXiv:2010.02502),
    equation 16, in the space x0 + sigma n.
    """
    up = min(sigma_next, eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5)
    return (sigma_next**2 - up**2) ** 0.5, up
