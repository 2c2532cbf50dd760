"""Where a part's weights lie: on the device, waiting in page-locked memory, or passing through block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

SLAB_BYTES = 2**28  # page-locked memory is taken in pieces of this size: torch rounds each up to a power of two
ALIGNED = 512


def move(part: nn.Module, device: torch.device) -> None:
    """Bring all of a part's tensors to a device; out of a GPU's memory into page-locked memory, from where it is fast.

    Tensors are replaced under their parameters (as ``nn.Module.to`` does), so whoever holds a parameter keeps it.
    """
    with torch.inference_mode(False), torch.no_grad():
        tensors = _tensors(part)
        leaves = device.type == "cpu" and any(tensor.is_cuda for tensor in tensors)
        if leaves:
            moved = list(_locked(tensors))
        else:
            moved = [tensor.data.to(device, non_blocking=device.type == "cuda") for tensor in tensors]
        if torch.cuda.is_available() and (leaves or device.type == "cuda"):
            torch.cuda.synchronize()  # what is copied from must not change or go before it is copied
        for tensor, at in zip(tensors, moved, strict=True):
            tensor.data = at


def stream(part: nn.Module, blocks: Iterable[nn.Module], device: torch.device) -> None:
    """Let a part that does not fit on the device pass through it: each block comes for its own call and leaves again.

    What stands outside the blocks stays on the device.
    """
    inside = {id(module) for module in part.modules()}
    passing = [block for block in blocks if id(block) in inside]
    within = {id(tensor) for block in passing for tensor in _tensors(block)}
    with torch.inference_mode(False), torch.no_grad():
        for tensor in _tensors(part):
            if id(tensor) not in within:
                tensor.data = tensor.data.to(device)
    for block in passing:
        move(block, torch.device("cpu"))
        visit = _Visit(device)
        block.register_forward_pre_hook(visit.come)
        block.register_forward_hook(visit.leave)


class _Visit:
    """One block's stay on the device for one call; what waits in memory is the original and never copied back."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._home: list[Tensor] = []

    def come(self, module: nn.Module, *unused: Any) -> None:
        if self._home:
            self.leave(module)  # the call before ended in an error
        with torch.inference_mode(False), torch.no_grad():
            self._home = [tensor.data for tensor in _tensors(module)]
            for tensor in _tensors(module):
                tensor.data = tensor.data.to(self._device, non_blocking=True)

    def leave(self, module: nn.Module, *unused: Any) -> None:
        with torch.inference_mode(False), torch.no_grad():
            for tensor, home in zip(_tensors(module), self._home, strict=True):
                tensor.data = home
        self._home = []


def size_bytes(part: nn.Module) -> int:
    """What a part's weights take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(part))


def let_go() -> None:
    """Give page-locked memory that nothing uses back to the system."""
    with suppress(AttributeError, RuntimeError):  # a private function of torch, and of no use without a GPU
        torch._C._host_emptyCache()


def _tensors(part: nn.Module) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in (*part.parameters(), *part.buffers())}.values())


def _locked(tensors: list[Tensor]) -> Iterator[Tensor]:
    """Copies in page-locked memory, one after the other in slabs, with the same strides; on their way when returned."""
    sizes = [-(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED for tensor in tensors]
    slab, at, left = torch.empty(0, dtype=torch.uint8), 0, sum(sizes)
    for tensor, size in zip(tensors, sizes, strict=True):
        if at + size > len(slab):
            slab, at = torch.empty(max(size, min(SLAB_BYTES, left)), dtype=torch.uint8, pin_memory=True), 0
        bytes_here = tensor.numel() * tensor.element_size()
        flat = slab[at : at + bytes_here].view(tensor.dtype)
        place = flat.as_strided(tensor.shape, tensor.stride()) if _is_dense(tensor) else flat.view(tensor.shape)
        place.copy_(tensor.data, non_blocking=True)
        yield place
        at, left = at + size, left - size


def _is_dense(tensor: Tensor) -> bool:
    """Whether its numbers fill a stretch of memory without gaps, in whatever order."""
    reach = sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.numel() == 0 or reach + 1 == tensor.numel()
