"""Inpainting in latents: what a walk may not change is put back at every call, hard or softly, and once at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from modules.core.geometry import Size
from modules.core.request import SoftInpaint
from modules.engine.denoise import Denoised, Denoiser

SMALLEST = 1e-5  # keeps a division by a length or a distance finite


@dataclass(frozen=True)
class Kept:
    """What a walk keeps: ``latents`` [1 c h w], wherever ``new`` [1 1 h w] is not 1 (in between: softly)."""

    latents: Tensor
    new: Tensor
    soft: SoftInpaint | None = None

    def blended(self, made: Tensor, sigma: float) -> Tensor:
        """x0 [1 c h w] as it is at this noise with the kept part put back."""
        if self.soft is None:
            return made * self.new + self.latents * (1 - self.new)
        return soft_blend(self.latents, made, soft_mask(self.new, sigma, self.soft), self.soft)

    def finished(self, made: Tensor) -> Tensor:
        """The end of a walk: hard masks are put back once more, soft ones are left to the overlay."""
        return made if self.soft else made * self.new + self.latents * (1 - self.new)


def latent_mask(mask: Tensor, height: int, width: int, rounded: bool) -> Tensor:
    """A mask [1 1 H W] as [1 1 height width] of the latents, 0 to 1: by Pillow's bicubic filter, made hard if asked."""
    values = np.rint(mask[0, 0].numpy() * 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(values).resize((width, height)), np.float32) / 255
    return torch.from_numpy(np.around(small) if rounded else small)[None, None]


def keeping(denoiser: Denoiser, kept: Kept) -> Denoiser:
    """The same denoiser, which answers with the kept part put back: no sampler can then walk away from it."""

    def denoise(x: Tensor, sigma: float) -> Denoised:
        answer = denoiser(x, sigma)
        return answer._replace(x0=kept.blended(answer.x0, sigma))

    return denoise


def keeping_before(denoiser: Denoiser, kept: Kept) -> Denoiser:
    """A1111's way for DDIM, PLMS and UniPC: the network sees the kept latents without noise, and its noise is taken.

    Its own x space is variance preserving, ``x / sqrt(1 + sigma^2)``; there the kept part is put back.
    """

    def denoise(x: Tensor, sigma: float) -> Denoised:
        scale = (1 + sigma**2) ** 0.5
        seen = kept.blended(x / scale, sigma) * scale
        answer = denoiser(seen, sigma)
        moved = x - seen  # what stays of each prediction is the noise that it found
        cond, uncond = (None if x0 is None else x0 + moved for x0 in (answer.cond, answer.uncond))
        return Denoised(answer.x0 + moved, cond, uncond)

    return denoise


def soft_mask(new: Tensor, sigma: float, soft: SoftInpaint) -> Tensor:
    """How much of the new is taken at this noise: the mask to a power that falls with sigma, so edges close late."""
    return new ** (sigma**soft.schedule_bias * soft.preservation_strength)


def soft_blend(old: Tensor, new: Tensor, share: Tensor, soft: SoftInpaint) -> Tensor:
    """Between two latents [b c h w]: directions mixed along a line, lengths by a power mean.

    Unlike noise, two pictures that are averaged lose contrast; ``transition_contrast_boost`` is the mean's power.
    """
    mixed = old * (1 - share) + new * share
    power = soft.transition_contrast_boost
    lengths = [one.norm(dim=1, keepdim=True).double() for one in (old, new)]
    wanted = (lengths[0] ** power * (1 - share) + lengths[1] ** power * share) ** (1 / power)
    return (mixed * (wanted / (mixed.norm(dim=1, keepdim=True).double() + SMALLEST))).to(mixed.dtype)


def shown(kept: Kept, made: Tensor, size: Size) -> Image.Image:
    """The mask of a soft result at this size: where the latents [1 c h w] have really become others.

    The distance between old and new, cleaned of specks and holes, is compared with a threshold that the mask may lower.
    """
    soft = kept.soft or SoftInpaint()
    reach = 1 - kept.new[0, 0].clamp(0, 1) ** (soft.preservation_strength / 2)
    reach = 0.5 * (1 - soft.mask_influence) + reach * soft.mask_influence
    half = soft.difference_threshold * (reach / (1 + SMALLEST - reach)).cpu().numpy()
    distance = (made - kept.latents).norm(dim=1)[0].float().cpu().numpy()
    distance = _percentiles(_percentiles(distance, 0.9, 1.0), 0.25, 0.75)
    with np.errstate(divide="ignore", over="ignore"):
        old = 1 / (1 + (distance / np.maximum(half, SMALLEST)) ** soft.difference_contrast)
    smooth = old**3 * (old * (6 * old - 15) + 10)  # Perlin 2002: flat at both ends
    mask = Image.fromarray((255 * (1 - smooth)).astype(np.uint8))
    large = mask.resize((size.width, size.height), Image.Resampling.LANCZOS)
    return large.filter(ImageFilter.GaussianBlur(4))


def _percentiles(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Each value's neighbours (5 x 5, weighted by a Gaussian of 1.5): the mean of those between two percentiles."""
    places = np.arange(-2, 3)
    gauss = np.exp(-(places[:, None] ** 2 + places[None, :] ** 2) / (2 * 1.5**2)).ravel()
    padded = np.pad(values, 2, "edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).reshape(*values.shape, 25)
    order = np.argsort(around, -1)
    ranked, weights = np.take_along_axis(around, order, -1), gauss[order]
    ends = np.cumsum(weights, -1) / gauss.sum()
    shares = np.clip(ends, low, high) - np.clip(ends - weights / gauss.sum(), low, high)
    return ((ranked * shares).sum(-1) / (high - low)).astype(np.float32)


def masked_picture(pixels: Tensor, mask: Tensor, weight: float) -> Tensor:
    """Pixels [1 3 H W] in -1 to 1 with the masked part (``mask`` [1 1 H W], rounded) grey, as much as ``weight``."""
    return torch.lerp(pixels, pixels * (1 - mask), weight)


def beside_latents(mask: Tensor, encoded: Tensor) -> Tensor:
    """What a network made for inpainting sees beside x: the mask and the masked picture's latents [1 1+c h w]."""
    small = functional.interpolate(mask, size=encoded.shape[-2:])
    return torch.cat([small.to(encoded), encoded], 1)
