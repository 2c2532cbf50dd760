"""What is loaded, where its parts lie, and what leaves first: models stay while they fit, and really leave after.

On a GPU a part is in one of three places: on the device, waiting in the computer's memory, or (where it is larger than
the device) passing through it block by block. Whoever calls a part says so first (`Model.before_use`), and it comes;
what was used longest ago makes room. On a CPU everything lies in one place and only whole models leave.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import psutil
import torch
from torch import Tensor

from modules.core.plan import ModelFile, VaeFile
from modules.engine import attention, placing
from modules.engine.adapters.applied import Adapted
from modules.engine.conditioning import Cache
from modules.families.base import Model, Numerics

SHARE = 0.4  # of the computer's memory that loaded models may take together before the oldest leaves
DEVICE_SHARE = 0.8  # of a GPU's memory that weights may take; the rest is for what the networks compute
WORKING_BYTES = 2**29  # left free on a GPU at the least, beside what other programs hold
WAITING = torch.device("cpu")

Key = tuple[str, tuple[int, int], str, str, bool, VaeFile | None]
Place = Literal["device", "memory", "passing"]


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
class Held:
    """One part: its bytes, its place, and when it was last used (a count of uses)."""

    bytes: int
    place: Place
    used: int = 0


@dataclass
class Loaded:
    """A model with what belongs to it and leaves with it: hidden states of prompts that it read, and its guard."""

    file: ModelFile
    numerics: Numerics
    model: Model
    parts: dict[str, Held]
    prompts: Cache = field(default_factory=Cache)
    guard: Guard = field(default_factory=Guard)
    preview: Callable[[Tensor], Tensor] | None = None  # latents to a small picture; made with the first one

    def __post_init__(self) -> None:
        self.adapted = Adapted(self.model, self.file)
        for block in self.model.blocks():
            block.register_forward_pre_hook(self.guard)

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts.values())

    def bytes_in(self, place: Place) -> int:
        """What its parts take in that place."""
        return sum(part.bytes for part in self.parts.values() if part.place == place)


@dataclass
class Tool:
    """A network that belongs to no model; ``network.model`` is its module."""

    name: str
    network: Any
    bytes: int


Load = Callable[[ModelFile, Numerics, torch.device, Callable[[], None]], Model]
Examine = Callable[[ModelFile], None]


class Residency:
    """The loaded models of one device, most recently used last.

    ``room_bytes`` is what weights may take on the device, ``waiting_bytes`` what those of a GPU's models may take in
    the computer's memory; both are found out where they are not given.
    """

    def __init__(
        self,
        device: torch.device,
        load: Load,
        examine: Examine = lambda file: None,
        room_bytes: int | None = None,
        waiting_bytes: int | None = None,
        move: Callable[[torch.nn.Module, torch.device], None] = placing.move,
    ) -> None:
        self.device = device
        self._load, self._examine, self._move = load, examine, move
        self._room_bytes, self._waiting_bytes = room_bytes, waiting_bytes
        self._waits = device.type not in ("cpu", "mps")  # whether weights can lie elsewhere than where they are used
        self._kept: OrderedDict[Key, Loaded] = OrderedDict()
        self._uses = 0
        self._tools: dict[Hashable, Tool] = {}

    def tool(self, key: Hashable, name: str, load: Callable[[], Any]) -> Any:
        """A network beside the models, as an upscaler: one is kept, and it is the first to go for room."""
        if key not in self._tools:
            self._tools.clear()
            made = load()
            self._tools[key] = Tool(name, made, placing.size_bytes(made.model))
        return self._tools[key].network

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
            needed = _expected_bytes(file, numerics)
            self._make_room(file, needed)
            fits = not self._waits or needed <= self._room()
            with torch.inference_mode(False), torch.no_grad():  # plain tensors: adapters and training may touch them
                model = self._load(file, numerics, self.device if fits else WAITING, check)
            model.device = self.device
            place: Place = "device" if fits else "memory"
            parts = {name: Held(placing.size_bytes(part), place) for name, part in model.parts().items()}
            self._kept[key] = loaded = Loaded(file, numerics, model, parts)
            if self._waits:
                model.before_use = partial(self._bring, weakref.proxy(loaded))
        self._kept.move_to_end(key)
        return self._kept[key]

    def forget(self, loaded: Loaded) -> None:
        """Let this model go: what it is cannot be told any more."""
        for key in [key for key, one in self._kept.items() if one is loaded]:
            del self._kept[key]
        give_back()

    def unload(self) -> None:
        """Let everything go."""
        self._tools.clear()
        self._kept.clear()
        give_back()

    def relieve(self) -> bool:
        """As much room as can be had for the model that was used last; False where nothing more can be done.

        Other models leave, its own parts beside the network wait in the computer's memory, a network that fills most of
        the device passes through it, and attention is computed in slices.
        """
        if not self._kept:
            return False
        tools, others = bool(self._tools), [key for key in list(self._kept)[:-1]]
        self._tools.clear()
        for key in others:
            del self._kept[key]
        (loaded,) = self._kept.values()
        network = loaded.model.parts()["network"]
        moved = False
        if self._waits:
            moved = any([self._send_away(loaded, name) for name in loaded.parts if name != "network"])
            if loaded.parts["network"].place == "device" and 2 * loaded.parts["network"].bytes > self._room():
                placing.stream(network, loaded.model.blocks(), self.device)
                loaded.parts["network"].place, moved = "passing", True
        sliced = attention.used(network) not in ("", attention.SLICED)
        if sliced:
            attention.install(network, attention.SLICED)
        give_back()
        return tools or bool(others) or moved or sliced

    def ledger(self) -> list[dict[str, object]]:
        """What is loaded, for people: name, profile, bytes, its parts' bytes and places; the last one used is last."""
        where = "device" if self._waits else "memory"
        tools = [
            {
                "name": one.name, "numerics": "fp32", "bytes": one.bytes,
                "parts": [{"part": "upscaler", "bytes": one.bytes, "place": where}],
            }
            for one in self._tools.values()
        ]  # fmt: skip
        return tools + [
            {
                "name": one.file.name, "numerics": one.numerics.name, "bytes": one.bytes,
                "parts": [{"part": name, "bytes": part.bytes, "place": part.place} for name, part in one.parts.items()],
            }
            for one in self._kept.values()
        ]  # fmt: skip

    def newest(self) -> str:
        """The name of the model that was used last; empty where none is loaded."""
        return next((one.file.name for one in reversed(self._kept.values())), "")

    def watch(self) -> list[weakref.ref[Model]]:
        """Weak references to the loaded models: what is still alive after `unload` is a leak."""
        return [weakref.ref(one.model) for one in self._kept.values()]

    def _bring(self, loaded: Loaded, name: str) -> None:
        """The part is about to be used: it must be on the device."""
        part, self._uses = loaded.parts[name], self._uses + 1
        part.used = self._uses
        if part.place != "memory":
            return
        if part.bytes > self._room():
            placing.stream(loaded.model.parts()[name], loaded.model.blocks(), self.device)
            part.place = "passing"
            return
        self._clear(part.bytes)
        self._move(loaded.model.parts()[name], self.device)
        part.place = "device"

    def _send_away(self, loaded: Loaded, name: str) -> bool:
        """Let a part wait in the computer's memory; says whether it was elsewhere."""
        if loaded.parts[name].place != "device":
            return False
        self._move(loaded.model.parts()[name], WAITING)
        loaded.parts[name].place = "memory"
        return True

    def _clear(self, needed: int) -> None:
        """Let parts on the device wait elsewhere, the least recently used first, until so much has room."""
        there = [(part.used, name, one) for one in self._kept.values() for name, part in one.parts.items()]
        for _, name, one in sorted(there, key=lambda row: row[0]):
            if self._on_device() + needed <= self._room():
                break
            self._send_away(one, name)
        while len(self._kept) > 1 and self._in_memory() > self._waiting():
            self._kept.popitem(last=False)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _make_room(self, file: ModelFile, needed: int) -> None:
        if not self._too_full(needed):
            return
        self._tools.clear()
        self._examine(file)
        if self._waits:
            self._clear(needed)
        else:
            while self._too_full(needed):
                self._kept.popitem(last=False)
        give_back()

    def _too_full(self, needed: int) -> bool:
        return bool(self._kept) and self._on_device() + needed > self._room()

    def _on_device(self) -> int:
        return sum(one.bytes_in("device") for one in self._kept.values()) + sum(
            one.bytes for one in self._tools.values()
        )

    def _in_memory(self) -> int:
        return sum(one.bytes_in("memory") + one.bytes_in("passing") for one in self._kept.values())

    def _room(self) -> int:
        """What weights may take on the device: its share, and no more than other programs leave."""
        if self._room_bytes is not None:
            return self._room_bytes
        if not self._waits:
            return int(SHARE * total_bytes(self.device))
        left = free_bytes(self.device) + self._on_device() - WORKING_BYTES
        return min(int(DEVICE_SHARE * total_bytes(self.device)), left)

    def _waiting(self) -> int:
        return int(SHARE * total_bytes(WAITING)) if self._waiting_bytes is None else self._waiting_bytes


def give_back() -> None:
    """Return freed memory to the system: collect, and let the C library and the GPU's cache let go of it too.

    Without the trim more than half of a freed model stays in glibc's heap though nothing refers to it.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        placing.let_go()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def total_bytes(device: torch.device) -> int:
    """The memory that the device has."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total


def free_bytes(device: torch.device) -> int:
    """The memory that the device has left; on a GPU with what torch holds in reserve."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return psutil.virtual_memory().available


def _key(file: ModelFile, numerics: Numerics) -> Key:
    return os.path.realpath(file.path), file.stamp, numerics.name, file.prediction, file.zero_snr, file.vae


def _expected_bytes(file: ModelFile, numerics: Numerics) -> int:
    """Files mostly hold 16-bit numbers: twice their size is needed for 32-bit ones."""
    return file.stamp[0] * (2 if numerics.network == "float32" else 1)
