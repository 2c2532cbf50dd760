"""The three networks of a Stable Diffusion 1 checkpoint, at any width, in the shapes that SD1's rules expect."""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_SCALE = 0.18215
VOCABULARY_SIZE = 49408
POSITIONS = 77
BOS = 49406
EOS = 49407


@dataclass(frozen=True)
class Widths:
    """Everything about an SD1 checkpoint that its tensors' shapes can tell; the rest is as in SD 1.x.

    `unet` and `vae` hold the channels of the four levels, finest first, each a multiple of 32 (SD1 normalises in 32
    groups). `text` is the width of the text encoder, a multiple of 64 (one head per 64 channels).
    """

    unet: tuple[int, int, int, int]
    vae: tuple[int, int, int, int]
    text: int
    text_layers: int = 12


STARTER = Widths(unet=(96, 128, 128, 160), vae=(96, 96, 128, 128), text=128)
TINY = Widths(unet=(32, 32, 64, 64), vae=(32, 32, 32, 32), text=64, text_layers=2)


@dataclass
class Networks:
    """The three networks that are trained and saved together."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel


def unet_of(widths: Widths) -> UNet2DConditionModel:
    """A fresh SD1 UNet: 4 latent channels in and out, attention at the three finer levels, 8 heads."""
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths.unet,
        layers_per_block=2,
        cross_attention_dim=widths.text,
        attention_head_dim=8,
        norm_num_groups=32,
    )


def vae_of(widths: Widths) -> AutoencoderKL:
    """A fresh SD1 autoencoder: 8 times smaller per side, 4 latent channels."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths.vae,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=512,
        scaling_factor=LATENT_SCALE,
    )


def text_encoder_of(widths: Widths) -> CLIPTextModel:
    """A fresh CLIP text encoder with CLIP's vocabulary and 77 positions."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=widths.text,
        intermediate_size=4 * widths.text,
        projection_dim=widths.text,
        num_hidden_layers=widths.text_layers,
        num_attention_heads=widths.text // 64,
        max_position_embeddings=POSITIONS,
        hidden_act="quick_gelu",
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=EOS,
    )
    return CLIPTextModel(config)


def networks_of(widths: Widths, seed: int) -> Networks:
    """All three networks with random weights drawn from `seed`; PyTorch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(unet_of(widths), vae_of(widths), text_encoder_of(widths))


def parameter_count(module: nn.Module) -> int:
    """How many numbers a network holds."""
    return sum(p.numel() for p in module.parameters())
