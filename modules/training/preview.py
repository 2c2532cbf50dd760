"""Training the small decoder that draws previews of the starter model's latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from modules.engine.preview_decoder import PreviewDecoder
from modules.training.cache import Renders


def save_preview_decoder(path: Path, decoder: PreviewDecoder, metadata: Mapping[str, str]) -> int:
    """Write it in fp16, whole or not at all; returns the size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().half().contiguous() for key, value in decoder.state_dict().items()}
    save_file(weights, path.with_suffix(".part"), metadata={"format": "pt", **metadata})
    path.with_suffix(".part").replace(path)
    return path.stat().st_size


def train_preview(
    latents: Tensor,
    renders: Renders,
    *,
    steps: int,
    batch: int = 16,
    rate: float = 2e-3,
    seed: int = 4,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> PreviewDecoder:
    """Train a fresh preview decoder on scaled latents [n 4 h w] and the renders they came from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = PreviewDecoder().to(device).train()
    optimizer = torch.optim.AdamW(decoder.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    rng, began, total = np.random.default_rng(seed), time.monotonic(), 0.0
    for step in range(steps):
        chosen = np.sort(rng.integers(0, len(latents), batch))
        pixels = torch.from_numpy(renders.pixels[chosen].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        x = latents[chosen].to(device)
        x = x + 0.1 * torch.rand(batch, 1, 1, 1, device=device) * torch.randn_like(x)
        loss = F.l1_loss(decoder(x), F.avg_pool2d(pixels.to(device), 2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % 200 == 0:
            line = f"preview {step + 1}/{steps} error {total / 200:.4f}"
            report(f"{line} {(time.monotonic() - began) / (step + 1):.3f} s/step")
            total = 0.0
    return decoder.eval().requires_grad_(False)
