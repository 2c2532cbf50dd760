"""An adapter beside a weight, not in it: what acts only in a part of a walk adds its own output to the module's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from modules.engine.adapters.changes import LowRank
from modules.engine.denoise import Denoised, Denoiser


class Clock:
    """How far the present pass is walked, 0-1; whoever calls the network sets it first."""

    walked = 0.0


def on_time(denoiser: Denoiser, clock: Clock, walked: Callable[[float], float]) -> Denoiser:
    """The denoiser with the clock set before every call; ``walked`` is the share of the pass done at a sigma."""

    def called(x: Tensor, sigma: float) -> Denoised:
        clock.walked = walked(sigma)
        return denoiser(x, sigma)

    return called


class Branch:
    """One change of one module, on from ``start`` to ``stop`` of a pass; ``remove`` takes it off."""

    def __init__(
        self, module: nn.Module, change: LowRank | Tensor, bias: Tensor | None, clock: Clock, start: float, stop: float
    ) -> None:
        self._clock, self._start, self._stop = clock, start, stop
        weight: Any = module.weight
        at = {"device": weight.device, "dtype": weight.dtype}
        self._bias = None if bias is None else bias.to(**at)
        self._factors = LowRank(change.up.to(**at), change.down.to(**at)) if isinstance(change, LowRank) else None
        self._whole = change.to(**at) if isinstance(change, Tensor) else None
        self._hook = module.register_forward_hook(self._add)

    def remove(self) -> None:
        """The module is as it was."""
        self._hook.remove()

    def _add(self, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
        walked = self._clock.walked
        if walked < self._start or (walked >= self._stop and self._stop < 1.0):
            return None
        change = self._change(module, given[0])
        if self._bias is not None:
            change = change + (self._bias[:, None, None] if change.dim() == 4 else self._bias)
        return output + change

    def _change(self, module: nn.Module, x: Tensor) -> Tensor:
        if not isinstance(module, nn.Conv2d):
            if self._factors is None:
                return F.linear(x, self._whole.to(x)) if self._whole is not None else x * 0
            return F.linear(F.linear(x, self._factors.down.to(x)), self._factors.up.to(x))
        where: dict[str, Any] = {
            "stride": module.stride, "padding": module.padding, "dilation": module.dilation, "groups": module.groups,
        }  # fmt: skip
        shape = module.weight.shape
        if self._factors is None:
            assert self._whole is not None
            return F.conv2d(x, self._whole.to(x), **where)
        rank = self._factors.up.shape[1]
        inner = F.conv2d(x, self._factors.down.to(x).reshape(rank, *shape[1:]), **where)
        return F.conv2d(inner, self._factors.up.to(x)[:, :, None, None])
