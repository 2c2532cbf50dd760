"""Training the starter's UNet: noise is added to the latents of renders, and the network says which, given the caption.

The noise schedule, prediction type and conditioning are SD1's (Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022,
arXiv:2112.10752); the loss is weighted by min-SNR with gamma 5 (Hang et al. 2023, arXiv:2303.09556, equation 9).
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextModel

from modules.training.autoencoder import keep
from modules.training.clock import Clock, falling
from modules.training.ema import Ema
from modules.training.latents import Latents
from modules.training.networks import Networks
from modules.training.pool import SHAPES, SQUARE
from modules.training.questions import token_ids
from modules.training.reading import Shallow

TIMES = 1000
GAMMA = 5.0
LONG_SHARE = 0.05
SHAPED_FROM = 0.35  # other ratios than the square come in once the square is learnt by and large
SHAPED_SHARE = 0.22
REPORT_EVERY = 100


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


def prepare(unet: UNet2DConditionModel, is_thin: bool, is_lean: bool = True) -> None:
    """Choose how attention is computed in training (`is_lean`); `is_thin` passes most of the finest level by.

    Left out are its five transformers and all but its first residual block each way: they cost more than half of a
    step at 16x16, and a world of one or two things is decided at 8x8 and coarser. As `start_quiet` left them they add
    exactly nothing, so the file stays an SD1 file and computes the same with them; a longer run on a GPU trains them.
    """
    unet.set_attn_processor(LeanAttention() if is_lean else AttnProcessor2_0())  # type: ignore[arg-type]
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


@dataclass(frozen=True)
class Recipe:
    """The numbers of the UNet's training; `layers` is how many of the text encoder's are not the identity."""

    batch: int
    rate: float
    text_rate: float
    layers: int
    is_thin: bool
    is_compiled: bool
    ema: float = 0.999
    seed: int = 3
    encode_every: int = 3
    encode_batch: int = 64
    start_with: int = 8_000  # encoded pictures before the first step
    state_seconds: float = 300.0
    moments: tuple[float, ...] = (0.55, 0.8)


def read_captions(text: CLIPTextModel, ids: Tensor) -> Tensor:
    """Token numbers [b k 77] to conditioning [b 77k d]: chunks are read apart and laid end to end."""
    b, k, n = ids.shape
    return text(input_ids=ids.view(b * k, n)).last_hidden_state.reshape(b, k * n, -1)


def sample_times(count: int, rng: np.random.Generator) -> Tensor:
    """Half uniform, half leaning to the noisy times where place and colour are decided: integers in 0..999."""
    uniform, leaning = rng.random(count), rng.beta(2.2, 1.4, count)
    share = np.where(rng.random(count) < 0.5, uniform, leaning)
    return torch.from_numpy((share * TIMES).clip(0, TIMES - 1).astype(np.int64))


class Trainer:
    """The UNet and the text encoder while they are trained together, with their averages."""

    def __init__(self, networks: Networks, recipe: Recipe, device: str) -> None:
        self.networks, self.recipe, self.device = networks, recipe, device
        networks.text.to(device).eval()
        networks.unet.to(device, memory_format=torch.channels_last).train()
        prepare(networks.unet, recipe.is_thin, is_lean=device == "cpu")
        self.shallow = Shallow(networks.text, recipe.layers)
        self.both = nn.ModuleDict({"unet": networks.unet, "text": networks.text})
        self.parameters = [p for p in networks.unet.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": self.parameters, "base": recipe.rate, "weight_decay": 0.01}]
        if recipe.text_rate:
            words = list(networks.text.parameters())
            groups.append({"params": words, "base": recipe.text_rate, "weight_decay": 0.0})
            self.parameters = self.parameters + words
        self.groups = groups
        self.optimizer = torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.99), fused=device != "cpu")
        self.ema = Ema(self.both, recipe.ema)
        self.shares = signal_shares().float().to(device)
        self.weights = torch.clamp(GAMMA * (1 - self.shares) / self.shares, max=1.0)
        self.times = sample_times(1 << 18, np.random.default_rng(recipe.seed)).to(device)
        self.fast = torch.compile(networks.unet, dynamic=False) if recipe.is_compiled else networks.unet
        self.step, self.spent = 0, 0.0

    def load(self, path: Path) -> None:
        """Go on from a saved state, with this recipe's rates."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.both.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group, fresh in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["base"] = fresh["base"]
        self.ema.load(state["ema"])
        self.step, self.spent = state["step"], state["spent"]

    def save(self, path: Path, spent: float) -> None:
        """Keep a state to go on from."""
        state = {"model": self.both.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema.weights}
        keep(path, {**state, "step": self.step, "spent": spent})

    def loss(self, clean: Tensor, ids: Tensor, noise_source: torch.Generator, is_fast: bool) -> Tensor:
        """The weighted error of the noise said for latents [b 4 h w] under captions [b k 77]."""
        n = len(clean)
        chosen = torch.randint(len(self.times), (n,), generator=noise_source, device=self.device)
        times = self.times[chosen]
        noise = torch.randn(clean.shape, generator=noise_source, device=self.device)
        share = self.shares[times].view(-1, 1, 1, 1)
        noisy = (share.sqrt() * clean + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            with torch.set_grad_enabled(bool(self.recipe.text_rate)):
                context = read_captions(self.networks.text, ids)
            unet = self.fast if is_fast else self.networks.unet
            said = unet(noisy, times, context, return_dict=False)[0]
        error = (said.float() - noise).pow(2).mean((1, 2, 3))
        return (error * self.weights[times]).mean()

    def learn(self, loss: Tensor, pace: float) -> None:
        """One step of the optimizer at `pace` times the full rates."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * pace
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.ema.update(self.step)
        self.step += 1

    def warm_up(self, latent_side: int, report: Callable[[str], None]) -> None:
        """Compile the step for square pictures while nothing waits for it; keep that only where it is faster."""
        began, noise = time.time(), torch.Generator(self.device).manual_seed(0)

        def pace_ms(is_fast: bool) -> float:
            for k in range(7):
                if k == 2:  # the first ones choose their algorithms
                    start = self._now()
                self.loss(clean, ids, noise, is_fast).backward()
            return (self._now() - start) * 200

        clean = torch.zeros(self.recipe.batch, 4, latent_side, latent_side, device=self.device)
        ids = torch.full((self.recipe.batch, 1, 77), 49407, device=self.device)
        try:
            self.loss(clean, ids, noise, is_fast=True).backward()
            report(f"compiled after {time.time() - began:.0f} s")
            plain, fast = pace_ms(False), pace_ms(True)
            report(f"forward and backward: {plain:.1f} ms plain, {fast:.1f} ms compiled")
            if plain < fast:
                self.fast = self.networks.unet
        except Exception as error:  # whatever a compiler may raise: the run goes on without it
            report(f"not compiled: {type(error).__name__}: {str(error)[:300]}")
            self.fast = self.networks.unet
        self.optimizer.zero_grad(set_to_none=True)

    def _now(self) -> float:
        """Seconds, when the device has done what it was told."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def close(self) -> None:
        """Leave the averaged networks, whole."""
        self.ema.copy_to(self.both)
        self.shallow.restore()
        finish(self.networks.unet)
        self.networks.unet.eval()


def train_unet(
    trainer: Trainer,
    latents: Latents,
    folder: Path,
    clock: Callable[[float], Clock],
    *,
    report: Callable[[str], None] = print,
    on_moment: Callable[[float], None] | None = None,
) -> None:
    """Train until the clock (made from the seconds spent) is over; the averaged weights are in the networks at the end.

    A resumable state is kept in `folder`/unet.pt; at the recipe's moments `on_moment` sees the averaged networks.
    """
    recipe, path = trainer.recipe, folder / "unet.pt"
    if path.exists():
        trainer.load(path)
    random = np.random.default_rng((recipe.seed, trainer.step))
    noise = torch.Generator(trainer.device).manual_seed(recipe.seed + trainer.step)
    time_left = clock(trainer.spent)
    moments = [share for share in recipe.moments if share > time_left.done]
    start, began, saved, total = trainer.step, time.time(), time.time(), torch.zeros((), device=trainer.device)
    while trainer.step == start or time_left.done < 1:
        done = time_left.done
        if trainer.step % recipe.encode_every == 0:
            latents.grow(recipe.encode_batch, random)
        shape, is_long = SQUARE, bool(random.random() < LONG_SHARE)
        if done > SHAPED_FROM and random.random() < SHAPED_SHARE:
            shape = latents.any_shape(random)
        clean, ids = latents.batch(shape, recipe.batch, is_long, noise)
        loss = trainer.loss(clean, ids, noise, is_fast=shape == SQUARE and not is_long)
        trainer.learn(loss, min(1.0, (trainer.step + 1) / 200) * falling(done))
        total += loss.detach()
        if trainer.step % REPORT_EVERY == 0:
            pace_ms, began = 1000 * (time.time() - began) / REPORT_EVERY, time.time()
            squares, pictures = latents.count[SQUARE], sum(latents.count.values())
            report(f"unet {trainer.step} ({done:.0%}) loss {total.item() / REPORT_EVERY:.4f} {pace_ms:.1f} ms a step, "
                   f"{squares}+{pictures - squares} pictures")  # fmt: skip
            total.zero_()
        if recipe.state_seconds and time.time() - saved > recipe.state_seconds:
            saved = time.time()
            trainer.save(path, time_left.spent)
        if moments and done >= moments[0] and on_moment:
            moment = moments.pop(0)
            with trainer.ema.shown():
                trainer.shallow.restore()
                on_moment(moment)
                trainer.shallow = Shallow(trainer.networks.text, recipe.layers)
                trainer.networks.unet.train()
    report(f"unet: {trainer.step} steps of {recipe.batch}, {trainer.step * recipe.batch} pictures seen, of "
           f"{ {f'{w}:{h}': latents.count[k] for k, (w, h) in enumerate(SHAPES)} }")  # fmt: skip
    if recipe.state_seconds:
        trainer.save(path, time_left.spent)
    trainer.close()


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    prompts: list[str],
    *,
    seed: int,
    size: int | tuple[int, int] = 256,
    steps: int = 20,
    guidance_scale: float = 6.0,
    device: str = "cpu",
) -> Tensor:
    """Latents for prompts by deterministic DDIM (Song et al. 2020, arXiv:2010.02502, equation 12): [n 4 h/8 w/8].

    This is for looking on while training; people's pictures are made by the engine.
    """
    width, height = size if isinstance(size, tuple) else (size, size)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(prompts), 4, height // 8, width // 8, generator=generator).to(device)
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
