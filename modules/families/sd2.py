"""Stable Diffusion 2: OpenCLIP's text encoder without its last layer, and a UNet whose heads are 64 wide.

SD 2.0 and 2.1 at 512 predict noise, at 768 v: no shape tells them apart. The spread of one normalisation's bias does:
it is above ``V_SPREAD`` in the checkpoints that learnt v.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from modules.core.geometry import Size
from modules.families import ldm
from modules.families.base import (
    CLIP_END,
    Defaults,
    Diffusion,
    Evidence,
    LatentFormat,
    Model,
    Numerics,
    Prediction,
    Shapes,
    register,
)
from modules.families.ldm import UNET, LatentDiffusion, LatentDiffusionModel, Reader

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TEXT = "cond_stage_model.model."
PLAIN_TEXT = "cond_stage_model.transformer."  # as a diffusers folder names it
SIGN = UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias"
V_SPREAD = 0.09


class StableDiffusion2(LatentDiffusion):
    """SD 2.0, 2.1 and every checkpoint in their layout, at 512 and at 768."""

    name = "sd2"
    title = "Stable Diffusion 2"
    latent = LatentFormat(channels=4, downscale=8, multiple=8)
    latent_scale = 0.18215
    diffusion = Diffusion(prediction="eps")
    defaults = Defaults(
        size=Size(width=512, height=512),
        steps={"draft": 12, "good": 20, "best": 36},
        cfg_scale=7.0,
        sampler="DPM++ 2M",
    )
    texts = {"text": (TEXT, PLAIN_TEXT)}

    def detect(self, shapes: Shapes) -> bool:
        """SD 1's UNet, but its attention is entered by matrices and no vector comes in beside the time."""
        first = shapes.get(UNET + "input_blocks.0.0.weight", ())
        enter = shapes.get(UNET + "input_blocks.1.1.proj_in.weight", ())
        vector = UNET + "label_emb.0.0.weight"
        return len(first) == 4 and first[1] in (4, 8, 9) and len(enter) == 2 and vector not in shapes

    def prediction_of(self, evidence: Evidence) -> tuple[Prediction, str] | None:
        """By the spread of one bias."""
        spread = spread_of(evidence.peek(SIGN))
        if spread is None:
            return None
        if spread > V_SPREAD:
            return "v", f"v, because a bias that tells has a spread of {spread:.3f}, above {V_SPREAD}"
        return "eps", f"eps, because a bias that tells has a spread of {spread:.3f}, not above {V_SPREAD}"

    def defaults_of(self, evidence: Evidence) -> tuple[Defaults, tuple[str, ...]]:
        """Those that predict v were taught at 768."""
        found = self.prediction_of(evidence)
        if found and found[0] == "v":
            return replace(self.defaults, size=Size(width=768, height=768)), ("768x768, because it predicts v",)
        return self.defaults, ()

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """As `Family.build`."""
        return Sd2Model(self, self.build_networks(weights, shapes, numerics, device), device)

    def build_text(self, part: str, reader: Reader, prefixes: tuple[str, ...], dtype: str) -> nn.Module:
        """OpenCLIP ViT-H up to its last layer but one: what the UNet was taught with."""
        if not ldm.is_open_clip(reader.shapes, TEXT):
            return ldm.text_encoder(self, ldm.plain_clip(reader.read(PLAIN_TEXT, dtype), PLAIN_TEXT), "gelu")
        weights = ldm.from_open_clip(reader.read(TEXT, dtype), TEXT)
        layers = {int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers.")}
        last = f"encoder.layers.{max(layers, default=0)}."
        return ldm.text_encoder(self, {n: v for n, v in weights.items() if not n.startswith(last)}, "gelu")


class Sd2Model(LatentDiffusionModel):
    """The three loaded networks."""

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """As `Model.encode`; the padding behind a prompt's end is 0, as OpenCLIP has it."""
        text = self.part("text")
        return ldm.hidden(text, zero_padded(ids.to(self.device)), clip_skip, normalised=True)[0]


def zero_padded(ids: Tensor) -> Tensor:
    """Token ids [n 77] padded with END, padded with 0 instead: all that follows a row's first END."""
    ends = (ids == CLIP_END).long()
    return ids.masked_fill((ends.cumsum(-1) - ends) > 0, 0)


def spread_of(numbers: Sequence[float] | None) -> float | None:
    """Their standard deviation; None for fewer than two."""
    if numbers is None or len(numbers) < 2:
        return None
    mean = math.fsum(numbers) / len(numbers)
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


SD2 = register(StableDiffusion2())
