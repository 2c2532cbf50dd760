"""The schedules: functions from a number of steps and a network's clock to the sigmas that a sampler walks.

All are computed on the CPU in float64 and handed over as Python floats, falling; most end in 0. ``n`` is the number of
steps, ``times`` the network's clock (``modules.engine.prediction``).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from modules.core.sampling import find_sampler
from modules.engine.prediction import FlowTimes, Times

Schedule = Callable[[int, Times], list[float]]

SCHEDULES: dict[str, Schedule] = {}
"""Every schedule by the name that people choose; ``modules.core.sampling`` has the same names."""

GRIDS: dict[str, Schedule] = {}
"""What Automatic means for samplers that bring their own times: by the name in their ``SamplerFacts.schedule``."""


ALIGNED = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
"""The sigmas that Align Your Steps published for SD 1.5."""


def schedule(name: str, table: dict[str, Schedule] = SCHEDULES):
    """Enter a schedule into a table under the name that people know."""

    def enter(function: Schedule) -> Schedule:
        table[name] = function
        return function

    return enter


def sigmas_for(sampler: str, schedule: str, steps: int, times: Times) -> list[float]:
    """The sigmas of a full walk: ``steps`` as people count them, the schedule "Automatic" being the sampler's own.

    Some samplers leave out the sigma before the last (made of one step more). Raises BadValue for unknown samplers.
    """
    facts = find_sampler(sampler)
    name = facts.schedule if schedule == "Automatic" else schedule
    make = GRIDS.get(name) or SCHEDULES[name]
    if not facts.drop_penultimate:
        return make(steps, times)
    sigmas = make(steps + 1, times)
    return [*sigmas[:-2], sigmas[-1]]


def stretched(steps: int, denoise_strength: float) -> int:
    """Of how many steps the whole schedule is whose last ``steps`` begin at a strength (0-1), as hires walks it."""
    strength = min(denoise_strength, 0.999)
    return max(int(steps / strength), steps) if strength > 0 else steps


def part_walked(
    sampler: str, schedule: str, steps: int, denoise_strength: float, times: Times, exact: bool = False
) -> list[float]:
    """The last part of a walk, for starting from a picture: a higher ``denoise_strength`` (0-1) starts at more noise.

    As people know it from img2img: int(strength * steps) + 1 of the given steps are walked. ``exact`` (hires) stretches
    the schedule instead, so that as many steps are walked as were asked for.
    """
    strength = min(denoise_strength, 0.999)
    if strength <= 0:
        return [0.0]
    if exact:
        full = sigmas_for(sampler, schedule, stretched(steps, denoise_strength), times)
        return full[-(steps + 1) :]
    full = sigmas_for(sampler, schedule, steps, times)
    walked = int(strength * (len(full) - 1)) + 1
    return full[max(0, len(full) - 1 - walked) :]


def _at(times: Times, ts: ArrayLike) -> list[float]:
    return [times.sigma(float(t)) for t in np.asarray(ts)]


def _range(times: Times) -> tuple[float, float]:
    return float(times.sigmas[0]), float(times.sigmas[-1])


@schedule("Karras")
def karras(n: int, times: Times) -> list[float]:
    """Equal steps in sigma^(1/7) over the network's range: Karras et al. 2022 (arXiv:2206.00364), equation 5."""
    low, high = _range(times)
    return [*karras_between(high, low, n), 0.0]


def karras_between(high: float, low: float, n: int, rho: float = 7.0) -> list[float]:
    """n sigmas from high to low, equal in sigma^(1/rho)."""
    top, bottom = high ** (1 / rho), low ** (1 / rho)
    return [(top + (bottom - top) * i / max(n - 1, 1)) ** rho for i in range(n)]


@schedule("Exponential")
def exponential(n: int, times: Times) -> list[float]:
    """Equal steps in log sigma: Lu et al. 2022 (arXiv:2206.00927), section 3.4."""
    low, high = _range(times)
    return [*np.exp(np.linspace(np.log(high), np.log(low), n)).tolist(), 0.0]


@schedule("SGM Uniform")
def sgm_uniform(n: int, times: Times) -> list[float]:
    """Equal steps in time from the last to the first, the first left out: as Stability's generative-models."""
    first, last = times.ends
    return [*_at(times, np.linspace(last, first, n + 1)[:-1]), 0.0]


@schedule("Simple")
def simple(n: int, times: Times) -> list[float]:
    """Every len/n-th trained sigma from the top, no interpolation."""
    sigmas = times.sigmas
    return [*(float(sigmas[-(1 + int(i * len(sigmas) / n))]) for i in range(n)), 0.0]


@schedule("Normal")
def normal(n: int, times: Times) -> list[float]:
    """Equal steps in time from the last to the first, log sigma linear between the trained ones."""
    first, last = times.ends
    return [*_at(times, np.linspace(last, first, n)), 0.0]


SCHEDULES["Uniform"] = normal  # A1111 has both names for the same times


@schedule("Polyexponential")
def polyexponential(n: int, times: Times, rho: float = 1.0) -> list[float]:
    """Steps in log sigma by a power: with the usual rho of 1 the same as Exponential."""
    low, high = _range(times)
    shares = np.linspace(1, 0, n) ** rho
    return [*np.exp(np.log(low) + shares * (np.log(high) - np.log(low))).tolist(), 0.0]


@schedule("KL Optimal")
def kl_optimal(n: int, times: Times) -> list[float]:
    """Equal steps in arctan sigma, ending at the smallest sigma and not at 0: Sabour et al. 2024, equation 6.

    Align Your Steps (arXiv:2404.14507): least KL divergence for an isotropic Gaussian.
    """
    low, high = _range(times)
    return np.tan(np.linspace(np.arctan(high), np.arctan(low), n + 1)).tolist()


@schedule("Align Your Steps")
def align_your_steps(n: int, times: Times) -> list[float]:
    """The ten steps that Sabour et al. 2024 (arXiv:2404.14507) found for SD 1.5, log-linear between for another n.

    Like A1111, 11 sigmas are 11 steps: the table itself is taken at n = 11, with 0 after it.
    """
    places = np.linspace(0, 1, n)
    found = np.exp(np.interp(places, np.linspace(0, 1, len(ALIGNED)), np.log(ALIGNED)))
    return [*found.tolist(), 0.0]


@schedule("DDIM")
def ddim_uniform(n: int, times: Times) -> list[float]:
    """Every len//n-th trained sigma from the second on; where len is no multiple of n that is a step more."""
    sigmas = times.sigmas
    return [*sigmas[1 :: max(len(sigmas) // n, 1)][::-1].tolist(), 0.0]


@schedule("Beta")
def beta(n: int, times: Times, a: float = 0.6, b: float = 0.6) -> list[float]:
    """Places by the quantiles of a beta distribution, many at both ends: Lee et al. 2024 (arXiv:2407.12173).

    Linear in sigma as A1111 has it; a flow's sigmas have no scale of their own, so there it is linear in time.
    """
    from scipy.stats import beta as distribution

    shares = distribution.ppf(1 - np.linspace(0, 1, n), a, b)
    if isinstance(times, FlowTimes):
        first, last = times.ends
        return [*_at(times, first + shares * (last - first)), 0.0]
    low, high = _range(times)
    return [*(low + shares * (high - low)).tolist(), 0.0]


@schedule("LCM", GRIDS)
def lcm_times(n: int, times: Times) -> list[float]:
    """The times that latent consistency models were distilled at, 19 to 999: Luo et al. 2023 (arXiv:2310.04378)."""
    return [*_at(times, np.linspace(999, 19, n)), 0.0]


def _ddim_times(n: int) -> list[int]:
    return [min(t + 1, 999) for t in range(0, 1000, max(1000 // n, 1))] if n > 1 else [1, 999]


@schedule("Timesteps", GRIDS)
def timesteps(n: int, times: Times) -> list[float]:
    """DDIM's and PLMS's own times: 1, 1 + 1000//n, ... up to 999, walked down to t = 1 and not to sigma 0.

    So 20 steps are 19 calls and 30 are 30: the counting that A1111's users know (docs/parity.md).
    """
    return _at(times, _ddim_times(n)[::-1])


@schedule("UniPC", GRIDS)
def unipc_times(n: int, times: Times) -> list[float]:
    """UniPC's own times: from the last to the first in equal (fractional) steps, as many as DDIM has times.

    So 20 steps are 20 calls and 30 are 31; it ends at the smallest trained sigma.
    """
    first, last = times.ends
    return _at(times, np.linspace(last, first, len(_ddim_times(n)) + 1))
