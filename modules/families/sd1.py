"""Stable Diffusion 1: CLIP text encoder, UNet of four levels and an 8x autoencoder, at whatever widths the file has.

What tensors' shapes cannot tell is the same in every file of the family: 8 attention heads in the UNet, 32 groups in
every normalisation, quick_gelu in the text encoder with one head per 64 channels, and the scale of the latents.
Wrong ones would load without complaint and draw something else (Rombach et al. 2022, arXiv:2112.10752; the published
v1-inference configuration).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modules.core.geometry import Size
from modules.families import ldm
from modules.families.base import Defaults, Diffusion, LatentFormat, Model, Numerics, Shapes, register
from modules.families.ldm import UNET, VAE, LatentDiffusion, LatentDiffusionModel, Reader

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["SD1", "TEXT", "UNET", "VAE"]

HEADS = 8
TEXT = "cond_stage_model.transformer."


class StableDiffusion1(LatentDiffusion):
    """SD 1.x and every checkpoint in its layout, the starter among them."""

    name = "sd1"
    title = "Stable Diffusion 1"
    latent = LatentFormat(channels=4, downscale=8, multiple=8)
    latent_scale = 0.18215  # 1 / std of the autoencoder's latents over its training pictures
    diffusion = Diffusion(prediction="eps")
    defaults = Defaults(
        size=Size(width=512, height=512),
        steps={"draft": 12, "good": 20, "best": 36},
        cfg_scale=7.0,
        sampler="DPM++ 2M",
    )
    texts = {"text": (TEXT,)}

    def detect(self, shapes: Shapes) -> bool:
        """A UNet with four latent channels whose attention is entered by 1x1 convolutions (SD 2 has matrices).

        Nine channels are those of an inpainting checkpoint, eight of one that edits a picture.
        """
        first = shapes.get(UNET + "input_blocks.0.0.weight", ())
        enter = shapes.get(UNET + "input_blocks.1.1.proj_in.weight", ())
        wide = UNET + "input_blocks.1.1.transformer_blocks.1.norm1.weight"  # SDXL and its kin go deeper than one block
        return len(first) == 4 and first[1] in (4, 8, 9) and len(enter) == 4 and wide not in shapes

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """Networks on the meta device, keys by diffusers' converters, weights put in place without a second copy."""
        return Sd1Model(self, self.build_networks(weights, shapes, numerics, device), device)

    def build_text(self, part: str, reader: Reader, prefixes: tuple[str, ...], dtype: str) -> nn.Module:
        """CLIP-L."""
        return ldm.text_encoder(self, ldm.plain_clip(reader.read(TEXT, dtype), TEXT), "quick_gelu")

    def heads(self, widths: list[int]) -> list[int]:
        """Eight at every level."""
        return [HEADS] * len(widths)


class Sd1Model(LatentDiffusionModel):
    """The three loaded networks."""

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """As `Model.encode`; every layer's answer goes through the last normalisation, as A1111 and its users expect.

        A text encoder of fewer layers than ``clip_skip`` answers with its first layer.
        """
        text = self.part("text")
        return ldm.hidden(text, ids.to(self.device), clip_skip, normalised=True)[0]


SD1 = register(StableDiffusion1())
