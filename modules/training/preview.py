"""Training the small decoder that draws previews of the starter model's latents."""

# diffusers types its parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from modules.engine.preview_decoder import PreviewDecoder
from modules.training.clock import Clock, falling
from modules.training.gallery import Gallery
from modules.training.networks import LATENT_SCALE


def save_preview_decoder(path: Path, decoder: PreviewDecoder, metadata: Mapping[str, str]) -> int:
    """Write it in fp16, whole or not at all; returns the size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().cpu().half().contiguous() for key, value in decoder.state_dict().items()}
    save_file(weights, path.with_suffix(".part"), metadata={"format": "pt", **metadata})
    path.with_suffix(".part").replace(path)
    return path.stat().st_size


def train_preview(
    gallery: Gallery,
    vae: AutoencoderKL,
    clock: Clock,
    *,
    batch: int = 16,
    rate: float = 2e-3,
    seed: int = 4,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> PreviewDecoder:
    """Train a fresh preview decoder on scaled latents of the gallery's pictures until the clock is over."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = PreviewDecoder().to(device).train()
    optimizer = torch.optim.AdamW(decoder.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.0)
    count = min(gallery.count, 2_000)
    latents = encoded(gallery, vae, count, device)
    noise, total, step = torch.Generator(device).manual_seed(seed), torch.zeros((), device=device), 0
    while step == 0 or clock.done < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * falling(clock.done)
        chosen = torch.randint(count, (batch,), generator=noise, device=device)
        x = latents[chosen]
        worn = torch.rand((batch, 1, 1, 1), generator=noise, device=device)
        x = x + 0.1 * worn * torch.randn(x.shape, generator=noise, device=device)
        loss = F.l1_loss(decoder(x), F.avg_pool2d(gallery.whole(chosen), 2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step, total = step + 1, total + loss.detach()
        if step % 200 == 0:
            report(f"preview {step} ({clock.done:.0%}) error {total.item() / 200:.4f}")
            total.zero_()
    report(f"preview: {step} steps, error {loss.item():.4f}")
    return decoder.eval().requires_grad_(False)


@torch.no_grad()
def encoded(gallery: Gallery, vae: AutoencoderKL, count: int, device: str) -> Tensor:
    """Scaled latents of the first pictures, [n 4 h/8 w/8]."""
    parts = []
    for some in torch.arange(count, device=device).split(32):
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            parts.append(vae.encode(gallery.whole(some)).latent_dist.mean.float() * LATENT_SCALE)
    return torch.cat(parts)
