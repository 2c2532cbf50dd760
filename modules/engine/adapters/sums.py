"""A checkpoint's tensor and what adapters add to it, summed once in float32: worn by a model, or baked into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from modules.core.errors import ModelError
from modules.engine.adapters import changes
from modules.engine.adapters.changes import LowRank
from modules.engine.adapters.files import Opened
from modules.engine.adapters.places import Target
from modules.library.adapterkeys import Place
from modules.prompt import blocks


class Wish(NamedTuple):
    """One adapter's change of one module, with the strength that it has there."""

    opened: Opened
    place: Place
    target: Target
    strength: float


def wished(one: Opened, place: Place, known: Mapping[Place, Target]) -> Wish:
    """What an adapter does to the module of a place, its blocks' weights counted in."""
    target, adapter = known[place], one.adapter
    is_text = place.part != "network"
    strength = (adapter.te if is_text else adapter.unet) * blocks.weight(
        adapter.blocks, "BASE" if is_text else target.block
    )
    return Wish(one, place, target, strength)


def summed(base: Tensor, own: str, wishes: Sequence[Wish], device: torch.device) -> Tensor:
    """The tensor of the file plus all changes of a "weight" or "bias", in float32, on the device.

    Raises ModelError ``adapter_shape`` naming the tensor that does not fit.
    """
    total = base.to(device, torch.float32)
    flat = total.reshape(total.shape[0], -1)
    factors: list[LowRank] = []
    for wish in wishes:
        group = {role: one.to(device) for role, one in wish.opened.tensors(wish.place).items()}
        rank = wish.opened.adapter.rank
        try:
            if own == "bias":
                change = changes.bias_change(group, wish.strength)
            else:
                made = changes.low_rank(group, wish.strength, rank)
                if made is not None and made.up.shape[0] == flat.shape[0] and made.down.shape[1] == flat.shape[1]:
                    factors.append(made)
                    continue
                change = changes.weight_change(group, base.to(device), wish.strength, rank)
            if change is not None:
                total = total + change.reshape(total.shape)
        except (RuntimeError, ValueError, IndexError, KeyError) as problem:
            raise misshapen(wish, str(problem)) from None
    if factors:
        flat = torch.addmm(
            total.reshape(total.shape[0], -1),
            torch.cat([one.up for one in factors], 1),
            torch.cat([one.down for one in factors]),
        )
        total = flat.reshape(total.shape)
    return total


def touches(wish: Wish, own: str) -> bool:
    """Whether a group of tensors says something about a module's weight or about its bias."""
    roles = set(wish.opened.groups[wish.place])
    return bool(roles & {"diff_b", "up_bias"}) if own == "bias" else bool(roles - {"diff_b", "up_bias", "alpha"})


def misshapen(wish: Wish | None, why: str) -> ModelError:
    """The error for a change that does not fit its weight."""
    name = wish.opened.adapter.name if wish else ""
    tensor = next(iter(wish.opened.groups[wish.place].values())) if wish else ""
    return ModelError(
        f"The LoRA {name!r} cannot be used: its tensor {tensor!r} does not fit ({why}).",
        "Get another copy of the file, or take it out of the prompt.",
        code="adapter_shape", field="prompt", name=name, tensor=tensor,
    )  # fmt: skip
