"""Write trained networks as one checkpoint in Stable Diffusion 1's original key layout.

diffusers and transformers name their weights otherwise than the original files do. Every tool reads the original
names, so that is what is written here; `diffusers` has the way back (`convert_ldm_*`), and the tests go both ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modules.training.networks import Networks, Widths, networks_of

Rule = tuple[str, str]

_UNET_RESNET: tuple[Rule, ...] = (
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
)
_VAE_ATTENTION: tuple[Rule, ...] = (
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
)


def unet_key(key: str) -> str:
    """The original name of one UNet weight, without its `model.diffusion_model.` prefix."""
    plain = {
        "conv_in.": "input_blocks.0.0.",
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
    }
    for ours, theirs in plain.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, index, rest = match.groups()
        place = 1 if kind == "attentions" else 2 * int(index)
        return f"middle_block.{place}.{_inside_unet_block(kind, rest)}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", key)
    if match is None:
        raise KeyError(key)
    side, block, kind, index, rest = match.group(1), int(match.group(2)), match.group(3), int(match.group(4)), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":  # it comes third in its block, after an attention where the level has one
        return f"output_blocks.{3 * block + 2}.{1 if block == 0 else 2}.{rest}"
    number = 3 * block + index + 1 if side == "down" else 3 * block + index
    stage = "input_blocks" if side == "down" else "output_blocks"
    return f"{stage}.{number}.{0 if kind == 'resnets' else 1}.{_inside_unet_block(kind, rest)}"


def _inside_unet_block(kind: str, rest: str) -> str:
    return _replace_prefix(rest, _UNET_RESNET) if kind == "resnets" else rest


def vae_key(key: str) -> str:
    """The original name of one autoencoder weight, without its `first_stage_model.` prefix."""
    if key.startswith(("quant_conv.", "post_quant_conv.")):
        return key
    side, rest = key.split(".", 1)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", rest):
        kind, index, tail = match.groups()
        if kind == "attentions":
            return f"{side}.mid.attn_1.{_replace_prefix(tail, _VAE_ATTENTION)}"
        return f"{side}.mid.block_{int(index) + 1}.{_shortcut(tail)}"
    if match := re.match(r"(down|up)_blocks\.(\d)\.(resnets|downsamplers|upsamplers)\.(\d)\.(.*)", rest):
        way, block, kind, index, tail = match.groups()
        level = int(block) if way == "down" else 3 - int(block)  # the original numbers both ways from the finest
        if kind == "resnets":
            return f"{side}.{way}.{level}.block.{index}.{_shortcut(tail)}"
        return f"{side}.{way}.{level}.{way}sample.{tail}"
    return f"{side}.{rest.replace('conv_norm_out.', 'norm_out.')}"


def _shortcut(tail: str) -> str:
    return tail.replace("conv_shortcut.", "nin_shortcut.")


def _replace_prefix(key: str, rules: Iterable[Rule]) -> str:
    for ours, theirs in rules:
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def original_layout(networks: Networks) -> dict[str, Tensor]:
    """All weights under their original names, as they are (no cast).

    The autoencoder's attention weights get the two trailing axes that the original's 1x1 convolutions have, and the
    text encoder the `text_model.` level that newer transformers leave out.
    """
    weights: dict[str, Tensor] = {}
    for key, value in networks.unet.state_dict().items():
        weights["model.diffusion_model." + unet_key(key)] = value
    for key, value in networks.vae.state_dict().items():
        name = vae_key(key)
        one_by_one = ".attn_1." in name and value.ndim == 2
        weights["first_stage_model." + name] = value[:, :, None, None] if one_by_one else value
    for key, value in networks.text.state_dict().items():
        if not key.endswith("position_ids"):
            weights["cond_stage_model.transformer.text_model." + key.removeprefix("text_model.")] = value
    return weights


def save_checkpoint(path: Path, networks: Networks, metadata: Mapping[str, object]) -> int:
    """Write the checkpoint in fp16 at `path`, whole or not at all, and return its size in bytes.

    `metadata` becomes the file's header: text as it is, anything else as JSON.
    """
    weights = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in original_layout(networks).items()}
    header = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    save_file(weights, partial, metadata={"format": "pt", **header})
    partial.replace(path)
    return path.stat().st_size


def load_checkpoint(path: Path) -> Networks:
    """The three networks of a checkpoint that `save_checkpoint` wrote, in fp32; widths are read from the shapes."""
    weights = {key: value.float() for key, value in load_file(path).items()}

    def width(key: str) -> int:
        return weights[key].shape[0]

    unet = [width(f"model.diffusion_model.input_blocks.{3 * k + 1}.0.out_layers.3.weight") for k in range(4)]
    vae = [width(f"first_stage_model.encoder.down.{k}.block.0.conv2.weight") for k in range(4)]
    head = "cond_stage_model.transformer.text_model."
    layers = {key.removeprefix(head).split(".")[2] for key in weights if key.startswith(head + "encoder.layers.")}
    text = weights[head + "embeddings.token_embedding.weight"].shape[1]
    networks = networks_of(Widths(tuple(unet), tuple(vae), text, len(layers)), 0)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, tensor in original_layout(networks).items():  # these are the networks' own tensors, not copies
            tensor.copy_(weights.pop(name))
    if weights:
        raise KeyError(sorted(weights)[0])
    return networks
