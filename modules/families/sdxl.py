"""Stable Diffusion XL: two text encoders, a UNet that is also told a vector of the prompt and the sizes; the refiner.

Podell et al. 2023 (arXiv:2307.01952). Turbo, Lightning and LCM checkpoints are of the same layout and differ in steps
and guidance only (see `modules.families.evidence`); marks in the file say v-prediction and noise at the last time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.core.geometry import Size
from modules.families import ldm
from modules.families.base import Defaults, Diffusion, Frame, LatentFormat, Model, Numerics, Shapes, register
from modules.families.ldm import UNET, LatentDiffusion, LatentDiffusionModel, Reader
from modules.families.sd2 import zero_padded

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

L = "conditioner.embedders.0.transformer."
G = "conditioner.embedders.1.model."
PLAIN_G = "conditioner.embedders.1.transformer."  # as a diffusers folder names it
REFINER_G = "conditioner.embedders.0.model."
VECTOR = UNET + "label_emb.0.0.weight"
SIZES = 6  # numbers that the base model is told: height and width as it was, top and left of the crop, as it is wanted
REFINER_SIZES = 5  # the first four and how beautiful it is to be
BEAUTIFUL, UGLY = 6.0, 2.5  # what the refiner is told of the prompt's picture and of the negative prompt's
PENULTIMATE = 2  # the layer that both encoders are read at, counted from the end


class StableDiffusionXl(LatentDiffusion):
    """SDXL base and every checkpoint in its layout."""

    name = "sdxl"
    title = "Stable Diffusion XL"
    latent = LatentFormat(channels=4, downscale=8, multiple=8)
    latent_scale = 0.13025
    diffusion = Diffusion(prediction="eps", aligned="sdxl")
    defaults = Defaults(
        size=Size(width=1024, height=1024),
        steps={"draft": 12, "good": 25, "best": 40},
        cfg_scale=6.0,
        sampler="DPM++ 2M",
    )
    texts: Mapping[str, tuple[str, ...]] = {"text": (L,), "text_2": (G, PLAIN_G)}
    clip_skip_in_a1111 = PENULTIMATE

    def detect(self, shapes: Shapes) -> bool:
        """A UNet that takes a vector beside the time, and CLIP-L before OpenCLIP."""
        first = shapes.get(UNET + "input_blocks.0.0.weight", ())
        return len(first) == 4 and first[1] in (4, 8, 9) and VECTOR in shapes and self._has_text(shapes)

    def _has_text(self, shapes: Shapes) -> bool:
        return any(name.startswith(L) for name in shapes)

    def build(self, weights: Mapping[str, Tensor], shapes: Shapes, numerics: Numerics, device: torch.device) -> Model:
        """As `Family.build`; the autoencoder never in fp16, in which its inner values overflow."""
        return SdxlModel(self, self.build_networks(weights, shapes, without_fp16_vae(numerics), device), device)

    def build_text(self, part: str, reader: Reader, prefixes: tuple[str, ...], dtype: str) -> nn.Module:
        """CLIP-L, or OpenCLIP bigG with its projection."""
        if part == "text":
            weights = ldm.plain_clip(reader.read(L, dtype), L)
            return ldm.text_encoder(self, weights, "quick_gelu")
        prefix = next((one for one in prefixes if ldm.is_open_clip(reader.shapes, one)), prefixes[-1])
        found = reader.read(prefix, dtype)
        plain = ldm.from_open_clip if ldm.is_open_clip(reader.shapes, prefix) else ldm.plain_clip
        return ldm.text_encoder(self, plain(found, prefix), "gelu", projected=True)

    def unet_facts(self, shapes: Shapes) -> dict[str, Any]:
        """As for all of this layout, and the vector of the prompt and the sizes."""
        wide = ldm.shape_of(self, shapes, VECTOR)[1]
        return super().unet_facts(shapes) | {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (wide - self._pooled_width(shapes)) // self._sizes(),
            "projection_class_embeddings_input_dim": wide,
        }

    def _sizes(self) -> int:
        return SIZES

    def _pooled_width(self, shapes: Shapes) -> int:
        for prefix in self.texts["text_2" if "text_2" in self.texts else "text"]:
            if prefix + "text_projection" in shapes:
                return shapes[prefix + "text_projection"][1]
            if prefix + "text_projection.weight" in shapes:
                return shapes[prefix + "text_projection.weight"][0]
        raise ldm.unusable(self, "the second text encoder's text_projection is missing", ldm.PART)


class SdxlRefiner(StableDiffusionXl):
    """The refiner: OpenCLIP alone, and how beautiful the picture is to be instead of its wanted size."""

    name = "sdxl-refiner"
    title = "Stable Diffusion XL refiner"
    texts: Mapping[str, tuple[str, ...]] = {"text_2": (REFINER_G,)}

    def _has_text(self, shapes: Shapes) -> bool:
        return any(name.startswith(REFINER_G) for name in shapes)

    def _sizes(self) -> int:
        return REFINER_SIZES


class SdxlModel(LatentDiffusionModel):
    """The loaded networks: UNet, autoencoder and one or two text encoders."""

    def __init__(self, family: StableDiffusionXl, networks: dict[str, nn.Module], device: torch.device) -> None:
        super().__init__(family, networks, device)
        self.encoders = tuple(networks[name].config.hidden_size for name in family.texts)  # type: ignore[union-attr]

    def encode(self, ids: Tensor, clip_skip: int) -> Tensor:
        """As `Model.encode`: both encoders' states side by side."""
        return self.read(ids, clip_skip)[0]

    def read(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
        """Hidden states of the last layer but one (or ``clip_skip`` from the end), never normalised; OpenCLIP's vector.

        The vector is that of the last layer whatever ``clip_skip`` says.
        """
        import torch

        states, vector = [], None
        for name in self.family.texts:
            text = self.part(name)
            here = ids.to(self.device)
            given = zero_padded(here) if name == "text_2" else here
            found, answer = ldm.hidden(text, given, max(clip_skip, PENULTIMATE), normalised=False)
            states.append(found)
            if name == "text_2":
                vector = answer.text_embeds.float()
        assert vector is not None  # every family of this file has the second encoder
        return torch.cat(states, dim=-1), vector

    def tell(self, cond: Mapping[str, Tensor], frame: Frame) -> Mapping[str, Tensor]:
        """With the sizes [1 6]; an empty prompt that is told as nothing is zeros."""
        import torch

        height, width = float(frame.canvas.height), float(frame.canvas.width)
        wanted = [height, width] if len(self.encoders) == 2 else [UGLY if frame.negative else BEAUTIFUL]
        sizes = torch.tensor([[height, width, 0.0, 0.0, *wanted]], device=self.device)
        told = {name: torch.zeros_like(value) for name, value in cond.items()} if frame.empty else dict(cond)
        return {**told, "sizes": sizes}

    def added(self, cond: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """The prompt's vector and the sizes."""
        return {"text_embeds": cond["pooled"].to(device, dtype), "time_ids": cond["sizes"].to(device)}


def without_fp16_vae(numerics: Numerics) -> Numerics:
    """The same profile with an autoencoder that does not overflow."""
    from dataclasses import replace

    return replace(numerics, vae="float32") if numerics.vae == "float16" else numerics


SDXL = register(StableDiffusionXl())
SDXL_REFINER = register(SdxlRefiner())
