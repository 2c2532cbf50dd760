"""Block weights of a LoRA tag (``lbw=``): how strongly it acts in each block of a UNet, as numbers or by a name.

Blocks are named as the original UNet numbers them: BASE is the text encoder, IN00 to IN11 go down, M00 is the middle,
OUT00 to OUT11 come up. A list names as many of them as it has numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Final

_DOWN_17: Final = ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08")
NAMES: Final[Mapping[int, tuple[str, ...]]] = {
    12: ("BASE", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{k:02}" for k in range(6))),
    17: ("BASE", *_DOWN_17, "M00", *(f"OUT{k:02}" for k in range(3, 12))),
    20: ("BASE", *(f"IN{k:02}" for k in range(9)), "M00", *(f"OUT{k:02}" for k in range(9))),
    26: ("BASE", *(f"IN{k:02}" for k in range(12)), "M00", *(f"OUT{k:02}" for k in range(12))),
}
"""By the length of a list: SDXL's and SD1's blocks with attention (12, 17), and all of theirs (20, 26)."""


def _on(*blocks: str) -> tuple[float, ...]:
    return tuple(float(name in ("BASE", *blocks)) for name in NAMES[17])


PRESETS: Final[Mapping[str, tuple[float, ...]]] = {
    "NONE": (0.0,) * 17,
    "ALL": (1.0,) * 17,
    "ALL0.5": (0.5,) * 17,
    "INS": _on("IN01", "IN02"),
    "IND": _on("IN05", "IN07", "IN08"),
    "INALL": _on(*_DOWN_17),
    "MIDD": _on("IN05", "IN07", "IN08", "M00", "OUT03", "OUT04", "OUT05", "OUT06"),
    "OUTD": _on("OUT03", "OUT04", "OUT05", "OUT06"),
    "OUTS": _on(*NAMES[17][-5:]),
    "OUTALL": _on(*NAMES[17][-9:]),
}
"""Names that people know from the block weight extension, as lists of 17."""


def read(text: str) -> tuple[float, ...] | None:
    """The weights behind a preset's name or a list of 12, 17, 20 or 26 numbers; None for anything else."""
    preset = PRESETS.get(text.strip().upper())
    if preset:
        return preset
    try:
        weights = tuple(float(number) for number in text.split(","))
    except ValueError:
        return None
    return weights if len(weights) in NAMES else None


def of(module: str) -> str:
    """The block (IN04) of a UNet's module by its original name ("input_blocks.4.0 ..."); empty for one in none."""
    stage, _, rest = module.partition(".")
    number = rest.split(".")[0]
    if stage == "middle_block":
        return "M00"
    if stage in ("input_blocks", "output_blocks") and number.isdigit():
        return f"{'IN' if stage == 'input_blocks' else 'OUT'}{int(number):02}"
    return ""


def weight(weights: Sequence[float], block: str) -> float:
    """The weight of a block; one that the list does not name goes with the nearest named block of its side.

    1 for an empty list, and for what is in no block (``block`` empty).
    """
    if not weights or not block:
        return 1.0
    named = dict(zip(NAMES[len(weights)], weights, strict=True))
    if block in named:
        return named[block]
    side, number = block.rstrip("0123456789"), int(block[-2:])
    near = min((abs(int(name[-2:]) - number), name) for name in named if name.startswith(side) and name != "BASE")
    return named[near[1]]
