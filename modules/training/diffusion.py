"""Training the starter's UNet: noise is added to the latents of renders, and the network says which, given the caption.

The noise schedule, prediction type and conditioning are SD1's (Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022,
arXiv:2112.10752); the loss is weighted by min-SNR with gamma 5 (Hang et al. 2023, arXiv:2303.09556, equation 9).
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextModel

from modules.training.autoencoder import Trimmed
from modules.training.cache import Renders
from modules.training.captions import Mood, caption, sample_mood
from modules.training.ema import Ema
from modules.training.networks import EOS, LATENT_SCALE
from modules.training.reading import Shallow, token_ids
from modules.training.together import Together

TIMES = 1000
GAMMA = 5.0
EMPTY_SHARE = 0.1
LONG_SHARE = 0.05
TOGETHER_EVERY = 5


def signal_shares() -> Tensor:
    """SD1's alphas_cumprod: how much of the picture's power is left at each of 1000 times, in float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMES, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


class LeanAttention:
    """Attention as two matrix products in the running dtype: on a CPU its backward is the fastest of those tried.

    With 16x16 latents, a batch of 32 and bfloat16 a step took 32 ms a picture; diffusers' plain processor 43, SDPA 47.
    """

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        """hidden_states [b n c] attend to themselves or to encoder_hidden_states [b m d]."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        b, n, _c = hidden_states.shape
        q = attn.to_q(hidden_states).view(b, n, attn.heads, -1).transpose(1, 2) * attn.scale
        k = attn.to_k(context).view(b, context.shape[1], attn.heads, -1).permute(0, 2, 3, 1)
        v = attn.to_v(context).view(b, context.shape[1], attn.heads, -1).transpose(1, 2)
        with torch.autocast(hidden_states.device.type, enabled=False):
            mixed = (torch.softmax(q @ k, -1) @ v).transpose(1, 2).reshape(b, n, -1)
        return attn.to_out[0](mixed)


@torch.no_grad()
def start_quiet(unet: UNet2DConditionModel) -> None:
    """Zero what each residual block, each transformer and the whole net add at first, as the ancestors of SD1 did."""
    for module in unet.modules():
        kind = type(module).__name__
        if kind == "ResnetBlock2D":
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
        elif kind == "Transformer2DModel":
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)


def prepare(unet: UNet2DConditionModel, is_thin: bool) -> None:
    """Choose how attention is computed in training; `is_thin` passes most of the finest level by.

    Left out are its five transformers and all but its first residual block each way: they cost more than half of a
    step at 16x16, and a world of one or two things is decided at 8x8 and coarser. As `start_quiet` left them they add
    exactly nothing, so the file stays an SD1 file and computes the same with them; a longer run on a GPU trains them.
    """
    unet.set_attn_processor(LeanAttention())  # type: ignore[arg-type]
    if not is_thin:
        return
    for transformer in _finest_transformers(unet):
        transformer.requires_grad_(False)
        transformer.forward = _pass_by
    for resnet in _later_finest_resnets(unet):
        resnet.requires_grad_(False)
        resnet.forward = _pass_by_residual
        if resnet.conv_shortcut is not None:
            resnet.conv_shortcut.requires_grad_(True)
            resnet.forward = partial(_shortcut_only, resnet.conv_shortcut)


def finish(unet: UNet2DConditionModel) -> None:
    """Undo `prepare`: everything is computed again."""
    unet.requires_grad_(True)
    for module in (*_finest_transformers(unet), *_later_finest_resnets(unet)):
        vars(module).pop("forward", None)
    unet.set_attn_processor(AttnProcessor2_0())


def _finest_transformers(unet: UNet2DConditionModel) -> list[Any]:
    return [*unet.down_blocks[0].attentions, *unet.up_blocks[3].attentions]


def _later_finest_resnets(unet: UNet2DConditionModel) -> list[Any]:
    return [*unet.down_blocks[0].resnets[1:], *unet.up_blocks[3].resnets[1:]]


def _pass_by(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden_states,)


def _pass_by_residual(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _shortcut_only(shortcut: nn.Module, x: Tensor, *_: Any, **__: Any) -> Tensor:
    return shortcut(x)


@torch.no_grad()
def encode_renders(vae: AutoencoderKL, renders: Renders, path: Path, count: int, device: str = "cpu") -> Tensor:
    """The scaled latents of the first `count` renders, [n 4 h/8 w/8]; those in `path` already are not made again."""
    parts = [torch.load(path, weights_only=True)[:count]] if path.exists() else []
    trimmed = Trimmed(vae)
    for start in range(len(parts[0]) if parts else 0, count, 25):
        pixels = torch.from_numpy(renders.pixels[start : min(start + 25, count)].astype(np.float32) / 127.5 - 1)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            mean = vae.encode(pixels.permute(0, 3, 1, 2).to(device)).latent_dist.mean
        parts.append((mean.float() * LATENT_SCALE).cpu())
    trimmed.restore()
    latents = torch.cat(parts)
    torch.save(latents, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return latents


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training run. `minutes` is wall clock over all parts of it: the learning rate falls by it."""

    minutes: float
    batch: int = 32
    rate: float = 5e-4
    text_rate: float = 0.0
    ema: float = 0.998
    seed: int = 3
    layers: int = 4
    is_thin: bool = True


def pictures_with_captions(
    latents: Tensor, renders: Renders, batch: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: latents [b 4 h w] and token numbers [b 1 77], or [b 2 77] in one batch of twenty."""
    while True:
        chunks = 2 if rng.random() < LONG_SHARE else 1
        chosen, ids = [], []
        while len(chosen) < batch:
            index = int(rng.integers(len(latents)))
            text = ""
            if rng.random() >= EMPTY_SHARE:
                mood = sample_mood(rng)
                mood = Mood(mood.language, mood.form, mood.junk or chunks == 2, chunks == 2)
                text = caption(renders.scene(index), rng, mood)
            cut = token_ids(text)
            if len(cut) > chunks:
                continue
            cut += [[cut[0][0]] + [EOS] * 76] * (chunks - len(cut))  # the empty caption beside long ones
            chosen.append(index)
            ids.append(cut)
        yield latents[chosen], torch.tensor(ids)


def read_captions(text: CLIPTextModel, ids: Tensor) -> Tensor:
    """Token numbers [b k 77] to conditioning [b 77k d]: chunks are read apart and laid end to end."""
    b, k, n = ids.shape
    return text(input_ids=ids.view(b * k, n)).last_hidden_state.reshape(b, k * n, -1)


def sample_times(count: int, rng: np.random.Generator) -> Tensor:
    """Half uniform, half leaning to the noisy times where place and colour are decided: integers in 0..999."""
    uniform, leaning = rng.random(count), rng.beta(2.2, 1.4, count)
    share = np.where(rng.random(count) < 0.5, uniform, leaning)
    return torch.from_numpy((share * TIMES).clip(0, TIMES - 1).astype(np.int64))


def train_unet(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    latents: Tensor,
    renders: Renders,
    folder: Path,
    recipe: Recipe,
    *,
    device: str = "cpu",
    report: Callable[[str], None] = print,
    on_average: Callable[[UNet2DConditionModel], None] | None = None,
    average_every: int = 500,
    rank: int = 0,
    together: Together | None = None,
) -> None:
    """Train; a resumable state is kept in `folder`/unet.pt, `on_average` is shown the averaged network now and then.

    `together` joins this process, worker `rank`, to others; only worker 0 keeps the state and reports. At the end
    `unet` holds the averaged weights.
    """
    prepare(unet, recipe.is_thin)
    shallow = Shallow(text, recipe.layers)
    unet.to(device).train()
    text.to(device)
    parameters = [p for p in unet.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters, "base": recipe.rate}]
    if recipe.text_rate:
        groups.append({"params": list(text.encoder.layers.parameters()), "base": recipe.text_rate})
    optimizer = torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.99), weight_decay=0.01)
    ema, start, spent = Ema(unet, recipe.ema), 0, 0.0
    path = folder / "unet.pt"
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        unet.load_state_dict(state["model"])
        text.load_state_dict(state["text"])
        optimizer.load_state_dict(state["optimizer"])
        for group, fresh in zip(optimizer.param_groups, groups, strict=True):
            group["base"] = fresh["base"]  # a changed rate counts from here on
        ema.load(state["ema"])
        start, spent = state["step"], state["spent"]
    rng = np.random.default_rng((recipe.seed, start, rank))
    batches = pictures_with_captions(latents, renders, recipe.batch, rng)
    noise_source = torch.Generator().manual_seed(recipe.seed + start + 7919 * rank)
    workers = together.count if together else 1
    shares = signal_shares().float()
    weights = torch.clamp(GAMMA * (1 - shares) / shares, max=1.0)
    began, step, total, seen, is_over = time.monotonic() - spent, start, 0.0, 0, False
    while not is_over:
        done = min(1.0, (time.monotonic() - began) / 60 / recipe.minutes)
        pace = min(1.0, (step + 1) / 150) * (
            1.0 if done < 0.4 else 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - 0.4) / 0.6))
        )
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * pace
        clean, ids = next(batches)
        times = sample_times(len(clean), rng)
        noise = torch.randn(clean.shape, generator=noise_source)
        keep = shares[times].view(-1, 1, 1, 1)
        noisy = (keep.sqrt() * clean + (1 - keep).sqrt() * noise).to(device)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            with torch.set_grad_enabled(bool(recipe.text_rate)):
                context = read_captions(text, ids.to(device))
            said = unet(noisy, times.to(device), context).sample
        error = (said.float() - noise.to(device)).pow(2).mean((1, 2, 3))
        loss = (error * weights[times].to(device)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        is_over = done >= 1
        if together:
            is_over = step % TOGETHER_EVERY == 0 and together.average(rank, parameters, is_over)
        ema.update(unet, step)
        step, total, seen = step + 1, total + loss.item(), seen + 1
        if rank == 0 and seen == 25:
            pace_s = (time.monotonic() - began - spent) / (step - start)
            pictures = step * recipe.batch * workers
            report(f"unet {step} ({pictures} pictures, {done:.0%}) loss {total / seen:.4f} {pace_s:.2f} s/step")
            total, seen = 0.0, 0
        if rank == 0 and step % 100 == 0:
            _save(path, unet, text, optimizer, ema, step, time.monotonic() - began)
        if on_average and step % average_every == 0:
            trained = {k: v.detach().clone() for k, v in unet.state_dict().items()}
            ema.copy_to(unet)
            unet.eval()
            shallow.restore()
            on_average(unet)
            shallow = Shallow(text, recipe.layers)
            unet.load_state_dict(trained)
            unet.train()
    if rank == 0:
        _save(path, unet, text, optimizer, ema, step, time.monotonic() - began)
    ema.copy_to(unet)
    shallow.restore()
    finish(unet)
    unet.eval()


def _save(
    path: Path,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    optimizer: torch.optim.Optimizer,
    ema: Ema,
    step: int,
    spent: float,
) -> None:
    state = {
        "model": unet.state_dict(),
        "text": text.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.weights,
        "step": step,
        "spent": spent,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    prompts: list[str],
    *,
    seed: int,
    size: int = 128,
    steps: int = 20,
    guidance_scale: float = 6.0,
    device: str = "cpu",
) -> Tensor:
    """Latents for prompts by deterministic DDIM (Song et al. 2020, arXiv:2010.02502, equation 12): [n 4 h/8 w/8].

    This is for looking on while training; people's pictures are made by the engine.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(prompts), 4, size // 8, size // 8, generator=generator).to(device)
    ids = torch.tensor([token_ids(prompt)[0] for prompt in (*prompts, "")]).to(device)
    context = text(input_ids=ids).last_hidden_state.float()
    context = torch.cat([context[:-1], context[-1:].expand(len(prompts), -1, -1)])
    shares = signal_shares().float()
    times = torch.linspace(TIMES - 1, 0, steps + 1).round().long()
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            both = unet(torch.cat([x, x]), now, context).sample.float()
        told, untold = both.chunk(2)
        eps = untold + guidance_scale * (told - untold)
        keep, keep_next = shares[now], shares[then] if then else torch.tensor(1.0)
        clean = (x - (1 - keep).sqrt() * eps) / keep.sqrt()
        x = keep_next.sqrt() * clean + (1 - keep_next).sqrt() * eps
    return x
