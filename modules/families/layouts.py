"""The names of tensors in diffusers' files, as the original files of the latent diffusion kin name them; no torch.

The engine reads one layout: files of the other are read under these names. Attention inside an autoencoder is a matrix
in the one and a 1x1 convolution in the other; the engine takes both.
"""

import re
from collections.abc import Collection, Iterable

Rule = tuple[str, str]

_RESNET: tuple[Rule, ...] = (
    ("norm1.", "in_layers.0."), ("conv1.", "in_layers.2."), ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."), ("conv2.", "out_layers.3."), ("conv_shortcut.", "skip_connection."),
)  # fmt: skip
_PLAIN: tuple[Rule, ...] = (
    ("conv_in.", "input_blocks.0.0."), ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."), ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."), ("conv_norm_out.", "out.0."), ("conv_out.", "out.2."),
)  # fmt: skip
_VAE_ATTENTION: tuple[Rule, ...] = (
    ("group_norm.", "norm."), ("to_q.", "q."), ("to_k.", "k."), ("to_v.", "v."), ("to_out.0.", "proj_out."),
    ("query.", "q."), ("key.", "k."), ("value.", "v."), ("proj_attn.", "proj_out."),
)  # fmt: skip
LEVELS_OF_A_VAE = 4


def unet_name(name: str, names: Collection[str]) -> str:
    """The original name of a UNet's tensor; ``names`` are all of its file. One that nobody knows keeps its name."""
    for ours, theirs in _PLAIN:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, index, rest = match.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{_inner(kind, rest)}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    if match is None:
        return name
    side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":  # behind the attention, where the level has one
        attends = f"up_blocks.{block}.attentions.0.norm.weight" in names
        return f"output_blocks.{3 * block + 2}.{2 if attends else 1}.{rest}"
    number = 3 * block + index + 1 if side == "down" else 3 * block + index
    stage = "input_blocks" if side == "down" else "output_blocks"
    return f"{stage}.{number}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"


def vae_name(name: str) -> str:
    """The original name of an autoencoder's tensor; one that is original already keeps its name."""
    side, _, rest = name.partition(".")
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", rest):
        kind, index, tail = match.groups()
        if kind == "attentions":
            return f"{side}.mid.attn_1.{_replaced(tail, _VAE_ATTENTION)}"
        return f"{side}.mid.block_{int(index) + 1}.{_shortcut(tail)}"
    if match := re.match(r"(down|up)_blocks\.(\d)\.(resnets|downsamplers|upsamplers)\.(\d)\.(.*)", rest):
        way, block, kind, index, tail = match.groups()
        level = int(block) if way == "down" else LEVELS_OF_A_VAE - 1 - int(block)  # numbered both ways from the finest
        if kind == "resnets":
            return f"{side}.{way}.{level}.block.{index}.{_shortcut(tail)}"
        return f"{side}.{way}.{level}.{way}sample.{tail}"
    return name.replace("conv_norm_out.", "norm_out.")


def _inner(kind: str, rest: str) -> str:
    return _replaced(rest, _RESNET) if kind == "resnets" else rest


def _shortcut(tail: str) -> str:
    return tail.replace("conv_shortcut.", "nin_shortcut.")


def _replaced(name: str, rules: Iterable[Rule]) -> str:
    for ours, theirs in rules:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
