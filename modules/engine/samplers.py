"""The samplers: generators that walk x down the sigmas, each as short as its paper.

All of them walk one space, x = x0 + sigma * n, and know no family. A sampler yields a ``Step`` and goes on from
``step.x``, which a hook may have edited. Sigmas are Python floats; x is [b c h w]. ``noise(sigma, sigma_next)`` draws.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.schedules import karras_between

Walk = Callable[..., Iterator[Step]]
Sigmas = Sequence[float]


@dataclass(frozen=True)
class Sampler:
    """A walk with what must be known before it starts.

    ``count`` tells how many denoiser calls given sigmas make, None where only the walk itself finds out. ``alone``
    says that the step size depends on the pictures, so that each of a batch must be walked by itself.
    """

    name: str
    walk: Walk
    count: Callable[[Sigmas], int | None]
    alone: bool = False

    def __call__(
        self, denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, **options: float
    ) -> Iterator[Step]:
        """Walk ``x`` [b c h w] from ``sigmas[0]`` to ``sigmas[-1]``; a single sigma is no step at all."""
        return self.walk(denoiser, x, sigmas, noise, **options) if len(sigmas) > 1 else iter(())

    def calls(self, sigmas: Sigmas) -> int | None:
        """How many denoiser calls a walk over these sigmas makes; None for an adaptive sampler."""
        return self.count(sigmas) if len(sigmas) > 1 else 0

    @cached_property
    def options(self) -> dict[str, float]:
        """The sampler's own numbers by name, with their defaults: eta, s_noise and the like."""
        parameters = inspect.signature(self.walk).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


SAMPLERS: dict[str, Sampler] = {}
"""Every sampler by the name that people know; ``modules.core.sampling`` has the same names with their facts."""


def one_a_step(sigmas: Sigmas) -> int:
    """One denoiser call for each step."""
    return len(sigmas) - 1


def two_a_step(sigmas: Sigmas) -> int:
    """Two denoiser calls for each step, one for a last step to sigma 0."""
    return 2 * (len(sigmas) - 1) - (sigmas[-1] == 0)


def sampler(name: str, calls: Callable[[Sigmas], int | None] = one_a_step, alone: bool = False):
    """Enter a walk into the table under the name that people know."""

    def enter(walk: Walk) -> Walk:
        SAMPLERS[name] = Sampler(name, walk, calls, alone)
        return walk

    return enter


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(where to step down to, how much fresh noise to add) so that together they make sigma_next.

    At eta 1 the step forgets as much as DDPM does, at 0 it is deterministic. Song et al. 2020 (arXiv:2010.02502),
    equation 16, in the space x0 + sigma n.
    """
    up = min(sigma_next, eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5)
    return (sigma_next**2 - up**2) ** 0.5, up


@sampler("Euler")
def euler(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 2 without churn. First order."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma).x0
        yield (step := Step(i, sigma, denoised + (x - denoised) * (sigma_next / sigma), denoised, sigma_next))
        x = step.x


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


@sampler("Heun", calls=two_a_step)
def heun(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource) -> Iterator[Step]:
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 1. Second order; a last step to 0 is Euler's."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, denoised = heun_step(denoiser, x, sigma, sigma_next)
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def heun_step(denoiser: Denoiser, x: Tensor, sigma: float, sigma_next: float) -> tuple[Tensor, Tensor]:
    """One step with the mean of the slopes at both ends: (x, the x0 of the first end)."""
    denoised = denoiser(x, sigma).x0
    if sigma_next == 0:
        return denoised, denoised
    slope = (x - denoised) / sigma
    there = x + slope * (sigma_next - sigma)
    slope_there = (there - denoiser(there, sigma_next).x0) / sigma_next
    return x + (slope + slope_there) * ((sigma_next - sigma) / 2), denoised


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


@sampler("DDIM")
def ddim(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 0.0) -> Iterator[Step]:
    """Song et al. 2020 (arXiv:2010.02502), equation 12: in this space the same step as Euler a, with eta 0."""
    yield from euler_ancestral(denoiser, x, sigmas, noise, eta=eta)


@sampler("DDIM CFG++")
def ddim_cfgpp(
    denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, eta: float = 0.0
) -> Iterator[Step]:
    """Chung et al. 2024 (arXiv:2406.08070), algorithm 2: to the guided x0, but with the unconditional noise.

    Its guidance scale lives in 0-1; the table divides people's CFG scale by 12.5 before guidance sees it.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised, _, uncond = denoiser(x, sigma)
        if uncond is None:
            raise ValueError("DDIM CFG++ needs the unconditional half; the denoiser left it out")
        down, up = ancestral(sigma, sigma_next, eta)
        x = denoised + (x - uncond) * (down / sigma)
        if up > 0:
            x = x + noise(sigma, sigma_next) * up
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


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


@sampler("UniPC")
def unipc(denoiser: Denoiser, x: Tensor, sigmas: Sigmas, noise: NoiseSource, *, order: int = 3) -> Iterator[Step]:
    """Zhao et al. 2023 (arXiv:2302.04867), algorithms 5-8 with B(h) = h on x0, the order falling in the last steps.

    The corrector uses the output at the predicted x, which is also the next step's: one call a step.
    """
    past: list[tuple[float, Tensor]] = []  # (sigma, x0), newest first
    n = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if i == 0:
            past = [(sigma, denoiser(x, sigma).x0)]
        denoised = past[0][1]
        use = min(int(order), i + 1, n - i)
        if sigma_next == 0:
            x = denoised
        else:
            there = _unipc_step(x, past[:use], sigma_next)
            if i < n - 1:
                past = [(sigma_next, denoiser(there, sigma_next).x0), *past]
                x = _unipc_step(x, past[1 : use + 1], sigma_next, corrected_by=past[0][1])
                past = past[: int(order)]
            else:
                x = there
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def _unipc_step(
    x: Tensor, past: Sequence[tuple[float, Tensor]], sigma_next: float, corrected_by: Tensor | None = None
) -> Tensor:
    """Predictor (or corrector, knowing x0 at sigma_next) from ``past`` [(sigma, x0)], newest first."""
    sigma, x0 = past[0]
    h = math.log(sigma / sigma_next)
    nodes = [(math.log(sigma / s) / h, known - x0) for s, known in past[1:]]  # (position in steps, difference)
    if corrected_by is not None:
        nodes.append((1.0, corrected_by - x0))
    x = x0 + (x - x0) * (sigma_next / sigma)
    for (r, difference), rho in zip(nodes, _unipc_weights([r for r, _ in nodes], h), strict=True):
        x = x + difference * (h * rho / r)
    return x


def _unipc_weights(positions: Sequence[float], h: float) -> list[float]:
    """The rho that match the exponential integral's Taylor terms; equation 11 of the paper, B(h) = h."""
    if len(positions) < 2:
        return [0.5] * len(positions)  # the paper's own shortcut for one node, accurate to the order that is wanted
    phi, factorial, wanted = math.expm1(-h) / -h - 1, 1, []
    for k in range(1, len(positions) + 1):
        wanted.append(phi * factorial / -h)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    matrix = torch.tensor([[r**k for r in positions] for k in range(len(positions))], dtype=torch.float64)
    return torch.linalg.solve(matrix, torch.tensor(wanted, dtype=torch.float64)).tolist()


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
        down, up = ancestral(at, there, eta)
        down, up = max(end, down), max(0.0, there**2 - max(end, down) ** 2) ** 0.5
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
