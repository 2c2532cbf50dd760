"""What is loaded and when it leaves: models stay while they fit into their share of memory, and really leave after."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import torch
from torch import Tensor

from modules.core.plan import ModelFile
from modules.engine.conditioning import Cache
from modules.families.base import Model, Numerics

SHARE = 0.4  # of the device's memory that loaded models may take together before the oldest leaves

Key = tuple[str, tuple[int, int], str, str, bool]


class Guard:
    """Stops a running call: before every block of a loaded network it asks whoever wants the picture."""

    def __init__(self) -> None:
        self.check: Callable[[], None] | None = None

    def __call__(self, *unused: object) -> None:
        if self.check is not None:
            self.check()

    @contextmanager
    def asking(self, check: Callable[[], None]) -> Iterator[None]:
        """Ask ``check`` (which raises to stop) while the block runs."""
        before, self.check = self.check, check
        try:
            yield
        finally:
            self.check = before


@dataclass
class Loaded:
    """A model with what belongs to it and leaves with it: hidden states of prompts that it read, and its guard."""

    file: ModelFile
    numerics: Numerics
    model: Model
    bytes: int
    prompts: Cache = field(default_factory=Cache)
    guard: Guard = field(default_factory=Guard)
    preview: Callable[[Tensor], Tensor] | None = None  # latents to a small picture; made with the first one

    def __post_init__(self) -> None:
        for block in self.model.blocks():
            block.register_forward_pre_hook(self.guard)


Load = Callable[[ModelFile, Numerics, torch.device, Callable[[], None]], Model]
Examine = Callable[[ModelFile], None]


class Residency:
    """The loaded models of one device, most recently used last."""

    def __init__(
        self, device: torch.device, load: Load, examine: Examine = lambda file: None, room_bytes: int | None = None
    ) -> None:
        self.device = device
        self._load = load
        self._examine = examine
        self._room_bytes = int(SHARE * total_bytes(device)) if room_bytes is None else room_bytes
        self._kept: OrderedDict[Key, Loaded] = OrderedDict()

    def has(self, file: ModelFile, numerics: Numerics) -> bool:
        """Whether this very file is loaded with this profile."""
        return _key(file, numerics) in self._kept

    def model(self, file: ModelFile, numerics: Numerics, check: Callable[[], None] = lambda: None) -> Loaded:
        """The loaded model of this file; loads it if need be, and lets the least recently used go for room.

        Nothing goes before the file was examined: one that cannot be used costs nobody else's place. Raises what
        `modules.engine.loading.load` raises.
        """
        key = _key(file, numerics)
        if key not in self._kept:
            self._make_room(file, _expected_bytes(file, numerics))
            with torch.inference_mode(False), torch.no_grad():  # plain tensors: adapters and training may touch them
                model = self._load(file, numerics, self.device, check)
            self._kept[key] = Loaded(file, numerics, model, size_bytes(model))
        self._kept.move_to_end(key)
        return self._kept[key]

    def unload(self) -> None:
        """Let every model go."""
        self._kept.clear()
        give_back()

    def ledger(self) -> list[dict[str, object]]:
        """What is loaded, for people: name, profile and bytes, most recently used last."""
        return [
            {"name": one.file.name, "numerics": one.numerics.name, "bytes": one.bytes} for one in self._kept.values()
        ]

    def watch(self) -> list[weakref.ref[Model]]:
        """Weak references to the loaded models: what is still alive after `unload` is a leak."""
        return [weakref.ref(one.model) for one in self._kept.values()]

    def _make_room(self, file: ModelFile, needed: int) -> None:
        if not self._too_full(needed):
            return
        self._examine(file)
        while self._too_full(needed):
            self._kept.popitem(last=False)
        give_back()

    def _too_full(self, needed: int) -> bool:
        return bool(self._kept) and sum(one.bytes for one in self._kept.values()) + needed > self._room_bytes


def size_bytes(model: Model) -> int:
    """What a model's weights take."""
    tensors = [tensor for part in model.parts().values() for tensor in (*part.parameters(), *part.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def give_back() -> None:
    """Return freed memory to the system: collect, and let the C library and the GPU's cache let go of it too.

    Without the trim more than half of a freed model stays in glibc's heap though nothing refers to it.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def total_bytes(device: torch.device) -> int:
    """The memory that the device has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total


def free_bytes(device: torch.device) -> int:
    """The memory that the device has left."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _key(file: ModelFile, numerics: Numerics) -> Key:
    return os.path.realpath(file.path), file.stamp, numerics.name, file.prediction, file.zero_snr


def _expected_bytes(file: ModelFile, numerics: Numerics) -> int:
    """Files mostly hold 16-bit numbers: twice their size is needed for 32-bit ones."""
    return file.stamp[0] * (2 if numerics.network == "float32" else 1)
