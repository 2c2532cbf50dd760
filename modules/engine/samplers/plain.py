"""Samplers that ask the denoiser anew in every step and keep nothing: Euler, Heun, DPM2, DDIM, HeunPP2."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.ancestral import euler_ancestral, midpoint_step
from modules.engine.samplers.table import Churn, Sigmas, sampler, two_a_step


@sampler("Euler")
def euler(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 2. First order."""
    churn = Churn(len(sigmas) - 1, s_churn, s_tmin, s_tmax, s_noise)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn(x, sigma, noise)
        denoised = denoiser(x, sigma).x0
        yield (step := Step(i, sigma, denoised + (x - denoised) * (sigma_next / sigma), denoised, sigma_next))
        x = step.x


@sampler("Heun", calls=two_a_step)
def heun(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 1. Second order; a last step to 0 is Euler's."""
    churn = Churn(len(sigmas) - 1, s_churn, s_tmin, s_tmax, s_noise)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn(x, sigma, noise)
        x, denoised = heun_step(denoiser, x, sigma, sigma_next)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def heun_step(denoiser: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> tuple[Tensor, Tensor]:
    """One step with the mean of the slopes at both ends: (x, the x0 of the first end)."""
    denoised = denoiser(x, sigma).x0
    if sigma_next == 0:
        return denoised, denoised
    slope = (x - denoised) / sigma
    there = x + slope * (sigma_next - sigma)
    slope_there = (there - denoiser(there, sigma_next).x0) / sigma_next
    return x + (slope + slope_there) * ((sigma_next - sigma) / 2), denoised


@sampler("DPM2", calls=two_a_step)
def dpm2(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 2 as a midpoint method: the slope halfway in log sigma."""
    churn = Churn(len(sigmas) - 1, s_churn, s_tmin, s_tmax, s_noise)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma = churn(x, sigma, noise)
        x, denoised = midpoint_step(denoiser, x, sigma, sigma_next)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("DDIM")
def ddim(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 0.0) -> Iterator[Step]:
    """Song et al. 2020 (arXiv:2010.02502), equation 12: in this space the same step as Euler a, with eta 0."""
    yield from euler_ancestral(denoiser, x, sigmas, noise, eta=eta)


def _heunpp2_calls(sigmas: Sigmas) -> int:
    steps = len(sigmas) - 1
    return 3 * steps - 3 if steps > 1 else 1


@sampler("HeunPP2", calls=_heunpp2_calls)
def heunpp2(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Heun with up to two slopes ahead, each weighing its sigma's share of the first one: Carzit's Heun++, 2024.

    Three calls a step, two in the last but one, one in the last. No paper; docs/parity.md has the rule. First order.
    """
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        first = slope = mean = (x - denoised) / sigma
        there, ahead = x, sigmas[i + 1 : min(i + 3, steps)]
        for at, to in pairwise((sigma, *ahead)):
            there = there + slope * (to - at)
            slope = (there - denoiser(there, to).x0) / to
            mean = mean + (slope - first) * (to / ((len(ahead) + 1) * sigmas[0]))
        yield (step := Step(i, sigma, x + mean * (sigma_next - sigma), denoised, sigma_next))
        x = step.x
