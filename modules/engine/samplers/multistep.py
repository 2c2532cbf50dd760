"""Samplers that remember the last answer and go on past it: DPM++ 2M, gradient estimation."""

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


@sampler("Gradient Estimation")
def gradient_estimation(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, gamma: float = 2.0
) -> Iterator[Step]:
    """Permenter and Yuan 2024 (arXiv:2306.04848), algorithm 2: ``gamma`` of this slope, the rest of the last one's.

    First order, second at a gamma of 3/2. A last step to 0 is Euler's, as elsewhere.
    """
    last = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        slope = (x - denoised) / sigma
        ahead = slope if last is None or sigma_next == 0 else slope * gamma + last * (1 - gamma)
        yield (step := Step(i, sigma, x + ahead * (sigma_next - sigma), denoised, sigma_next))
        x, last = step.x, slope
