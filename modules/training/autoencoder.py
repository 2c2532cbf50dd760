"""Training the starter's autoencoder, from a start that already carries every block's mean colour.

GroupNorm takes the mean of each group away. With 32 groups over few channels that is the colour itself: nets of 32
or 64 channels at the outermost level never learn it. So the outermost level has 96 channels, three to a group, and
the first weights are set so that the whole net is a linear map: 8x8 block means down, bilinear interpolation up.
A signal c passes a norm unharmed beside two large constants: (c, K, -K) leaves with c' - (K' + K'') / 2 = c / s, where
s is nearly constant; and silu(x) - silu(-x) = x takes it through the activation. Training then only learns detail.
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from modules.training.clock import Clock, falling
from modules.training.ema import Ema
from modules.training.gallery import Gallery

ANCHOR = 4.0
SMOOTH = torch.tensor([0.25, 0.5, 0.25])
WHOLE_FROM = 0.8
REPORT_EVERY = 50


@torch.no_grad()
def start_linear(vae: AutoencoderKL) -> None:
    """Set the weights so that decode(encode(x)) is x's 8x8 block means, interpolated."""
    for module in vae.modules():
        if type(module).__name__ == "ResnetBlock2D":
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                _identity(module.conv_shortcut)
        elif type(module).__name__ == "Attention":
            nn.init.zeros_(module.to_out[0].weight)
            nn.init.zeros_(module.to_out[0].bias)
    _start_encoder(vae)
    _start_decoder(vae)


@torch.no_grad()
def _identity(conv: nn.Module) -> None:
    weight, bias = conv.weight, conv.bias
    nn.init.zeros_(weight)
    nn.init.zeros_(bias)
    n = min(weight.shape[:2])
    weight[range(n), range(n), weight.shape[2] // 2, weight.shape[3] // 2] = 1


def _haar(conv: nn.Conv2d, channels: int) -> None:
    """A strided convolution as a Haar transform: the 2x2 mean of each channel, then its three differences."""
    patterns = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]).float().view(4, 2, 2)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    for k, pattern in enumerate(patterns):
        scale = 0.25 if k == 0 else 0.5
        for c in range(channels):
            if k * channels + c < conv.weight.shape[0]:
                conv.weight[k * channels + c, c, :2, :2] = pattern * scale


def _start_encoder(vae: AutoencoderKL) -> None:
    encoder = vae.encoder
    _identity(encoder.conv_in)
    _haar(encoder.down_blocks[0].downsamplers[0].conv, 3)
    _haar(encoder.down_blocks[1].downsamplers[0].conv, 12)
    last = encoder.down_blocks[2].downsamplers[0].conv
    last.weight[:12], last.bias[:12] = 0, 0
    for c in range(3):  # each colour as (c, -c, K, -K): four channels, one group of 128 / 32
        last.weight[4 * c, c, :2, :2] = 0.25
        last.weight[4 * c + 1, c, :2, :2] = -0.25
        last.bias[4 * c + 2], last.bias[4 * c + 3] = ANCHOR, -ANCHOR
    gain = math.sqrt((ANCHOR**2 + 0.3) / 2)
    encoder.conv_out.weight[:3] *= 0.1
    encoder.conv_out.weight[4:] = 0
    encoder.conv_out.bias.zero_()
    encoder.conv_out.weight[:4, :12] = 0
    for c in range(3):
        encoder.conv_out.weight[c, 4 * c, 1, 1] = gain
        encoder.conv_out.weight[c, 4 * c + 1, 1, 1] = -gain
    _identity(vae.quant_conv)
    vae.quant_conv.bias[4:] = -9.0  # the posterior is a point, nearly; the noise of training is added by the loop


def _start_decoder(vae: AutoencoderKL) -> None:
    decoder = vae.decoder
    _identity(vae.post_quant_conv)
    decoder.conv_in.weight[:3], decoder.conv_in.bias[:3] = 0, 0
    decoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    kernel = SMOOTH[:, None] * SMOOTH[None, :]
    for block in decoder.up_blocks[:2]:
        conv = block.upsamplers[0].conv
        conv.weight[:3], conv.bias[:3] = 0, 0
        for c in range(3):
            conv.weight[c, c] = kernel
    last = decoder.up_blocks[2].upsamplers[0].conv
    last.weight[:18], last.bias[:18] = 0, 0
    for c in range(3):  # (c, K, -K) and (-c, K, -K): three channels, one group of 96 / 32 each
        for k, sign in enumerate((1, -1)):
            at = 6 * c + 3 * k
            last.weight[at, c] = sign * kernel
            last.bias[at + 1], last.bias[at + 2] = ANCHOR, -ANCHOR
    gain = math.sqrt(2 * ANCHOR**2 / 3 + 0.2)
    decoder.conv_out.weight *= 0.1
    decoder.conv_out.weight[:, :18] = 0
    decoder.conv_out.bias.zero_()
    for c in range(3):
        for k, sign in enumerate((1, -1)):
            at = 6 * c + 3 * k
            decoder.conv_out.weight[c, at, 1, 1] = sign * gain
            decoder.conv_out.weight[c, at + 1, 1, 1] = -sign * gain / 2
            decoder.conv_out.weight[c, at + 2, 1, 1] = -sign * gain / 2


class Trimmed:
    """The autoencoder without the blocks that stay the identity on a CPU, for as long as it is trained.

    The finest levels cost most of the time: the encoder's residual blocks at full and half size and the decoder's last
    two at full size are left at zero, where they change nothing. `restore` puts them back for saving.
    """

    def __init__(self, vae: AutoencoderKL, decoder_blocks: int = 1) -> None:
        self.vae = vae
        self.kept = [block.resnets for block in (*vae.encoder.down_blocks[:2], vae.decoder.up_blocks[3])]
        vae.encoder.down_blocks[0].resnets = nn.ModuleList()
        vae.encoder.down_blocks[1].resnets = nn.ModuleList()
        vae.decoder.up_blocks[3].resnets = nn.ModuleList(list(self.kept[2])[:decoder_blocks])

    def restore(self) -> None:
        """Put all blocks back."""
        blocks = (*self.vae.encoder.down_blocks[:2], self.vae.decoder.up_blocks[3])
        for block, resnets in zip(blocks, self.kept, strict=True):
            block.resnets = resnets


def reconstruction_loss(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1, squares so that eyes and dots are not given up for lost, and L1 of differences for crisp edges."""
    error = made - wanted
    loss = ((error.abs() + 2 * error.square()) * weight).mean()
    for axis in (-1, -2):
        loss = loss + 0.5 * (error.diff(dim=axis).abs() * weight.narrow(axis, 1, weight.shape[axis] - 1)).mean()
    return loss


class Roundtrip(nn.Module):
    """Picture to latents and back, with a little noise between, so that the decoder forgives the UNet its errors."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[b 3 h w] to the picture again and the latents' means."""
        mean = self.vae.encode(pictures).latent_dist.mean
        return self.vae.decode(mean + 0.03 * torch.randn_like(mean)).sample, mean


def train_autoencoder(
    vae: AutoencoderKL,
    gallery: Gallery,
    folder: Path,
    clock: Callable[[float], Clock],
    *,
    batch: int,
    crop: int,
    rate: float,
    device: str,
    is_trimmed: bool,
    is_compiled: bool = False,
    state_seconds: float = 300.0,
    seed: int = 1,
    report: Callable[[str], None] = print,
) -> None:
    """Train on crops, and for the last fifth on whole pictures, until the clock (made from the seconds spent) is over.

    A resumable state is kept in `folder`/vae.pt every `state_seconds`; the averaged weights are in `vae` at the end.
    """
    trimmed = Trimmed(vae) if is_trimmed else None
    vae.to(device, memory_format=torch.channels_last).train()
    parameters = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=0.0, fused=device != "cpu")
    ema, start, spent = Ema(vae, 0.998), 0, 0.0
    path = folder / "vae.pt"
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load(state["ema"])
        start, spent = state["step"], state["spent"]
    plain = Roundtrip(vae)
    fast = torch.compile(plain, dynamic=False) if is_compiled else plain  # whole pictures come too late to pay for it
    noise = torch.Generator(device).manual_seed(seed + start)
    gallery.wait(gallery.held_back + 2 * batch)
    if is_compiled:
        try:
            wanted, _ = gallery.crops(crop, batch, noise)
            with torch.autocast(device.split(":")[0], torch.bfloat16):
                fast(wanted.contiguous(memory_format=torch.channels_last))[0].float().mean().backward()
            report("vae: compiled")
        except Exception as error:  # whatever a compiler may raise: the run goes on without it
            report(f"vae: not compiled: {type(error).__name__}: {str(error)[:300]}")
            fast = plain
    time_left = clock(spent)
    began, saved, step = time.time(), time.time(), start
    total = torch.zeros(2, device=device)
    while step == start or time_left.done < 1:
        done = time_left.done
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * falling(done, 0.2)
        side = crop if done < WHOLE_FROM else gallery.size
        wanted, weight = gallery.crops(side, max(1, batch * crop**2 // side**2), noise)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            made, mean = (fast if side == crop else plain)(wanted.contiguous(memory_format=torch.channels_last))
        loss = reconstruction_loss(made.float(), wanted, weight) + 1e-4 * mean.float().pow(2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        ema.update(step - start)
        total += torch.stack([F.l1_loss(made.detach().float(), wanted), loss.detach()])
        step += 1
        if step % 10 == 0:
            gallery.grow()
        if step % REPORT_EVERY == 0:
            error, mean_loss = (total / REPORT_EVERY).tolist()
            pace_ms, began = 1000 * (time.time() - began) / REPORT_EVERY, time.time()
            report(f"vae {step} ({done:.0%}, {gallery.count} pictures) error {error:.4f} loss {mean_loss:.4f} "
                   f"{side} px, {pace_ms:.0f} ms a step")  # fmt: skip
            total.zero_()
        if state_seconds and time.time() - saved > state_seconds:
            saved = time.time()
            keep(path, {"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.weights,
                        "step": step, "spent": time_left.spent})  # fmt: skip
    ema.copy_to(vae)
    if trimmed:
        trimmed.restore()
    vae.eval()
    report(f"vae: {step} steps, {gallery.count} pictures")


def keep(path: Path, state: dict[str, Any]) -> None:
    """Write a state whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


@torch.no_grad()
def whiten(vae: AutoencoderKL, pictures: Tensor, scale: float) -> Tensor:
    """Turn the latents so that `latents * scale` has mean 0 and the identity as covariance, and return what it was.

    The turn W (latents - m) goes into quant_conv, its inverse into post_quant_conv, so decode(encode(x)) stays the
    same. `pictures` is [n 3 h w] in -1..1; the result is the old covariance, [4 4].
    """
    means = torch.cat([vae.encode(p).latent_dist.mean.cpu() for p in pictures.split(16)])
    flat = means.permute(1, 0, 2, 3).flatten(1).double()
    middle = flat.mean(1)
    covariance = torch.cov(flat)
    values, vectors = torch.linalg.eigh(covariance)
    # the symmetric root: each channel stays as near as can be to what it was
    turn = vectors @ torch.diag(values.rsqrt()) @ vectors.T / scale
    back = torch.linalg.inv(turn)
    into, out_of = vae.quant_conv, vae.post_quant_conv
    before, bias = into.weight[:4, :, 0, 0].double().cpu(), into.bias[:4].double().cpu()
    into.weight[:4, :, 0, 0] = (turn @ before).to(into.weight)
    into.bias[:4] = (turn @ (bias - middle)).to(into.bias)
    after = out_of.weight[:, :, 0, 0].double().cpu()
    out_of.weight[:, :, 0, 0] = (after @ back).to(out_of.weight)
    out_of.bias += (after @ middle).to(out_of.bias)
    return covariance
