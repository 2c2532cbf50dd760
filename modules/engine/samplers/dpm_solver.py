"""DPM-Solver in log sigma: with steps as long as its error allows, or a fixed number of calls."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.plain import euler
from modules.engine.samplers.table import Sigmas, ancestral, sampler


@sampler("DPM adaptive", calls=lambda sigmas: None, alone=True)
def dpm_adaptive(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    rtol: float = 0.05,
    atol: float = 0.0078,
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2206.00927), appendix C: DPM-Solver-23 with steps as long as its error allows.

    Only the first and the last sigma above 0 matter; it ends at that last one. A step is taken back (and not yielded)
    where the second- and third-order answers differ by more than the tolerance.
    """
    at, end = sigmas[0], min(sigma for sigma in sigmas if sigma > 0)
    if end == at:  # one step straight to 0 leaves nothing to adapt
        yield from euler(denoiser, x, sigmas, noise)
    h, i, low_before = 0.05, 0, x
    while math.log(at / end) > 1e-5:
        there = max(end, at * math.exp(-h))
        down, up = _ancestral_above(at, there, end, eta)
        low, high, denoised = dpm_solver_23(denoiser, x, at, down)
        allowed = torch.maximum(low.abs(), low_before.abs()).mul(rtol).clamp(min=atol)
        error = float(((low - high) / allowed).square().mean().sqrt())
        stretch = 1 + math.atan((error + 1e-8) ** (-1 / (1.5 if eta else 3)) - 1)
        h *= stretch
        if stretch < 0.81:
            continue
        x = high if up == 0 else high + noise(at, there) * (s_noise * up)
        yield (step := Step(i, at, x, denoised, there))
        x, at, low_before, i = step.x, there, low, i + 1


@sampler("DPM fast")
def dpm_fast(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2206.00927), section 3.4, DPM-Solver-fast: n calls in about n/3 third-order steps.

    Of the sigmas only their number, the first and the last above 0 matter; it ends at that last one.
    """
    calls, high, end = len(sigmas) - 1, sigmas[0], min(sigma for sigma in sigmas if sigma > 0)
    if end == high:  # one step straight to 0
        yield from euler(denoiser, x, sigmas, noise)
        return
    orders = [*[3] * (calls // 3 - 1), 2, 1] if calls % 3 == 0 else [*[3] * (calls // 3), calls % 3]
    places = [high * (end / high) ** (i / len(orders)) for i in range(len(orders) + 1)]
    for i, (order, (at, there)) in enumerate(zip(orders, pairwise(places), strict=True)):
        down, up = _ancestral_above(at, there, end, eta)
        x, denoised = dpm_solver(denoiser, x, at, down, order)
        if up > 0:
            x = x + noise(at, there) * (s_noise * up)
        yield (step := Step(i, at, x, denoised, there))
        x = step.x


def _ancestral_above(sigma: float, sigma_next: float, floor: float, eta: float) -> tuple[float, float]:
    """As ``ancestral``, but never down to below ``floor``."""
    down = max(floor, ancestral(sigma, sigma_next, eta)[0])
    return down, max(0.0, sigma_next**2 - down**2) ** 0.5


def dpm_solver(denoiser: Denoiser, x: Tensor, sigma: float, sigma_next: float, order: int) -> tuple[Tensor, Tensor]:
    """(x at sigma_next, first x0) after one step of order 1, 2 or 3 in as many calls: algorithms 1 and 2 there."""
    if order == 3:
        _, x, denoised = dpm_solver_23(denoiser, x, sigma, sigma_next)
        return x, denoised
    denoised = denoiser(x, sigma).x0
    eps = (x - denoised) / sigma
    if order == 2:
        middle = (sigma * sigma_next) ** 0.5
        there = x + eps * (middle - sigma)
        eps = (there - denoiser(there, middle).x0) / middle
    return x + eps * (sigma_next - sigma), denoised


def dpm_solver_23(denoiser: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> tuple[Tensor, Tensor, Tensor]:
    """(second-order answer, third-order answer, first x0) at sigma_next, from three calls that both share.

    Lu et al. 2022 (arXiv:2206.00927), algorithms 4 and 2, with r1 = 1/3 and r2 = 2/3 of the step in log sigma.
    """
    h = math.log(sigma / sigma_next)
    at_third, at_two_thirds = sigma * math.exp(-h / 3), sigma * math.exp(-h * 2 / 3)
    denoised = denoiser(x, sigma).x0
    eps = (x - denoised) / sigma
    x1 = x - eps * (at_third * math.expm1(h / 3))
    bend = (x1 - denoiser(x1, at_third).x0) / at_third - eps
    phi = math.expm1(h * 2 / 3) / (h * 2 / 3) - 1
    x2 = x - eps * (at_two_thirds * math.expm1(h * 2 / 3)) - bend * (at_two_thirds * 2 * phi)
    bend2 = (x2 - denoiser(x2, at_two_thirds).x0) / at_two_thirds - eps
    straight = x - eps * (sigma_next * math.expm1(h))
    low = straight - bend * (sigma_next * 1.5 * math.expm1(h))
    high = straight - bend2 * (sigma_next * 1.5 * (math.expm1(h) / h - 1))
    return low, high, denoised
