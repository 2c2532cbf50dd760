"""A running average of a network's weights: steadier pictures than any single step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of every floating-point tensor in a module's state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.module = decay, module
        self.theirs = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}  # the module's own memory
        self.weights = {k: v.detach().clone() for k, v in self.theirs.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the module's present weights; early steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]  # one kernel for all
            list(self.weights.values()), list(self.theirs.values()), 1 - decay
        )

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the averaged weights into the module."""
        module.load_state_dict({**module.state_dict(), **self.weights})

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The module with its averaged weights, and its own again afterwards."""
        own = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self.copy_to(self.module)
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from saved averages."""
        self.weights = {k: v.clone() for k, v in weights.items()}
