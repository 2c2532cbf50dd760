"""The named switches with which a picture is made by other programs' rules, and the presets that are sets of them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, get_args

Switch = Literal[
    "prompt-grammar", "call-clock", "joint-emphasis", "fixed-clip-skip", "last-lora", "sampled-posterior",
    "noised-above", "blend-before", "truncated-pixels", "nearest-time", "empty-emphasis", "encoded-negative",
    "unit-noise", "comfy-sigmas",
]  # fmt: skip
Preset = Literal["a1111", "comfy"]

SWITCHES: Final[Mapping[str, str]] = {
    "prompt-grammar": "doubtful places of a prompt are read as A1111 reads them",
    "call-clock": "what changes in a prompt changes by counted calls of the network, not by the share of the walk",
    "joint-emphasis": "weights keep the mean over all texts of a prompt's schedule together, padded to one length",
    "fixed-clip-skip": "families whose text encoders are read at one layer in A1111 ignore clip skip",
    "last-lora": "only the prompt's LoRA tags count, and one named twice gets its last strengths twice",
    "sampled-posterior": "the encoder's latents are drawn from its spread, by the picture's seed",
    "noised-above": "samplers with times of their own start one time below the one that a picture is noised to",
    "blend-before": "samplers with times of their own keep what is not masked before a call, not after it",
    "truncated-pixels": "fractions of the 256 levels of a pixel are cut off, not rounded",
    "nearest-time": "the network is told the nearest whole time, not a fraction of one",
    "empty-emphasis": "weights move a word away from what an empty prompt says in its place",
    "encoded-negative": "an empty negative prompt is encoded like any other",
    "unit-noise": "a walk from the largest sigma starts where the network's own x has variance 1",
    "comfy-sigmas": "Beta picks trained sigmas, and only DPM2 and DPM2 a leave out the sigma before the last",
}

PRESETS: Final[Mapping[str, tuple[Switch, ...]]] = {
    "native": (),
    "a1111": (
        "prompt-grammar", "call-clock", "joint-emphasis", "fixed-clip-skip", "last-lora", "sampled-posterior",
        "noised-above", "blend-before", "truncated-pixels",
    ),
    "comfy": (
        "truncated-pixels", "nearest-time", "empty-emphasis", "encoded-negative", "unit-noise", "comfy-sigmas",
    ),
}  # fmt: skip
NOISE: Final[Mapping[str, str]] = {"native": "nv", "a1111": "nv", "comfy": "cpu"}  # whose noise goes with a preset
OWN: Final = "own"  # the word for a mixture that is no preset


def expanded(names: Iterable[str]) -> tuple[Switch, ...]:
    """The switches that these switches and presets mean, each once, in the table's order."""
    wanted = set(names)
    for preset, switches in PRESETS.items():
        if preset in wanted:
            wanted |= set(switches)
    return tuple(switch for switch in get_args(Switch) if switch in wanted)


def preset_of(switches: Collection[str]) -> str:
    """The preset that these switches are; "own" where they are none."""
    return next((name for name, known in PRESETS.items() if set(known) == set(switches)), OWN)
