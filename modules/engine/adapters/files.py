"""An adapter's file opened beside a loaded model: which of its tensors change which module, read when wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from modules.core.errors import ModelError
from modules.core.plan import AdapterFile
from modules.engine.adapters.places import Target
from modules.engine.loading import Weights
from modules.library.adapterkeys import BUNDLED, FAMILIES, Group, Place, groups

LEAST_SHARE = 0.8  # of a file's tensors that must fit a model; below it is made for another


class Opened(NamedTuple):
    """An adapter with its file open: its groups of tensors by the module that they change."""

    adapter: AdapterFile
    weights: Weights
    groups: Mapping[Place, Group]

    def tensors(self, place: Place) -> dict[str, Tensor]:
        """The tensors for one module, by role."""
        return {role: self.weights[name] for role, name in self.groups[place].items()}


@contextmanager
def opened(adapter: AdapterFile, known: Mapping[Place, Target], family: str) -> Iterator[Opened]:
    """Open the file for a model of ``family`` whose modules are ``known``.

    Raises ModelError ``adapter_changed`` where it is another file than the plan was made for, ``adapter_keys`` where
    less than 80 % of its tensors are for such a model, and what `modules.library.header.read` raises.
    """
    path = Path(adapter.path)
    try:
        weights = Weights(path)
    except ModelError as problem:
        if problem.code == "model_missing":
            raise _error(adapter, "is not there any more", "Put it back, or take it out of the prompt.",
                         "adapter_missing") from None  # fmt: skip
        raise
    with weights:
        if weights.stamp != adapter.stamp:
            raise _error(adapter, "was replaced while it was in use", "Generate again: the new file is read then.",
                         "adapter_changed")  # fmt: skip
        found, strange = groups(weights)
        fitting = {place: group for place, group in found.items() if place in known}
        whole = sum(len(group) for group in found.values()) + len(strange)
        fits = sum(len(group) for group in fitting.values())
        if not whole or fits < LEAST_SHARE * whole:
            raise _other_model(adapter, fits, whole, family, [*strange, *_names(found, fitting)])
        yield Opened(adapter, weights, fitting)


def bundled(weights: Weights, name: str) -> dict[str, Tensor]:
    """The tensors of a textual inversion that travels inside an adapter."""
    found = ((BUNDLED.fullmatch(full), full) for full in weights)
    return {match[2]: weights[full] for match, full in found if match and match[1] == name}


def _names(found: Mapping[Place, Group], fitting: Mapping[Place, Group]) -> list[str]:
    return [name for place, group in found.items() if place not in fitting for name in group.values()]


def _other_model(adapter: AdapterFile, fits: int, whole: int, family: str, rest: list[str]) -> ModelError:
    title = FAMILIES.get(family, family)
    return ModelError(
        f"The LoRA {adapter.name!r} does not fit {title}: {fits} of its {whole} tensors have a place there"
        + (f", {rest[0]!r} has none." if rest else "."),
        "Take it out of the prompt, or choose the checkpoint that it was made for.",
        code="adapter_keys", field="prompt", name=adapter.name, fits=fits, whole=whole,
    )  # fmt: skip


def _error(adapter: AdapterFile, what: str, hint: str, code: str) -> ModelError:
    return ModelError(f"The LoRA {adapter.name!r} {what}.", hint, code=code, field="prompt", name=adapter.name)
