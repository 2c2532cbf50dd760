"""A running average of a network's weights: steadier pictures than any single step's."""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of every floating-point tensor in a module's state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items() if v.is_floating_point()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the module's present weights; early steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (step + 1) / (step + 10))
        state = module.state_dict()
        mine, theirs = list(self.weights.values()), [state[k] for k in self.weights]
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the averaged weights into the module."""
        module.load_state_dict({**module.state_dict(), **self.weights})

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from saved averages."""
        self.weights = {k: v.clone() for k, v in weights.items()}
