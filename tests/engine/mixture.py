"""Three Gaussians whose exact denoiser and exact probability flow are known: what samplers are measured on."""

import math

import torch
from torch import Tensor

from modules.engine.denoise import Denoised

MEANS = torch.tensor([-1.5, 0.25, 1.0], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
MEAN = float((WEIGHTS * MEANS).sum())
STD = float(((WEIGHTS * (STDS**2 + MEANS**2)).sum() - MEAN**2).sqrt())


def exact_x0(x: Tensor, sigma: float) -> Tensor:
    """E[x0 | x0 + sigma n = x] for every value of x by itself."""
    wide = STDS**2 + sigma**2
    flat = x.double().unsqueeze(-1)
    posterior = torch.softmax(WEIGHTS.log() - wide.log() / 2 - (flat - MEANS) ** 2 / (2 * wide), -1)
    return (posterior * (MEANS * sigma**2 + flat * STDS**2) / wide).sum(-1).to(x.dtype)


def denoiser(x: Tensor, sigma: float) -> Denoised:
    """The exact denoiser, saying the same with and without the prompt."""
    x0 = exact_x0(x, sigma)
    return Denoised(x0, x0, x0)


def cdf(x: Tensor, sigma: float) -> Tensor:
    """The share of noisy values below x: constant along every path of the probability flow."""
    wide = (STDS**2 + sigma**2).sqrt()
    return (WEIGHTS * (1 + torch.erf((x.unsqueeze(-1) - MEANS) / (wide * math.sqrt(2)))) / 2).sum(-1)


def flow(x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Where the exact probability flow carries x from one sigma to another, by bisection on the cdf."""
    share = cdf(x.double(), sigma)
    low, high = torch.full_like(share, -200.0), torch.full_like(share, 200.0)
    for _ in range(100):
        middle = (low + high) / 2
        below = cdf(middle, sigma_next) < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
