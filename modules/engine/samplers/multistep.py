"""Samplers that remember earlier answers: DPM++ 2M, PLMS, LMS."""

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, sampler


@sampler("DPM++ 2M")
def dpmpp_2m(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2211.01095), algorithm 2: two last x0 extrapolated in log sigma. Second order."""
    last, last_h = None, 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = target = denoiser(x, sigma).x0
        h = math.log(sigma / sigma_next) if sigma_next > 0 else math.inf
        if last is not None and sigma_next > 0:
            target = denoised + (denoised - last) * (h / (2 * last_h))
        yield (step := Step(i, sigma, target + (x - target) * (sigma_next / sigma), denoised, sigma_next))
        x, last, last_h = step.x, denoised, h


def _plms_calls(sigmas: Sigmas) -> int:
    return len(sigmas) - 1 + (sigmas[1] > 0)


@sampler("PLMS", calls=_plms_calls)
def plms(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Liu et al. 2022 (arXiv:2202.09778), equation 9: Adams-Bashforth on the noise, the first step as Heun's.

    Its weights are those of equal steps; the second call of the first step is the only extra one.
    """
    weights = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}
    slopes: list[Tensor] = []  # newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        slope = slopes[0]
        if len(slopes) > 1:
            slope = sum(w * s for w, s in zip(weights[len(slopes)], slopes, strict=True))
        elif sigma_next > 0:
            there = x + slope * (sigma_next - sigma)
            slope = (slope + (there - denoiser(there, sigma_next).x0) / sigma_next) / 2
        yield (step := Step(i, sigma, x + slope * (sigma_next - sigma), denoised, sigma_next))
        x = step.x
