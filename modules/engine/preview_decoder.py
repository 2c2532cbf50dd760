"""A very small decoder from latents to a half-size picture, for previews in a few milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

WIDTH = 32


class PreviewDecoder(nn.Module):
    """Scaled latents [b 4 h w] (about unit spread) to pictures [b 3 4h 4w] in -1..1: half of the full picture's side.

    Without any normalisation, so that a patch's colour does not depend on the rest of the picture.
    """

    def __init__(self, channels: int = 4, width: int = WIDTH) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.deep = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.wide = nn.Conv2d(width, width, 3, padding=1)
        self.fine = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)
        self.direct = nn.Conv2d(channels, 3, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Colours straight from the latents, and edges from a few convolutions."""
        x = F.relu(self.enter(3 * torch.tanh(latents / 3)))  # latents of early steps are anything
        for convolution in self.deep:
            x = x + F.relu(convolution(x))
        x = F.relu(self.wide(F.interpolate(x, scale_factor=2.0)))
        x = F.relu(self.fine(F.interpolate(x, scale_factor=2.0)))
        colours = F.interpolate(self.direct(latents), scale_factor=4.0, mode="bilinear")
        return colours + self.leave(x)


def load_preview_decoder(path: Path, device: str = "cpu") -> PreviewDecoder:
    """The decoder in a safetensors file; its channels and width are read from the shapes."""
    with safe_open(path, "pt") as file:
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    width, channels = weights["enter.weight"].shape[:2]
    decoder = PreviewDecoder(channels, width)
    decoder.load_state_dict(weights, strict=True)
    return decoder.to(device).eval().requires_grad_(False)
