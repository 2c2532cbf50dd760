"""Samplers of Adams and Bashforth: up to four last slopes, weighed for the step ahead: LMS, PLMS, IPNDM, IPNDM_V, DEIS.

They differ in the curve that is laid through the slopes: over sigma, over the number of steps, over a network's time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, sampler

Weigh = Callable[[Sequence[float], float], Sequence[float]]
"""``(sigmas of the known slopes, newest first; the next sigma) -> what each slope weighs in the step``."""

EQUAL_STEPS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Adams and Bashforth's weights, newest first: Hairer, Norsett and Wanner I, section III.1, table 1.1."""


@sampler("LMS")
def lms(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, order: int = 4) -> Iterator[Step]:
    """Adams-Bashforth for these very sigmas: the polynomial through the last slopes, integrated over the step.

    Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section III.5 (variable steps).
    """
    yield from _along(denoiser, x, sigmas, int(order), lambda known, end: _integrals(known, end, lambda sigma: sigma))


@sampler("IPNDM")
def ipndm(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Zhang and Chen 2022 (arXiv:2204.13902), iPNDM: the fourth order of equal steps, begun by lower ones.

    Like PLMS without its second call. Second order, since steps are not equal; a last step to 0 is Euler's.
    """
    yield from _along(denoiser, x, sigmas, 4, _straight_to_0(_as_if_equal))


@sampler("IPNDM_V")
def ipndm_v(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """The same for unequal steps, as the authors of diff-sampler weigh them: Zhou et al. 2024 (arXiv:2312.00094).

    Their weights are not those of `lms` beyond the second order (docs/parity.md); a last step to 0 is Euler's.
    """
    yield from _along(denoiser, x, sigmas, 4, _straight_to_0(_as_diff_sampler))


@sampler("DEIS")
def deis(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, order: int = 3) -> Iterator[Step]:
    """Zhang and Chen 2022 (arXiv:2204.13902), algorithm 1, tAB-DEIS: the polynomial is one of time, not of sigma.

    The time is that of a variance preserving process with linear betas; a last step to 0 is Euler's.
    """
    weigh = _straight_to_0(lambda known, end: _integrals(known, end, _linear_time))
    yield from _along(denoiser, x, sigmas, int(order), weigh)


def _plms_calls(sigmas: Sigmas) -> int:
    return len(sigmas) - 1 + (sigmas[1] > 0)


@sampler("PLMS", calls=_plms_calls)
def plms(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Liu et al. 2022 (arXiv:2202.09778), equation 9: Adams-Bashforth on the noise, the first step as Heun's.

    Its weights are those of equal steps; the second call of the first step is the only extra one.
    """
    slopes: list[Tensor] = []  # newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        slope = slopes[0]
        if len(slopes) > 1:
            slope = sum(w * s for w, s in zip(EQUAL_STEPS[len(slopes) - 1], slopes, strict=True))
        elif sigma_next > 0:
            there = x + slope * (sigma_next - sigma)
            slope = (slope + (there - denoiser(there, sigma_next).x0) / sigma_next) / 2
        yield (step := Step(i, sigma, x + slope * (sigma_next - sigma), denoised, sigma_next))
        x = step.x


def _along(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, order: int, weigh: Weigh) -> Iterator[Step]:
    """A walk by the weighed sum of the last slopes, at most ``order`` of them."""
    known: list[float] = []
    slopes: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        known, slopes = [sigma, *known[: order - 1]], [(x - denoised) / sigma, *slopes[: order - 1]]
        for weight, slope in zip(weigh(known, sigma_next), slopes, strict=True):
            x = x + slope * weight
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def _straight_to_0(weigh: Weigh) -> Weigh:
    """The same, but the newest slope alone where the walk ends in 0."""
    return lambda known, end: weigh(known, end) if end > 0 else [-known[0], *[0.0] * (len(known) - 1)]


def _integrals(known: Sequence[float], end: float, clock: Callable[[ArrayLike], ArrayLike]) -> list[float]:
    """The integral over sigma of each Lagrange polynomial in ``clock(sigma)`` on the known ones, by Gauss's rule.

    Exact for a polynomial in sigma itself; 12 places leave 1e-9 of a step for a clock that is smooth in sigma.
    """
    nodes, shares = np.polynomial.legendre.leggauss(12)
    start = known[0]
    places = np.asarray(clock((end + start) / 2 + nodes * (end - start) / 2))
    times = np.asarray(clock(np.asarray(known)))
    basis = [np.prod([(places - t) / (own - t) for t in times if t != own], axis=0) for own in times]
    return [float((shares * values).sum() * (end - start) / 2) for values in basis]


def _linear_time(sigma: ArrayLike) -> ArrayLike:
    """The t of 1 + sigma^2 = exp(a t^2 / 2 + b t), where 0.001 is sigma 0.002 and 1 is 80: Song et al. 2020, VP.

    arXiv:2011.13456, appendix C; these ends are those of Karras et al. 2022 (arXiv:2206.00364).
    """
    low, high = math.log1p(0.002**2), math.log1p(80.0**2)
    a = 2 * (high - low / 0.001) / (1 - 0.001)
    b = high - a / 2
    return (np.sqrt(b * b + 2 * a * np.log1p(np.square(sigma))) - b) / a


def _as_if_equal(known: Sequence[float], end: float) -> list[float]:
    return [(end - known[0]) * weight for weight in EQUAL_STEPS[len(known) - 1]]


def _as_diff_sampler(known: Sequence[float], end: float) -> list[float]:
    """IPNDM_V's weights; ``h`` are the steps, newest first, all negative."""
    h = [there - at for there, at in pairwise((end, *known))]
    weights = [1.0, 0.0, 0.0, 0.0]
    if len(known) > 1:
        weights = _added(weights, h[0] / h[1] / 2, (1, -1, 0, 0))
    if len(known) > 2:
        ratio = h[1] / h[2]
        two, before = h[0] + h[1], h[1] + h[2]
        bend = (1 - h[0] / (3 * two) * (h[0] * two) / (h[1] * before)) / 2
        weights = _added(weights, bend, (1, -1 - ratio, ratio, 0))
    if len(known) > 3:
        three, far = two + h[2], h[2] + h[3]
        share = h[1] * before / (h[2] * far)
        twist = (1 - h[0] / (3 * two)) / 2 + (1 - h[0] / (2 * two)) * h[0] / (6 * three)
        twist *= h[0] * two * three / (h[1] * before * (before + h[3]))
        places = (1, -1 - ratio - share, ratio + share * (1 + h[2] / h[3]), -share * ratio)
        weights = _added(weights, twist, places)
    return [h[0] * weight for weight in weights[: len(known)]]


def _added(weights: Sequence[float], amount: float, to: Sequence[float]) -> list[float]:
    return [weight + amount * share for weight, share in zip(weights, to, strict=True)]
