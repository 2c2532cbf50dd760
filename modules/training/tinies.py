"""Very small random checkpoints in the layouts of SD 2 and SDXL, and full-size ones of any family, from a seed."""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.training.layout import vae_key

EOS = 49407


@dataclass(frozen=True)
class Shape:
    """Everything about a checkpoint that shapes can tell: channels, depths and widths.

    ``depths`` are the transformer blocks of each level, finest first, 0 where it has no attention; ``middle`` those
    between. ``texts`` are (width, layers) of CLIP-L and OpenCLIP, None where the layout has not the one.
    """

    family: str
    unet: tuple[int, ...]
    depths: tuple[int, ...]
    middle: int
    vae: tuple[int, int, int, int]
    clip: tuple[int, int] | None
    open_clip: tuple[int, int] | None
    channels: int = 4
    size_width: int = 256  # of each number of the sizes, as a vector


TINY_SDXL = Shape("sdxl", (32, 64, 64), (0, 1, 2), 2, (32, 32, 32, 32), (64, 2), (64, 3), size_width=8)
TINY_REFINER = Shape(
    "sdxl-refiner", (32, 64, 64, 64), (0, 1, 1, 0), 1, (32, 32, 32, 32), None, (64, 3), size_width=8
)  # fmt: skip
TINY_SD2 = Shape("sd2", (32, 64, 64, 64), (1, 1, 1, 0), 1, (32, 32, 32, 32), None, (64, 3))
FULL_SD1 = Shape("sd1", (320, 640, 1280, 1280), (1, 1, 1, 0), 1, (128, 256, 512, 512), (768, 12), None)
FULL_SD2 = Shape("sd2", (320, 640, 1280, 1280), (1, 1, 1, 0), 1, (128, 256, 512, 512), None, (1024, 24))
FULL_SDXL = Shape("sdxl", (320, 640, 1280), (0, 2, 10), 10, (128, 256, 512, 512), (768, 12), (1280, 32))


@dataclass
class Networks:
    """The networks that a checkpoint is written from; ``parts`` by the names of diffusers' pipelines."""

    shape: Shape
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel | None
    open_text: CLIPTextModelWithProjection | None

    def all(self) -> list[nn.Module]:
        """Those that are there."""
        return [one for one in (self.unet, self.vae, self.text, self.open_text) if one is not None]


def networks_of(shape: Shape, seed: int) -> Networks:
    """Random networks of a shape; PyTorch's global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(
            shape,
            UNet2DConditionModel(**unet_config(shape)),
            AutoencoderKL(
                in_channels=3, out_channels=3, block_out_channels=shape.vae, layers_per_block=2, latent_channels=4,
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                norm_num_groups=32, scaling_factor=0.13025 if shape.family.startswith("sdxl") else 0.18215,
            ),
            CLIPTextModel(_text_config(shape.clip, "quick_gelu")) if shape.clip else None,
            CLIPTextModelWithProjection(_text_config(shape.open_clip, "gelu")) if shape.open_clip else None,
        )  # fmt: skip


def unet_config(shape: Shape) -> dict[str, Any]:
    """The UNet's configuration in diffusers' words, written out by hand: tests hold the families' against it."""
    context = sum(width for text in (shape.clip, shape.open_clip) if text for width in text[:1])
    made: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": shape.channels,
        "out_channels": 4,
        "block_out_channels": shape.unet,
        "layers_per_block": 2,
        "down_block_types": tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in shape.depths),
        "up_block_types": tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(shape.depths)),
        "transformer_layers_per_block": (
            *(depth or 1 for depth in shape.depths[:-1]),
            shape.depths[-1] or shape.middle,
        ),
        "cross_attention_dim": context,
        "attention_head_dim": 8 if shape.family == "sd1" else tuple(max(1, width // 64) for width in shape.unet),
        "use_linear_projection": shape.family != "sd1",
    }
    if shape.family.startswith("sdxl") and shape.open_clip:
        numbers = 6 if shape.clip else 5
        made |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": shape.size_width,
            "projection_class_embeddings_input_dim": shape.open_clip[0] + numbers * shape.size_width,
        }
    return made


def _text_config(size: tuple[int, int], activation: str) -> CLIPTextConfig:
    width, layers = size
    return CLIPTextConfig(
        vocab_size=EOS + 1, hidden_size=width, intermediate_size=4 * width, projection_dim=width,
        num_hidden_layers=layers, num_attention_heads=width // 64, max_position_embeddings=77, hidden_act=activation,
        bos_token_id=EOS - 1, eos_token_id=EOS, pad_token_id=EOS,
    )  # fmt: skip


def unet_key(key: str, shape: Shape) -> str:
    """The original name of one UNet weight, without its ``model.diffusion_model.`` prefix, at any number of levels."""
    plain = {
        "conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.", "add_embedding.linear_1.": "label_emb.0.0.",
        "add_embedding.linear_2.": "label_emb.0.2.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
    }  # fmt: skip
    for ours, theirs in plain.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    resnet = {"norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.",
              "norm2.": "out_layers.0.", "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection."}  # fmt: skip
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, index, rest = match.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{_named(rest, resnet, kind)}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", key)
    if match is None:
        raise KeyError(key)
    side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":  # behind the attention, where the level has one
        return f"output_blocks.{3 * block + 2}.{2 if shape.depths[-1 - block] else 1}.{rest}"
    number = 3 * block + index + 1 if side == "down" else 3 * block + index
    stage = "input_blocks" if side == "down" else "output_blocks"
    return f"{stage}.{number}.{0 if kind == 'resnets' else 1}.{_named(rest, resnet, kind)}"


def _named(rest: str, resnet: Mapping[str, str], kind: str) -> str:
    if kind == "resnets":
        for ours, theirs in resnet.items():
            if rest.startswith(ours):
                return theirs + rest.removeprefix(ours)
    return rest


def open_clip_names(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """A text encoder's weights as OpenCLIP names them: queries, keys and values in one, the projection turned."""
    plain = {name.removeprefix("text_model."): value for name, value in weights.items()}
    made = {
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
        "text_projection": plain["text_projection.weight"].T.contiguous(),
    }
    for layer in range(layers):
        here, there = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            parts = [plain[f"{here}self_attn.{part}_proj.{end}"] for part in "qkv"]
            made[f"{there}attn.in_proj_{end}"] = torch.cat(parts)
            made[f"{there}attn.out_proj.{end}"] = plain[f"{here}self_attn.out_proj.{end}"]
            for ours, theirs in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"),
                                 ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                made[f"{there}{theirs}.{end}"] = plain[f"{here}{ours}.{end}"]
    return made


def original_layout_of_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """An autoencoder's weights under their original names; its attention as 1x1 convolutions."""
    named = {vae_key(key): value for key, value in vae.state_dict().items()}
    return {
        name: value[:, :, None, None] if ".attn_1." in name and value.ndim == 2 else value
        for name, value in named.items()
    }


def original_layout(networks: Networks) -> dict[str, Tensor]:
    """All weights under their original names, as they are."""
    shape, made = networks.shape, dict[str, Tensor]()
    for key, value in networks.unet.state_dict().items():
        made["model.diffusion_model." + unet_key(key, shape)] = value
    made |= {"first_stage_model." + name: value for name, value in original_layout_of_vae(networks.vae).items()}
    first = "cond_stage_model.transformer." if shape.family == "sd1" else "conditioner.embedders.0.transformer."
    if networks.text is not None:
        for key, value in networks.text.state_dict().items():
            if not key.endswith("position_ids"):
                made[f"{first}text_model.{key.removeprefix('text_model.')}"] = value
    if networks.open_text is not None and shape.open_clip:
        second = {"sd2": "cond_stage_model.model.", "sdxl": "conditioner.embedders.1.model.",
                  "sdxl-refiner": "conditioner.embedders.0.model."}[shape.family]  # fmt: skip
        for key, value in open_clip_names(networks.open_text.state_dict(), shape.open_clip[1]).items():
            made[second + key] = value
    return made


def write_checkpoint(
    path: Path, shape: Shape, seed: int, dtype: torch.dtype = torch.float16, markers: Sequence[str] = ()
) -> Path:
    """Write a random checkpoint; ``markers`` are names of empty tensors beside it, such as "v_pred"."""
    weights = {
        name: value.detach().to(dtype).contiguous() for name, value in original_layout(networks_of(shape, seed)).items()
    }
    save_file({**weights, **{name: torch.zeros(0) for name in markers}}, path)
    return path


def write_full(path: Path, shape: Shape, seed: int) -> Path:
    """Write a full-size random checkpoint in fp16, tensor by tensor: it never stands in memory as a whole.

    Numbers are normal with a spread of 1 / sqrt(inputs), so that what runs through the networks stays finite; norms'
    weights are 1, biases 0.
    """
    with torch.device("meta"):
        layout = {name: tuple(value.shape) for name, value in original_layout(networks_of_meta(shape)).items()}
    header, at = {}, 0
    for name, sides in layout.items():
        size = 2 * int(torch.Size(sides).numel())
        header[name] = {"dtype": "F16", "shape": list(sides), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for content in _contents(layout, seed):
            file.write(content)
    return path


def networks_of_meta(shape: Shape) -> Networks:
    """The networks of a shape without content."""
    with torch.device("meta"):
        return networks_of(shape, 0)


def _contents(layout: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[memoryview]:
    """The bytes of every tensor, in pieces: a million numbers again and again, since drawing each takes minutes."""
    draw = torch.Generator().manual_seed(seed)
    pool = torch.randn(2**20, generator=draw)
    for name, sides in layout.items():
        left = int(torch.Size(sides).numel())
        if len(sides) == 1:
            yield torch.full(sides, 1.0 if name.endswith("weight") else 0.0, dtype=torch.float16).numpy().data.cast("B")
            continue
        spread = (left / sides[0]) ** -0.5 if len(sides) > 1 else 1.0
        start = int(torch.randint(len(pool) // 2, (1,), generator=draw))
        piece = (pool[start : start + left] * spread).half().numpy().data.cast("B")
        while left > 0:
            yield piece[: 2 * left]
            left -= len(piece) // 2
