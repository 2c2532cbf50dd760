"""The one attention processor of all UNets: it calls a chosen function, so that a faster one is a row in a table."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(q, k, v)``, each [b heads tokens width] -> the same shape as q."""

SLICED = "sliced"
SLICE = 1024  # queries at a time


def sliced(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same in slices of the queries: where a large picture's attention does not fit into memory as a whole."""
    return torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(SLICE, dim=-2)], dim=-2)


FUNCTIONS: dict[str, Attend] = {"sdpa": F.scaled_dot_product_attention, SLICED: sliced}
"""By name; `offered` adds what is installed for the device. Nothing is ever fetched."""


class Attention:
    """Attention of diffusers' UNets (Vaswani et al. 2017, arXiv:1706.03762, equation 1) with a chosen function.

    For attention over tokens [b tokens width] without masks, normalisation or added keys, which is all that the
    UNets of the Stable Diffusion kin have.
    """

    def __init__(self, attend: Attend, name: str = "") -> None:
        self.attend, self.name = attend, name

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
    processor = Attention(offered(name), name)
    places = list(_attentions(network))
    for module in places:
        module.set_processor(processor)
    return len(places)


def used(network: nn.Module) -> str:
    """The name of the function that the network's attentions use; empty where it has none of ours."""
    names = {getattr(module.processor, "name", "") for module in _attentions(network)}
    return names.pop() if len(names) == 1 else ""


def _attentions(network: nn.Module) -> Iterator[Any]:
    for path, module in network.named_modules():
        plain = getattr(module, "norm_q", None) is None  # a transformer's own normalises queries and keys
        if plain and path.endswith((".attn1", ".attn2")) and hasattr(module, "set_processor"):
            yield module


def offered(name: str) -> Attend:
    """The function of that name; raises KeyError for one that is not installed here."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    return _INSTALLED[name]()


def installed() -> list[str]:
    """The names of the functions of other packages that can be imported here."""
    return [name for name, package in _PACKAGES.items() if find_spec(package) is not None]


def _xformers() -> Attend:
    from xformers.ops import memory_efficient_attention  # type: ignore[import-not-found]

    return lambda q, k, v: memory_efficient_attention(*(part.transpose(1, 2) for part in (q, k, v))).transpose(1, 2)


def _flash() -> Attend:
    from flash_attn import flash_attn_func  # type: ignore[import-not-found]

    return lambda q, k, v: flash_attn_func(*(part.transpose(1, 2) for part in (q, k, v))).transpose(1, 2)


def _sage() -> Attend:
    from sageattention import sageattn  # type: ignore[import-not-found]

    return lambda q, k, v: sageattn(q, k, v, tensor_layout="HND")


_PACKAGES = {"xformers": "xformers", "flash": "flash_attn", "sage": "sageattention"}
_INSTALLED: dict[str, Callable[[], Attend]] = {"xformers": _xformers, "flash": _flash, "sage": _sage}
