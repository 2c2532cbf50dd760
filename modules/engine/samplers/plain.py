"""Samplers that ask the denoiser once or twice and keep little: Euler, Heun, DPM2, DDIM and its CFG++."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.ancestral import euler_ancestral, midpoint_step
from modules.engine.samplers.table import Churn, Sigmas, ancestral, sampler, two_a_step


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


@sampler("DDIM CFG++")
def ddim_cfgpp(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 0.0
) -> Iterator[Step]:
    """Chung et al. 2024 (arXiv:2406.08070), algorithm 2: to the guided x0, but with the unconditional noise.

    Its guidance scale lives in 0-1; the table divides people's CFG scale by 12.5 before guidance sees it.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised, _, uncond = denoiser(x, sigma)
        if uncond is None:
            raise ValueError("DDIM CFG++ needs the unconditional half; the denoiser left it out")
        down, up = ancestral(sigma, sigma_next, eta)
        x = denoised + (x - uncond) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * up
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x
