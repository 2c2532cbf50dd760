"""Samplers of the SDE itself, which draw from one Brownian path: more steps refine a picture instead of changing it."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, ancestral, sampler, two_a_step


@sampler("DPM++ SDE", calls=two_a_step)
def dpmpp_sde(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2211.01095), algorithm 1 with noise: to the middle and on, ancestral both times."""
    noise = on_path(noise, sigmas)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = target = denoiser(x, sigma).x0
        if sigma_next > 0:
            middle = (sigma * sigma_next) ** 0.5
            down, up = ancestral(sigma, middle, eta)
            there = denoised + (x - denoised) * (down / sigma) + noise(sigma, middle) * (s_noise * up)
            target = denoiser(there, middle).x0
        down, up = ancestral(sigma, sigma_next, eta)
        x = target + (x - target) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * up)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


@sampler("DPM++ 2M SDE")
def dpmpp_2m_sde(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2211.01095), SDE-DPM-Solver++(2M), its second-order term by the midpoint."""
    yield from _2m_sde(denoiser, x, sigmas, noise, eta, s_noise, lambda h: -math.expm1(-h) / 2)


@sampler("DPM++ 2M SDE Heun")
def dpmpp_2m_sde_heun(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """The same with its second-order term integrated as Heun's: for the line through the last two answers."""
    yield from _2m_sde(denoiser, x, sigmas, noise, eta, s_noise, _slope_term)


def _2m_sde(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    eta: float,
    s_noise: float,
    second: Callable[[float], float],
) -> Iterator[Step]:
    noise = on_path(noise, sigmas)
    last, last_h = None, 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        if sigma_next == 0:
            x, h = denoised, 0.0
        else:
            h = math.log(sigma / sigma_next)
            x = _decay(x, denoised, h, eta)
            if last is not None:
                x = x + (denoised - last) * (second(h + eta * h) * h / last_h)
            x = _renoise(x, sigma, sigma_next, eta, s_noise, noise)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x, last, last_h = step.x, denoised, h


@sampler("DPM++ 3M SDE")
def dpmpp_3m_sde(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 1.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Lu et al. 2022 (arXiv:2211.01095), section 5, one order up: the parabola through the last three answers."""
    past: list[tuple[float, Tensor]] = []  # (step in log sigma that led away from it, x0), newest first
    noise = on_path(noise, sigmas)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        if sigma_next == 0:
            x, h = denoised, 0.0
        else:
            h = math.log(sigma / sigma_next)
            x = _decay(x, denoised, h, eta) + _higher_terms(denoised, past, h, eta)
            x = _renoise(x, sigma, sigma_next, eta, s_noise, noise)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x, past = step.x, [(h, denoised), *past[:1]]


def on_path(noise: NoiseSource, sigmas: Sigmas) -> NoiseSource:
    """The images' Brownian paths where the source has them (`ImageNoise`), else its noise as it is."""
    make = getattr(noise, "on_path", None)
    return make(sigmas) if make else noise


def _decay(x: Tensor, x0: Tensor, h: float, eta: float) -> Tensor:
    """The linear part of the SDE over a step of h in log sigma: exact for a constant x0."""
    return x0 + (x - x0) * math.exp(-h - eta * h)


def _higher_terms(x0: Tensor, past: list[tuple[float, Tensor]], h: float, eta: float) -> Tensor | float:
    """What the slope and the bend of x0 over the last steps add: the exponential integrator's phi functions."""
    if not past:
        return 0.0
    whole = h + eta * h
    r0 = past[0][0] / h
    slope = (x0 - past[0][1]) / r0
    if len(past) == 1:
        return slope * _slope_term(whole)
    r1 = past[1][0] / h
    bend = (slope - (past[0][1] - past[1][1]) / r1) / (r0 + r1)
    return (slope + bend * r0) * _slope_term(whole) - bend * (_slope_term(whole) / whole - 0.5)


def _slope_term(h: float) -> float:
    return math.expm1(-h) / h + 1


def _renoise(x: Tensor, sigma: float, sigma_next: float, eta: float, s_noise: float, noise: NoiseSource) -> Tensor:
    """The SDE's own noise over the step."""
    if eta == 0:
        return x
    share = -math.expm1(-2 * eta * math.log(sigma / sigma_next))
    return x + noise(sigma, sigma_next) * (s_noise * sigma_next * share**0.5)
