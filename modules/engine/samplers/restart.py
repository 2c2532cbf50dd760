"""Restart: Heun down, then noised back up to walk the middle again."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.plain import heun_step
from modules.engine.samplers.table import Sigmas, sampler
from modules.engine.schedules import karras_between


def restart_steps(sigmas: Sigmas) -> list[tuple[float, float]]:
    """The (from, to) of every Heun step: the walk down and, from 20 steps, the climbs back from about 0.1 to 2.

    9 of the steps once, from 36 steps a quarter of them twice; the descent is re-spaced with what is left.
    """
    n = len(sigmas) - 1
    each, times = (n // 4, 2) if n >= 36 else (9, 1) if n >= 20 else (0, 0)
    if not times or sigmas[-1] > 0:
        return list(pairwise(sigmas))
    down = [*karras_between(sigmas[0], sigmas[-2], n - each * times), 0.0]
    low = min(range(len(down)), key=lambda i: abs(down[i] - 0.1))
    high = min(range(len(down)), key=lambda i: abs(down[i] - 2.0))
    climb = list(pairwise(karras_between(down[high], down[low], each + 1))) if high < low else []
    return [*pairwise(down[: low + 1]), *climb * times, *pairwise(down[low:])]


def _restart_calls(sigmas: Sigmas) -> int:
    return sum(1 if there == 0 else 2 for _, there in restart_steps(sigmas))


@sampler("Restart", calls=_restart_calls)
def restart(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, s_noise: float = 1.0
) -> Iterator[Step]:
    """Xu et al. 2023 (arXiv:2306.14878), algorithm 1: Heun down, noised back up to walk the middle again."""
    at = sigmas[0]
    for i, (sigma, sigma_next) in enumerate(restart_steps(sigmas)):
        if sigma > at:
            x = x + noise(at, sigma) * (s_noise * (sigma**2 - at**2) ** 0.5)
        x, denoised = heun_step(denoiser, x, sigma, sigma_next)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x, at = step.x, sigma_next
