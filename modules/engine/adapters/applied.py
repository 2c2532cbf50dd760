"""The adapters on one loaded model: weights computed anew from the checkpoint's own numbers, rounded once, and undone.

A weight is never changed from what it was a moment ago: it is the tensor of the checkpoint's file plus the sum of all
changes, in float32, rounded to the running dtype. A small change survives that (in a copy that runs in bf16 three
quarters of one with a spread of 2e-5 are lost), and a model without adapters has the very bits that it was loaded with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from modules.core.errors import ModelError, WorkbenchError
from modules.core.plan import AdapterFile, ModelFile
from modules.engine import loading
from modules.engine.adapters import changes
from modules.engine.adapters.branches import Branch, Clock
from modules.engine.adapters.files import Opened, opened
from modules.engine.adapters.places import Target, targets
from modules.engine.adapters.sums import Wish, misshapen, summed, touches, wished
from modules.families.base import Model
from modules.library.adapterkeys import Place

Parameter = tuple[str, str]  # a part, and the dotted name of a parameter in it


class Adapted:
    """What is on a model. ``on`` are the adapters, ``clock`` is for those that come and go in the middle of a pass."""

    def __init__(self, model: Model, file: ModelFile) -> None:
        self._model, self._file = model, file
        self._known: Mapping[Place, Target] | None = None
        self._changed: set[Parameter] = set()
        self._branches: list[Branch] = []
        self.on: tuple[AdapterFile, ...] = ()
        self.clock = Clock()
        self.is_lost = False  # something is on it that cannot be taken off: the model must go

    @property
    def passes_by(self) -> bool:
        """Whether something on it comes or goes in the middle of a pass."""
        return bool(self._branches)

    @property
    def read_by(self) -> Hashable:
        """What decides how a prompt is read: the adapters that change a text encoder."""
        return tuple((one.path, one.stamp, one.te, one.rank, one.blocks[:1]) for one in self.on if one.te)

    def wear(self, adapters: Iterable[AdapterFile], check: Callable[[], None] = lambda: None) -> None:
        """Exactly these adapters are on the model from now on; ``check`` is asked again and again and may raise.

        Raises ModelError (``adapter_keys``, ``adapter_changed``, ``adapter_shape`` naming the tensor, or
        ``model_changed`` where the checkpoint's file is another by now); then nothing is on it.
        """
        wanted = tuple(one.model_copy(update={"pictures": None}) for one in adapters if one.te or one.unet)
        if wanted == self.on:
            return
        self._take_branches_off()
        try:
            with ExitStack() as files:
                self._put_on([files.enter_context(self._open(one)) for one in wanted], check)
        except BaseException:
            self._take_branches_off()
            self.on = ()
            try:
                self._write({}, lambda: None)
            except WorkbenchError:
                self.is_lost = True
            raise
        self.on = wanted

    def fits(self, adapter: AdapterFile) -> bool:
        """Whether the adapter is for this kind of model."""
        try:
            with self._open(adapter):
                return True
        except ModelError as problem:
            if problem.code == "adapter_keys":
                return False
            raise

    def _open(self, adapter: AdapterFile) -> Any:
        if self._known is None:
            self._known = targets(self._model)
        return opened(adapter, self._known, self._model.family.name)

    def _put_on(self, files: Sequence[Opened], check: Callable[[], None]) -> None:
        merged: dict[tuple[str, str], list[Wish]] = {}  # by the module
        beside: list[Wish] = []
        for one in files:
            assert self._known is not None  # opening it needed them
            for place in one.groups:
                wish = wished(one, place, self._known)
                if not wish.strength:
                    continue
                passing = one.adapter.start > 0.0 or one.adapter.stop < 1.0
                if passing and place.part == "network":
                    beside.append(wish)
                else:
                    merged.setdefault((wish.target.part, wish.target.name), []).append(wish)
        self._write(merged, check)
        for wish in beside:
            check()
            self._branches.append(self._branch(wish))

    def _write(self, merged: Mapping[tuple[str, str], list[Wish]], check: Callable[[], None]) -> None:
        """Every wished module's parameters with the changes, every other one that had some without."""
        parts = self._model.parts()
        modules = {**{_module_of(parameter): [] for parameter in self._changed}, **merged}
        if not modules:
            return
        names = {part: set(network.state_dict()) for part, network in parts.items()}
        with loading.tensors_of(self._file, check) as (tensors, _), torch.no_grad():
            for (part, name), wishes in modules.items():
                check()
                module = parts[part].get_submodule(name)
                for own, parameter in module.named_parameters(recurse=False):
                    full = f"{name}.{own}"
                    has = [wish for wish in wishes if touches(wish, own)]
                    if not has and (part, full) not in self._changed:
                        continue
                    origin = self._model.family.origin(part, full, names[part], tensors.shapes)
                    if origin is None:
                        raise misshapen(has[0] if has else None, f"{full} is in no file")
                    base = origin.read(tensors).reshape(parameter.shape)
                    value = summed(base, own, has, self._model.device) if has else base
                    parameter.copy_(value)
                    if has:
                        self._changed.add((part, full))
                    else:
                        self._changed.discard((part, full))

    def _branch(self, wish: Wish) -> Branch:
        adapter, module = wish.opened.adapter, wish.target.module
        group = wish.opened.tensors(wish.place)
        weight: Any = module.weight
        try:
            made = changes.low_rank(group, wish.strength, adapter.rank)
            if made is None or (made.up.shape[0], made.down.shape[1]) != (weight.shape[0], weight[0].numel()):
                made = changes.weight_change(group, weight.detach().cpu(), wish.strength, adapter.rank)
            bias = changes.bias_change(group, wish.strength)
            change = torch.zeros(weight.shape) if made is None else made
            return Branch(module, change, bias, self.clock, adapter.start, adapter.stop)
        except (RuntimeError, ValueError, IndexError, KeyError) as problem:
            raise misshapen(wish, str(problem)) from None

    def _take_branches_off(self) -> None:
        for branch in self._branches:
            branch.remove()
        self._branches.clear()


def _module_of(parameter: Parameter) -> tuple[str, str]:
    part, name = parameter
    return part, name.rpartition(".")[0]
