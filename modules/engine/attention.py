"""The one attention processor of all UNets: it calls a chosen function, so that a faster one is a row in a table."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(q, k, v)``, each [b heads tokens width] -> the same shape as q."""

FUNCTIONS: dict[str, Attend] = {"sdpa": F.scaled_dot_product_attention}


class Attention:
    """Attention of diffusers' UNets (Vaswani et al. 2017, arXiv:1706.03762, equation 1) with a chosen function.

    For attention over tokens [b tokens width] without masks, normalisation or added keys, which is all that the
    UNets of the Stable Diffusion kin have.
    """

    def __init__(self, attend: Attend) -> None:
        self.attend = attend

    def __call__(
        self, attention: Any, hidden: Tensor, encoder_hidden_states: Tensor | None = None, **unused: Any
    ) -> Tensor:
        told = hidden if encoder_hidden_states is None else encoder_hidden_states
        projected = (attention.to_q(hidden), attention.to_k(told), attention.to_v(told))
        q, k, v = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in projected)
        answer = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return attention.to_out[1](attention.to_out[0](answer))


def install(network: nn.Module, name: str) -> int:
    """Let every attention of the network's transformer blocks use the function of that name; returns how many do."""
    processor = Attention(FUNCTIONS[name])
    count = 0
    for path, module in network.named_modules():
        if path.endswith((".attn1", ".attn2")) and hasattr(module, "set_processor"):
            module.set_processor(processor)  # type: ignore[operator]
            count += 1
    return count
