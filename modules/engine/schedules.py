"""The schedules: functions from a number of steps and a network's clock to the sigmas that a sampler walks.

All are computed on the CPU in float64 and handed over as Python floats, falling; most end in 0. ``n`` is the number of
steps, ``times`` the network's clock (``modules.engine.prediction``).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modules.core.errors import BadValue
from modules.core.plan import Pass
from modules.core.request import Sampling
from modules.core.sampling import find_sampler
from modules.engine import aligned
from modules.engine.prediction import Ranged, Times

Schedule = Callable[..., list[float]]

SCHEDULES: dict[str, Schedule] = {}
"""Every schedule by the name that people choose; ``modules.core.sampling`` has the same names."""

GRIDS: dict[str, Schedule] = {}
"""What Automatic means for samplers that bring their own times: by the name in their ``SamplerFacts.schedule``."""

COMFY: dict[str, Schedule] = {}
"""Schedules that ComfyUI computes otherwise under the same name."""

COMFY_DROPS = ("DPM2", "DPM2 a")
"""The samplers that leave out the sigma before the last there."""


def schedule(name: str, table: dict[str, Schedule] = SCHEDULES):
    """Enter a schedule into a table under the name that people know."""

    def enter(function: Schedule) -> Schedule:
        table[name] = function
        return function

    return enter


def sigmas_for(
    sampler: str, schedule: str, steps: int, times: Times, own: Sampling = Sampling(), *, comfy: bool = False
) -> list[float]:
    """The sigmas of a full walk: ``steps`` as people count them, the schedule "Automatic" being the sampler's own.

    Some samplers leave out the sigma before the last (made of one step more). ``own`` may say other ends, another bend
    and whether to leave that sigma out; ``comfy`` takes ComfyUI's own where it has one. Raises BadValue for unknown
    samplers.
    """
    facts = find_sampler(sampler)
    name = facts.schedule if schedule == "Automatic" else schedule
    leaves_out = sampler in COMFY_DROPS if comfy else facts.drop_penultimate
    drops = leaves_out if own.discard_penultimate is None else own.discard_penultimate
    if name in GRIDS:  # as A1111 has it, these then only count one step more
        return _grid(name, steps + 1 if own.discard_penultimate else steps, times, own)
    make = (COMFY if comfy and name in COMFY else SCHEDULES)[name]
    options = {"rho": own.rho, "a": own.beta_alpha, "b": own.beta_beta}
    takes = inspect.signature(make).parameters
    chosen = {word: value for word, value in options.items() if word in takes and value is not None}
    sigmas = make(steps + drops, _between(own, times), **chosen)
    return [*sigmas[:-2], sigmas[-1]] if drops else sigmas


def _grid(name: str, steps: int, times: Times, own: Sampling) -> list[float]:
    if name == "UniPC":
        return unipc_between(times.ends[1], len(_ddim_times(steps)), times, own.unipc_skip)
    return GRIDS[name](steps, times)


def _between(own: Sampling, times: Times) -> Times:
    if isinstance(times, Ranged) or not (own.sigma_min or own.sigma_max):
        return times
    low, high = times.range
    low, high = own.sigma_min or low, own.sigma_max or high
    if low >= high:
        raise BadValue(
            f"The schedule would begin at sigma {high:g} and end at {low:g}, which is no less.",
            "Raise sigma max or lower sigma min.",
            field="sampling.sigma_min",
        )
    return Ranged(times, low, high)


@dataclass(frozen=True)
class LaterPart:
    """The last part of a walk, for starting from a picture.

    ``noised_to`` is the sigma that the picture is noised to, ``sigmas`` what is walked then (a single one: nothing),
    ``full`` the whole schedule's.
    """

    noised_to: float
    sigmas: list[float]
    full: list[float]


def later_part(
    one: Pass, times: Times, own: Sampling = Sampling(), a1111: bool = False, *, comfy: bool = False
) -> LaterPart:
    """Where a walk from a picture begins: more strength begins at more noise (docs/parity.md, Starting from a picture).

    int(strength * steps) + 1 of the steps are walked. Exactly as many as were asked for are walked where the pass says
    so, and always in hires: then the schedule is stretched to int(steps / strength). Samplers with times of their own
    count those; A1111 noises to one of them and starts at the next, as ``a1111`` does.
    """
    strength = min(one.denoise_strength, 0.999)
    if strength <= 0 and (one.exact_steps or not a1111):
        return LaterPart(0.0, [0.0], sigmas_for(one.sampler, one.schedule, one.steps, times, own, comfy=comfy))
    total = max(int(one.steps / strength), one.steps) if one.exact_steps else one.steps
    last = one.steps - 1 if one.exact_steps else int(strength * one.steps)
    full = sigmas_for(one.sampler, one.schedule, total, times, own, comfy=comfy)
    if one.schedule not in ("Timesteps", "UniPC"):
        sigmas = full[max(0, total - last - 1) :]
        return LaterPart(sigmas[0], sigmas, full)
    known = _ddim_times(total + 1 if own.discard_penultimate else total)
    last = min(max(last, 1), len(known) - 1)
    walked = known[:last] if a1111 and last > 1 else known[: last + 1]
    if one.schedule == "UniPC":
        sigmas = unipc_between(walked[-1], last, times, own.unipc_skip)
    else:
        sigmas = _at(times, walked[::-1])
    return LaterPart(times.sigma(known[last]) if a1111 else sigmas[0], sigmas, full)


def _at(times: Times, ts: ArrayLike) -> list[float]:
    return [times.sigma(float(t)) for t in np.asarray(ts)]


@schedule("Karras")
def karras(n: int, times: Times, rho: float = 7.0) -> list[float]:
    """Equal steps in sigma^(1/rho) over the network's range: Karras et al. 2022 (arXiv:2206.00364), equation 5."""
    low, high = times.range
    return [*karras_between(high, low, n, rho), 0.0]


def karras_between(high: float, low: float, n: int, rho: float = 7.0) -> list[float]:
    """n sigmas from high to low, equal in sigma^(1/rho)."""
    top, bottom = high ** (1 / rho), low ** (1 / rho)
    return [(top + (bottom - top) * i / max(n - 1, 1)) ** rho for i in range(n)]


@schedule("Exponential")
def exponential(n: int, times: Times) -> list[float]:
    """Equal steps in log sigma: Lu et al. 2022 (arXiv:2206.00927), section 3.4."""
    low, high = times.range
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


@schedule("Uniform")
def uniform(n: int, times: Times) -> list[float]:
    """The same times over all that the network knows: as A1111 has it, no other ends count here."""
    return normal(n, times.clock if isinstance(times, Ranged) else times)


@schedule("Polyexponential")
def polyexponential(n: int, times: Times, rho: float = 1.0) -> list[float]:
    """Steps in log sigma by a power: with the usual rho of 1 the same as Exponential."""
    low, high = times.range
    shares = np.linspace(1, 0, n) ** rho
    return [*np.exp(np.log(low) + shares * (np.log(high) - np.log(low))).tolist(), 0.0]


@schedule("KL Optimal")
def kl_optimal(n: int, times: Times) -> list[float]:
    """Equal steps in arctan sigma, ending at the smallest sigma and not at 0: Sabour et al. 2024, equation 6.

    Align Your Steps (arXiv:2404.14507): least KL divergence for an isotropic Gaussian.
    """
    low, high = times.range
    return np.tan(np.linspace(np.arctan(high), np.arctan(low), n + 1)).tolist()


@schedule("Align Your Steps")
@schedule("Align Your Steps 11")
def align_your_steps(n: int, times: Times) -> list[float]:
    """The steps that Sabour et al. 2024 (arXiv:2404.14507) found best for the model: two names for one table."""
    return aligned.spread(aligned.AYS[times.aligned], n)


@schedule("Align Your Steps 32")
def align_your_steps_32(n: int, times: Times) -> list[float]:
    """The same in 32 sigmas, the last of them below all that the network was trained at."""
    return aligned.spread(aligned.AYS_32[times.aligned], n)


@schedule("Align Your Steps GITS")
def align_your_steps_gits(n: int, times: Times) -> list[float]:
    """Steps where the walk's path bends: Chen et al. 2024 (arXiv:2405.11326)."""
    return aligned.spread(aligned.GITS[times.aligned], n)


@schedule("Turbo")
def turbo(n: int, times: Times) -> list[float]:
    """Trained sigmas at the nearest whole times to k/n of all: 999, 749, 499, 249 for four, as SD Turbo was distilled.

    Sauer et al. 2023 (arXiv:2311.17042), section 3.
    """
    trained = times.sigmas
    places = [min(max(round(k * len(trained) / n - 1), 0), len(trained) - 1) for k in range(n, 0, -1)]
    return [*(float(trained[place]) for place in places), 0.0]


@schedule("Linear Quadratic")
def linear_quadratic(n: int, times: Times) -> list[float]:
    """2.5 % of the noise in equal steps, half of all, the rest in steps that grow: as Mochi 1 and LTX-Video walk.

    Of a flow that is its time as the network is told it.
    """
    half, slow, top = n // 2, 0.025, times.range[1]
    shares = [0.0] if n == 1 else [
        slow * i / half + max(i - half, 0) ** 2 * (half - slow * n) / (half * (n - half) ** 2) for i in range(n)
    ]  # fmt: skip
    if times.is_flow:
        return [*(times.told(times.time(top) * (1 - share)) for share in shares), 0.0]
    return [*(top * (1 - share) for share in shares), 0.0]


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
    if times.is_flow:
        first, last = times.ends
        return [*_at(times, first + shares * (last - first)), 0.0]
    low, high = times.range
    return [*(low + shares * (high - low)).tolist(), 0.0]


@schedule("Beta", COMFY)
def beta_of_trained(n: int, times: Times, a: float = 0.6, b: float = 0.6) -> list[float]:
    """The same quantiles (Lee et al. 2024, arXiv:2407.12173) as whole times, each trained sigma at most once."""
    from scipy.stats import beta as distribution

    places = np.rint(distribution.ppf(1 - np.linspace(0, 1, n, endpoint=False), a, b) * (len(times.sigmas) - 1))
    return [*(float(times.sigmas[int(place)]) for place in dict.fromkeys(places)), 0.0]


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
    return unipc_between(times.ends[1], len(_ddim_times(n)), times)


def unipc_between(start: float, n: int, times: Times, skip: str = "time_uniform") -> list[float]:
    """n steps from time ``start`` to the first trained one: equal in time, in its root, or in log sigma.

    Zhao et al. 2023 (arXiv:2302.04867), as its authors' code names them; its time runs from 0.001 to 1.
    """
    first = times.ends[0]
    if skip == "logSNR":
        logs = np.linspace(np.log(times.sigma(start)), np.log(times.sigma(first)), n + 1)
        return np.exp(logs).tolist()
    if skip == "time_quadratic":
        roots = np.linspace(((start + 1) / 1000) ** 0.5, ((first + 1) / 1000) ** 0.5, n + 1)
        return _at(times, roots**2 * 1000 - 1)
    return _at(times, np.linspace(start, first, n + 1))
