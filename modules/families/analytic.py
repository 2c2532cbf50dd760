"""The analytic family: pictures whose exact denoiser is known, to run everything around a network without weights.

A prompt's picture is drawn by one of three Gaussians, whose means paint the tokens' colours as rows, columns or rings;
the seed decides which. Its checkpoint is a file of two numbers: see `write_checkpoint`.
"""

from __future__ import annotations

import colorsys
import time as clock
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.families.base import Defaults, Diffusion, Family, LatentFormat, Model, Numerics, Shapes, register

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SPREAD = "analytic.spread"  # standard deviation of each Gaussian, in latent units (colours are -1 to 1)
DELAY = "analytic.delay_s"  # how long one call of the network takes, to be watched or stopped
FIRST_MARKER = 49406  # CLIP's token ids from here on mark start and end: they have no colour
BLOCKS = 4  # a call sleeps in so many parts, before each of which it can be stopped
DOWNSCALE = 8


class Analytic(Family):
    """A family without training, for tests, benchmarks and trying an extension in milliseconds."""

    name = "analytic"
    title = "Analytic"
    latent = LatentFormat(
        channels=4, downscale=DOWNSCALE, multiple=DOWNSCALE,
        rgb=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    )  # fmt: skip
    diffusion = Diffusion(prediction="eps")
    defaults = Defaults(
        size=Size(width=64, height=64),
        steps={"draft": 4, "good": 8, "best": 20},
        cfg_scale=1.5,
        sampler="Euler",
    )

    def detect(self, shapes: Shapes) -> bool:
        """Whether the file holds a mixture's spread."""
        return SPREAD in shapes

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """Read both numbers; everything is computed in 32 bit whatever the profile says."""
        if set(shapes) != {SPREAD, DELAY} or any(shape != (1,) for shape in shapes.values()):
            raise ModelError(
                f"An analytic checkpoint holds {SPREAD} and {DELAY}, one number each.",
                "Write it anew.",
                code="model_layout",
            )
        return AnalyticModel(self, float(weights[SPREAD]), float(weights[DELAY]), device)


class AnalyticModel(Model):
    """The mixture on a device."""

    def __init__(self, family: Family, spread: float, delay_s: float, device: torch.device) -> None:
        from torch import nn

        self.family = family
        self.diffusion = family.diffusion
        self.device = device
        self.spread = spread
        self._blocks = [_pause(delay_s / BLOCKS) for _ in range(BLOCKS)]
        self._parts = {"network": nn.Sequential(*self._blocks), "text": nn.Identity(), "vae": nn.Identity()}

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """Token ids [n 77] -> [n 77 4]: red, green, blue (-1 to 1) and 1 for a token that has a colour, else 0."""
        import torch

        colours = [
            [(*colour(token), 1.0) if token < FIRST_MARKER else (0.0,) * 4 for token in row] for row in ids.tolist()
        ]
        return torch.tensor(colours, dtype=torch.float32, device=self.device)

    def network(self, x: Tensor, time: float, cond: Mapping[str, Tensor]) -> Tensor:
        """As `Model.network`: the exact posterior mean, said in the file's prediction type."""
        import torch

        self._parts["network"](x)
        sigma = _sigma(time, self.diffusion)
        stretch = 1 + sigma if self.diffusion.prediction == "flow" else (1 + sigma**2) ** 0.5
        noisy = x.float() * stretch
        context = cond["context"].to(noisy.device).expand(len(noisy), -1, -1)
        means = torch.stack([pictures(one, x.shape[-2], x.shape[-1]) for one in context])
        x0 = posterior_mean(noisy, sigma, means, self.spread)
        eps = (noisy - x0) / sigma
        said = {"eps": eps, "x0": x0, "flow": eps - x0, "v": (eps - sigma * x0) / (1 + sigma**2) ** 0.5}
        return said[self.diffusion.prediction]

    def decode(self, latents: Tensor) -> Tensor:
        """The first three planes are red, green and blue; each latent pixel becomes 8 x 8 of them."""
        pixels = self._parts["vae"](latents[:, :3].float())
        return pixels.repeat_interleave(DOWNSCALE, -1).repeat_interleave(DOWNSCALE, -2)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """The mean colour of each 8 x 8 pixels, and an empty fourth plane."""
        from torch.nn import functional

        small = functional.avg_pool2d(pixels.float(), DOWNSCALE)
        return functional.pad(small, (0, 0, 0, 0, 0, 1))

    def parts(self) -> dict[str, nn.Module]:
        """As `Model.parts`; none of them has weights."""
        return dict(self._parts)

    def blocks(self) -> Iterable[nn.Module]:
        """The four parts of a call's delay."""
        return self._blocks

    def preview(self, latents: Tensor) -> Tensor:
        """The colours as they are, one pixel a latent pixel."""
        return latents[:, :3].float()


def colour(token: int) -> tuple[float, float, float]:
    """A token's full colour, red, green and blue from -1 to 1: hues follow ids by the golden ratio, so none is near."""
    red, green, blue = colorsys.hsv_to_rgb(token * 0.6180339887 % 1.0, 0.9, 0.95)
    return 2 * red - 1, 2 * green - 1, 2 * blue - 1


def pictures(context: Tensor, height: int, width: int) -> Tensor:
    """The three means of one prompt: its tokens' colours [tokens 4] as rows, columns and rings -> [3 4 h w].

    A prompt of no tokens is grey.
    """
    import torch

    colours = context[context[:, 3] != 0] if bool((context[:, 3] != 0).any()) else context[:1]
    painted = torch.cat([colours[:, :3], torch.zeros_like(colours[:, :1])], dim=1)
    places = [place.to(context.device) for place in _places(height, width)]
    return torch.stack([painted[(place * len(painted)).long()].permute(2, 0, 1) for place in places])


@lru_cache(maxsize=16)
def _places(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each pixel lies from the first to the last colour, 0 to below 1: downwards, to the right, outwards."""
    import torch

    down = ((torch.arange(height) + 0.5) / height).unsqueeze(1).expand(height, width)
    right = ((torch.arange(width) + 0.5) / width).unsqueeze(0).expand(height, width)
    outwards = ((down - 0.5) ** 2 + (right - 0.5) ** 2).sqrt() / 0.7072
    return down, right, outwards


def posterior_mean(x: Tensor, sigma: float, means: Tensor, spread: float) -> Tensor:
    """E[x0 | x0 + sigma n = x] for x [b c h w] where x0 is, equally likely, one of ``means`` [b k c h w] +- spread.

    Gaussian conditioning: each component pulls towards its mean, weighted by how well it explains all of x.
    """
    import torch

    variance = spread**2 + sigma**2
    distances = (x.unsqueeze(1) - means).square().flatten(2).sum(-1)
    weights = torch.softmax(-distances / (2 * variance), dim=1)
    mean = (weights[:, :, None, None, None] * means).sum(1)
    return (mean * sigma**2 + x * spread**2) / variance


def write_checkpoint(path: Path, spread: float = 0.1, delay_s: float = 0.0) -> Path:
    """Write a checkpoint of this family (some 200 bytes of safetensors); ``delay_s`` is how long each call takes."""
    import torch
    from safetensors.torch import save_file

    save_file({SPREAD: torch.tensor([spread]), DELAY: torch.tensor([delay_s])}, path)
    return path


def _pause(seconds: float) -> nn.Module:
    from torch import nn

    class Pause(nn.Module):
        """A block that takes its time and changes nothing."""

        def forward(self, x: Tensor) -> Tensor:
            if seconds > 0:
                clock.sleep(seconds)
            return x

    return Pause()


def _sigma(time: float, diffusion: Diffusion) -> float:
    """The samplers' noise at the time that a network is told."""
    if diffusion.prediction == "flow":
        return time / (1000 - time)
    return float(_discrete(diffusion)(time))


@lru_cache(maxsize=8)
def _discrete(diffusion: Diffusion):
    import numpy as np

    roots = np.linspace(diffusion.beta_start**0.5, diffusion.beta_end**0.5, diffusion.timesteps)
    alphas = np.cumprod(1 - roots**2)
    logs = np.log((1 - alphas) / alphas) / 2
    return lambda time: np.exp(np.interp(time, np.arange(len(logs)), logs))


ANALYTIC = register(Analytic())
