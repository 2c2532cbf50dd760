"""Adapter files' tensor names, in every style that trainers write: which module of which part, and in which role.

kohya joins a module's name with underscores behind a prefix (``lora_unet_down_blocks_0_...``), diffusers and peft write
it with dots; both may number a UNet's blocks as the original files do. All become one `Place`, without torch.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Shapes = Mapping[str, tuple[int, ...]]


class Place(NamedTuple):
    """A module: its ``part`` of the model ("network", "text", "text_2" ...) and its name with underscores for dots."""

    part: str
    module: str


Group = dict[str, str]
"""What an adapter holds for one module: role -> the tensor's name in the file."""

_ROLES: Final[Mapping[str, str]] = {
    "lora_up.weight": "up", "lora_B.weight": "up", "lora_B.default.weight": "up", "lora.up.weight": "up",
    "lora_linear_layer.up.weight": "up",
    "lora_down.weight": "down", "lora_A.weight": "down", "lora_A.default.weight": "down", "lora.down.weight": "down",
    "lora_linear_layer.down.weight": "down",
    "lora_mid.weight": "mid", "lora_B.bias": "up_bias", "lora_B.default.bias": "up_bias",
    "dora_scale": "dora", "lora_magnitude_vector": "dora", "lora_magnitude_vector.weight": "dora",
    "lora_magnitude_vector.default.weight": "dora",
    "alpha": "alpha", "scale": "scale", "scalar": "scalar",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
    "diff": "diff", "w_norm": "diff", "diff_b": "diff_b", "b_norm": "diff_b",
    "oft_blocks": "oft", "oft_diag": "oft", "rescale": "rescale",
    "a1.weight": "a1", "a2.weight": "a2", "b1.weight": "b1", "b2.weight": "b2", "bm.weight": "bm",
    "weight": "ia3", "on_input": "on_input",
    "bias_indices": "bias_indices", "bias_values": "bias_values", "bias_size": "bias_size",
}  # fmt: skip
_PARTS: Final = (
    ("lora_te1_", "text"), ("lora_te2_", "text_2"), ("lora_te3_", "text_3"), ("lora_te_", "text"),
    ("lora_unet_", "network"), ("lora_transformer_", "network"), ("lycoris_", "network"),
    ("text_encoder_2.", "text_2"), ("text_encoder_3.", "text_3"), ("text_encoder.", "text"),
    ("unet.", "network"), ("transformer.", "network"), ("model.diffusion_model.", "network"),
    ("diffusion_model.", "network"), ("text_model.", "text"),
)  # fmt: skip
_PROCESSOR: Final = re.compile(r"(.*?)(?:\.processor)?\.to_(q|k|v|out)_lora\.(up|down)\.weight")
BUNDLED: Final = re.compile(r"bundle_emb\.([^.]+)\.(.+)")
"""A textual inversion that travels inside an adapter file: its name, and which tensor of it."""

FAMILIES: Final[Mapping[str, str]] = {
    "sd1": "Stable Diffusion 1", "sd2": "Stable Diffusion 2", "sdxl": "SDXL", "sd3": "Stable Diffusion 3",
    "flux": "Flux",
}  # fmt: skip
"""Architectures that adapters are told apart by, installed or not, and what people call them."""

_SAID: Final = (  # what trainers and people write into metadata, in the order of asking
    ("xl", "sdxl"), ("sd_v1", "sd1"), ("sd1", "sd1"), ("sd 1", "sd1"), ("diffusion-v1", "sd1"), ("sd_v2", "sd2"),
    ("sd2", "sd2"), ("sd 2", "sd2"), ("diffusion-v2", "sd2"), ("sd3", "sd3"), ("sd 3", "sd3"), ("diffusion-3", "sd3"),
    ("pony", "sdxl"), ("illustrious", "sdxl"), ("flux", "flux"),
)  # fmt: skip


def place(name: str) -> tuple[Place, str] | None:
    """The module and the role of one tensor; None for a name that is no adapter's."""
    found = _PROCESSOR.fullmatch(name)
    if found:
        stem, which, role = found.groups()
        if "self_attn" in stem:
            stem += f".{which}_proj"
        else:
            stem += ".to_out.0" if which == "out" else f".to_{which}"
    else:
        stem, role = _cut(name)
    if not role:
        return None
    stem = stem.removeprefix("base_model.model.")
    part = "network"
    for prefix, meant in _PARTS:
        if stem.startswith(prefix):
            part, stem = meant, stem.removeprefix(prefix)
            break
    module = stem.replace(".", "_")
    return Place(part, module.removeprefix("text_model_") if part != "network" else module), role


def groups(names: Iterable[str]) -> tuple[dict[Place, Group], list[str]]:
    """All tensors by the module that they act on, and the names that are no adapter's; bundled embeddings left out."""
    made: dict[Place, Group] = {}
    strange: list[str] = []
    for name in names:
        if BUNDLED.fullmatch(name):
            continue
        found = place(name)
        if found is None:
            strange.append(name)
        else:
            made.setdefault(found[0], {})[found[1]] = name
    for where in [where for where, group in made.items() if "ia3" in group and "on_input" not in group]:
        strange += made.pop(where).values()  # a weight of something else
    return made, strange


def kind(group: Iterable[str]) -> str:
    """What people call this way of changing a module, by the roles of its tensors; empty where they are too few."""
    roles = frozenset(group)
    for needed, name in (
        ({"up", "down", "dora"}, "DoRA"), ({"up", "down", "mid"}, "LoCon"), ({"up", "down"}, "LoRA"),
        ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, "LoHa"),
        ({"ia3", "on_input"}, "IA3"), ({"oft"}, "OFT"), ({"a1", "a2", "b1", "b2"}, "GLoRA"), ({"diff"}, "Full"),
        ({"diff_b"}, "Full"),
    ):  # fmt: skip
        if needed <= roles:
            return name
    first = "lokr_w1" in roles or {"lokr_w1_a", "lokr_w1_b"} <= roles
    second = "lokr_w2" in roles or {"lokr_w2_a", "lokr_w2_b"} <= roles
    return "LoKr" if first and second else ""


def weight_size(group: Mapping[str, str], shapes: Shapes) -> tuple[int, int] | None:
    """(rows, numbers) of the weight that these tensors make a change of; None where the module's own decides."""

    def shape(role: str) -> tuple[int, ...]:
        return shapes.get(group.get(role, ""), ())

    match kind(group):
        case "LoRA" | "LoCon" | "DoRA":
            up, down, mid = shape("up"), shape("down"), shape("mid")
            return up[0], up[0] * math.prod(down[1:]) * (math.prod(mid[2:]) if mid else 1)
        case "LoHa":
            first, second, core = shape("hada_w1_a"), shape("hada_w1_b"), shape("hada_t1")
            rows = first[1] if core else first[0]
            return rows, rows * second[1] * (math.prod(core[2:]) if core else 1)
        case "LoKr":
            left = shape("lokr_w1") or (shape("lokr_w1_a")[0], shape("lokr_w1_b")[1])
            core = shape("lokr_t2")
            a, b = shape("lokr_w2_a"), shape("lokr_w2_b")
            right = shape("lokr_w2") or ((a[1], b[1], *core[2:]) if core else (a[0], *b[1:]))
            return left[0] * right[0], math.prod(left) * math.prod(right)
        case "OFT":
            blocks = shape("oft")
            return blocks[-3] * blocks[-2], 0
        case "GLoRA":
            b1, b2 = shape("b1"), shape("b2")
            return (b1[0] if b1[1] == b2[0] else b2[0]), 0
        case "Full" if "diff" in group:
            whole = shape("diff")
            return whole[0], math.prod(whole)
        case _:
            return None


def rank(places: Mapping[Place, Group], shapes: Shapes) -> int | None:
    """The rank of the first low-rank change, for people."""
    for group in places.values():
        for role, side in (("down", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0)):
            if group.get(role) in shapes and shapes[group[role]]:
                return shapes[group[role]][side]
    return None


def family(places: Mapping[Place, Group], shapes: Shapes, metadata: Mapping[str, str]) -> str | None:
    """The architecture that an adapter was made for: by names and widths, or else by what its metadata says."""
    modules = {where.module for where in places if where.part == "network"}
    joined = "\n".join(sorted(modules))
    if re.search(r"^(double_blocks|single_blocks|single_transformer_blocks)_", joined, re.MULTILINE):
        return "flux"
    if re.search(r"^(joint_blocks_|transformer_blocks_\d+_attn_add_)", joined, re.MULTILINE):
        return "sd3"
    deep = r"^(down_blocks_[12]|input_blocks_[4578]_1|up_blocks_[01]|output_blocks_\d_1|mid_block|middle_block_1)_.*"
    if any(where.part == "text_2" for where in places) or re.search(
        deep + r"transformer_blocks_[1-9]", joined, re.MULTILINE
    ):
        return "sdxl"
    widths = {_width_in(group, shapes) for where, group in places.items() if "attn2_to_k" in where.module}
    for width, name in ((2048, "sdxl"), (768, "sd1"), (1024, "sd2")):
        if width in widths:
            return name
    if re.search(r"^(down_blocks_0_attentions|up_blocks_3_attentions|input_blocks_[12]_1)_", joined, re.MULTILINE):
        return "sd1"
    return said(metadata)


def said(metadata: Mapping[str, str]) -> str | None:
    """The architecture that metadata, or a card beside the file, speaks of."""
    for key in ("modelspec.architecture", "ss_base_model_version", "sd version", "baseModel"):
        text = metadata.get(key, "").lower()
        for word, name in _SAID:
            if word in text:
                return name
    return None


def _cut(name: str) -> tuple[str, str]:
    parts = name.split(".")
    for count in (3, 2, 1):
        role = _ROLES.get(".".join(parts[-count:]))
        if role and len(parts) > count:
            return ".".join(parts[:-count]), role
    return name, ""


def _width_in(group: Group, shapes: Shapes) -> int | None:
    for role in ("down", "hada_w1_b", "diff"):
        shape = shapes.get(group.get(role, ""), ())
        if len(shape) > 1:
            return shape[1]
    return None
