"""Samplers that step below each sigma and add fresh noise back up to it."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.prediction import DiscreteTimes, Times
from modules.engine.samplers.table import Sigmas, ancestral, sampler, two_a_step


@sampler("Euler a")
def euler_ancestral(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Euler to below each sigma, and fresh noise back up to it: Song et al. 2020 (arXiv:2010.02502), equation 12."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        down, up = ancestral(sigma, sigma_next, eta)
        x = denoised + (x - denoised) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("DPM2 a", calls=two_a_step)
def dpm2_ancestral(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """DPM2's step down to below each sigma, and fresh noise back up to it."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        down, up = ancestral(sigma, sigma_next, eta)
        x, denoised = midpoint_step(denoiser, x, sigma, down)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("DPM++ 2S a", calls=two_a_step)
def dpmpp_2s_ancestral(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2211.01095), algorithm 1 with its middle at half the step in log sigma, made ancestral."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        down, up = ancestral(sigma, sigma_next, eta)
        denoised = target = denoiser(x, sigma).x0
        if down > 0:
            middle = (sigma * down) ** 0.5
            target = denoiser(denoised + (x - denoised) * (middle / sigma), middle).x0
        x = target + (x - target) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("LCM")
def lcm(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, s_noise: float = 1.0) -> Iterator[Step]:
    """Luo et al. 2023 (arXiv:2310.04378), algorithm 3: all the way to x0, then noised to the next sigma."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = x = denoiser(x, sigma).x0
        if sigma_next > 0:
            x = denoised + noise(sigma, sigma_next) * (s_noise * sigma_next)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("TCD")
def tcd(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    eta: float = 0.3,
    s_noise: float = 1.0,
    times: Times = DiscreteTimes.scaled_linear(),
) -> Iterator[Step]:
    """Zheng et al. 2024 (arXiv:2402.19159), strategic stochastic sampling.

    Down to 1 - eta of the next time, then noised up to it. ``eta`` is the paper's gamma, ``times`` the network's clock.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        down = min(sigma_next, times.told((1 - eta) * times.time(sigma_next))) if sigma_next > 0 and eta else sigma_next
        x = denoised + (x - denoised) * (down / sigma)
        if down < sigma_next:
            x = x + noise(sigma, sigma_next) * (s_noise * (sigma_next**2 - down**2) ** 0.5)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def midpoint_step(denoiser: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> tuple[Tensor, Tensor]:
    """One step along the slope found halfway in log sigma, Euler's to 0: (x, the x0 of where it began)."""
    denoised = denoiser(x, sigma).x0
    if sigma_next == 0:
        return denoised, denoised
    middle = (sigma * sigma_next) ** 0.5
    there = denoised + (x - denoised) * (middle / sigma)
    slope = (there - denoiser(there, middle).x0) / middle
    return x + slope * (sigma_next - sigma), denoised
