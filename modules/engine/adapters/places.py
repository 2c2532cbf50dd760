"""Where an adapter's changes go: a loaded model's modules by the names that trainers gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from modules.families.base import Model
from modules.library.adapterkeys import Place
from modules.prompt import blocks


class Target(NamedTuple):
    """A module of a part: its own dotted ``name``, and the ``block`` of the UNet it is in (IN04), or nothing."""

    part: str
    name: str
    module: nn.Module
    block: str


def targets(model: Model) -> Mapping[Place, Target]:
    """Every module with a weight under each name that a file may have for it."""
    found: dict[Place, Target] = {}
    for part, network in model.parts().items():
        modules = {name: module for name, module in network.named_modules() if _has_weight(module)}
        names = {f"{name}.weight" for name in modules}
        for name, module in modules.items():
            told = model.family.names_in_files(part, name, names)
            target = Target(part, name, module, block_of(told))
            for written in dict.fromkeys((*told, name)):
                plain = written.replace(".", "_")
                found[Place(part, plain.removeprefix("text_model_") if part != "network" else plain)] = target
    return found


def block_of(names: tuple[str, ...]) -> str:
    """The UNet's block as people number it (IN00-IN11, M00, OUT00-OUT11) from a module's original name."""
    return next((block for name in names if (block := blocks.of(name))), "")


def _has_weight(module: nn.Module) -> bool:
    return isinstance(getattr(module, "weight", None), nn.Parameter)
