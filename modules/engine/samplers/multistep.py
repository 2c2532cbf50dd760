"""Samplers that remember earlier answers: DPM++ 2M, PLMS, LMS."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
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


@sampler("LMS")
def lms(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, order: int = 4) -> Iterator[Step]:
    """Adams-Bashforth for these very sigmas: the polynomial through the last slopes, integrated over the step.

    Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section III.5 (variable steps).
    """
    slopes: list[tuple[float, Tensor]] = []  # (sigma, slope), newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        slopes = [(sigma, (x - denoised) / sigma), *slopes[: int(order) - 1]]
        for weight, (_, slope) in zip(_weights([s for s, _ in slopes], sigma, sigma_next), slopes, strict=True):
            x = x + slope * weight
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def _weights(known: list[float], start: float, end: float) -> list[float]:
    """The integral from start to end of each Lagrange polynomial on the known sigmas, exact by Gauss's rule."""
    nodes, shares = np.polynomial.legendre.leggauss(4)
    places = (end + start) / 2 + nodes * (end - start) / 2
    basis = [np.prod([(places - s) / (own - s) for s in known if s != own], axis=0) for own in known]
    return [float((shares * values).sum() * (end - start) / 2) for values in basis]
