"""A very small random checkpoint in Stable Diffusion 1's layout, for tests that need a file and not a picture."""

from __future__ import annotations

from pathlib import Path

from modules.training.layout import save_checkpoint
from modules.training.networks import TINY, Widths, networks_of


def tiny_checkpoint(path: Path, seed: int, widths: Widths = TINY) -> Path:
    """Write an fp16 safetensors file with small widths at `path` and return the path.

    The same seed gives the same bytes. Widths: UNet 32-32-64-64, autoencoder 32 throughout, text 64 in two layers;
    about 10 MB, most of it CLIP's vocabulary.
    """
    save_checkpoint(Path(path), networks_of(widths, seed), {"modelspec.title": f"tiny {seed}"})
    return Path(path)
