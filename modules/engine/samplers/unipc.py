"""UniPC: a predictor and a corrector that share one call a step."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from modules.engine.denoise import Denoiser, NoiseSource, Step
from modules.engine.samplers.table import Sigmas, sampler


@sampler("UniPC")
def unipc(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sigmas,
    noise: NoiseSource,
    *,
    order: int = 3,
    variant: str = "bh1",
    lower_order_final: bool = True,
) -> Iterator[Step]:
    """Zhao et al. 2023 (arXiv:2302.04867), algorithms 5-8 on x0: with B(h) = h ("bh1") or exp(h) - 1 ("bh2").

    The order falls in the last steps unless told not to. The corrector uses the output at the predicted x, which is
    also the next step's: one call a step.
    """
    past: list[tuple[float, Tensor]] = []  # (sigma, x0), newest first
    n = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if i == 0:
            past = [(sigma, denoiser(x, sigma).x0)]
        denoised = past[0][1]
        use = min(int(order), i + 1, n - i if lower_order_final else n)
        if sigma_next == 0:
            x = denoised
        else:
            there = _unipc_step(x, past[:use], sigma_next, variant)
            if i < n - 1:
                past = [(sigma_next, denoiser(there, sigma_next).x0), *past]
                x = _unipc_step(x, past[1 : use + 1], sigma_next, variant, corrected_by=past[0][1])
                past = past[: int(order)]
            else:
                x = there
        yield (step := Step(i, sigma, x, denoised, sigma_next))
        x = step.x


def _unipc_step(
    x: Tensor,
    past: Sequence[tuple[float, Tensor]],
    sigma_next: float,
    variant: str,
    corrected_by: Tensor | None = None,
) -> Tensor:
    """Predictor (or corrector, knowing x0 at sigma_next) from ``past`` [(sigma, x0)], newest first."""
    sigma, x0 = past[0]
    h = math.log(sigma / sigma_next)
    nodes = [(math.log(sigma / s) / h, known - x0) for s, known in past[1:]]  # (position in steps, difference)
    if corrected_by is not None:
        nodes.append((1.0, corrected_by - x0))
    x = x0 + (x - x0) * (sigma_next / sigma)
    b = h if variant == "bh1" else -math.expm1(-h)
    for (r, difference), rho in zip(nodes, _unipc_weights([r for r, _ in nodes], h, b), strict=True):
        x = x + difference * (b * rho / r)
    return x


def _unipc_weights(positions: Sequence[float], h: float, b: float) -> list[float]:
    """The rho that match the exponential integral's Taylor terms; equation 11 of the paper, ``b`` being its B(h)."""
    if len(positions) < 2:
        return [0.5] * len(positions)  # the paper's own shortcut for one node, accurate to the order that is wanted
    phi, factorial, wanted = math.expm1(-h) / -h - 1, 1, []
    for k in range(1, len(positions) + 1):
        wanted.append(phi * factorial / -b)
        factorial *= k + 1
        phi = phi / -h - 1 / factorial
    matrix = torch.tensor([[r**k for r in positions] for k in range(len(positions))], dtype=torch.float64)
    return torch.linalg.solve(matrix, torch.tensor(wanted, dtype=torch.float64)).tolist()
