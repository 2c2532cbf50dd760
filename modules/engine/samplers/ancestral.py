"""Samplers that step below each sigma and add fresh noise back up to it."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, ancestral, sampler


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
