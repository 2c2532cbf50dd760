"""Adapters that become part of a checkpoint: which of its tensors each changes, without any network in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from modules.core.plan import AdapterFile
from modules.engine.adapters.files import opened
from modules.engine.adapters.places import targets
from modules.engine.adapters.sums import Wish, summed, touches, wished
from modules.families.base import SAFE, Family, Origin, Shapes

_HERE = torch.device("cpu")


class Baking:
    """The changes by the checkpoint's tensor; see `baking`."""

    def __init__(self) -> None:
        self._changes: dict[str, list[tuple[Origin, str, torch.Size, list[Wish]]]] = {}

    def add(self, origin: Origin, own: str, shape: torch.Size, wishes: list[Wish]) -> None:
        """These wishes change the parameter ``own`` ("weight", "bias") that is read from ``origin``."""
        self._changes.setdefault(origin.name, []).append((origin, own, shape, wishes))

    def into(self, name: str, value: Tensor) -> None:
        """Change a float32 tensor of the checkpoint in place; one that no adapter knows stays as it is."""
        for origin, own, shape, wishes in self._changes.get(name, ()):
            view = origin.read({name: value})
            view.copy_(summed(view.reshape(shape), own, wishes, _HERE).reshape(view.shape))


@contextmanager
def baking(adapters: Sequence[AdapterFile], family: Family, shapes: Shapes) -> Iterator[Baking]:
    """Open adapters for a checkpoint of these tensors.

    Raises what `modules.engine.adapters.files.opened` and the family's `build` raise.
    """
    made = Baking()
    if not adapters:
        yield made
        return
    meta = torch.device("meta")
    nothing = {name: torch.empty(shape, device=meta) for name, shape in shapes.items()}
    model = family.build(nothing, shapes, SAFE, meta)
    known = targets(model)
    with ExitStack() as files:
        wishes: dict[tuple[str, str], list[Wish]] = {}
        for adapter in adapters:
            one = files.enter_context(opened(adapter, known, family.name))
            for place in one.groups:
                wish = wished(one, place, known)
                if wish.strength:
                    wishes.setdefault((wish.target.part, wish.target.name), []).append(wish)
        parts = model.parts()
        names = {part: set(network.state_dict()) for part, network in parts.items()}
        for (part, name), wanted in wishes.items():
            for own, parameter in parts[part].get_submodule(name).named_parameters(recurse=False):
                has = [wish for wish in wanted if touches(wish, own)]
                origin = family.origin(part, f"{name}.{own}", names[part], shapes)
                if has and origin is not None:
                    made.add(origin, own, parameter.shape, has)
        yield made
