"""What an adapter's tensors do to a weight: every kind's arithmetic, from its paper to one matrix of differences.

A change is computed in float32. ``group`` holds a module's tensors by role (see `modules.library.adapterkeys`), and
``base`` the weight as the checkpoint has it [out in], [out in h w] or [out].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from modules.library.adapterkeys import kind

Tensors = Mapping[str, Tensor]


class LowRank(NamedTuple):
    """A change as two factors: ``up`` [out r] times ``down`` [r in*h*w], strength and scale in ``up``."""

    up: Tensor
    down: Tensor


def low_rank(group: Tensors, strength: float, rank: int | None = None) -> LowRank | None:
    """Two factors for what can be said so (LoRA and LoCon; Hu et al. 2021, arXiv:2106.09685), None for the rest.

    ``rank`` uses only the first so many of the ranks.
    """
    if kind(group) not in ("LoRA", "LoCon"):
        return None
    up, down = group["up"].float().flatten(1), group["down"].float()
    scale = strength * _scale(group, down.shape[0])
    if "mid" in group:  # the core of a Tucker decomposition, from the ranks of the input to those of the output
        mid = group["mid"].float()
        down = torch.einsum("rshw,si->rihw", mid, down.flatten(1))
    down = down.flatten(1)
    return LowRank(up[:, :rank] * scale, down[:rank])


def weight_change(group: Tensors, base: Tensor, strength: float, rank: int | None = None) -> Tensor | None:
    """What is added to the weight, in its shape and in float32; None where the group changes only a bias.

    Raises ValueError where tensors do not fit each other or the weight.
    """
    base = base.float()
    made = low_rank(group, strength, rank)
    if made is not None:
        return _as_weight(made.up @ made.down, base)
    compute = _KINDS.get(kind(group))
    if compute is None:
        return None
    change = compute(group, base, rank)
    return None if change is None else strength * change


def bias_change(group: Tensors, strength: float) -> Tensor | None:
    """What is added to the bias [out]; None where nothing is."""
    for role in ("diff_b", "up_bias"):
        if role in group:
            return strength * group[role].float()
    return None


def _scale(group: Tensors, rank: int) -> float:
    """alpha / rank, 1 without an alpha; what trainers write beside it counts too."""
    scale = float(group["alpha"]) / rank if "alpha" in group and rank else 1.0
    for role in ("scale", "scalar"):
        if role in group:
            scale *= float(group[role])
    return scale


def _as_weight(change: Tensor, base: Tensor) -> Tensor:
    """In the weight's shape; what is made for fewer input channels changes only those (a model made for inpainting)."""
    if change.numel() == base.numel():
        return change.reshape(base.shape)
    if base.dim() == 4 and change.numel() % (base.shape[0] * base.shape[2] * base.shape[3]) == 0:
        channels = change.numel() // (base.shape[0] * base.shape[2] * base.shape[3])
        if channels < base.shape[1]:
            whole = torch.zeros_like(base)
            whole[:, :channels] = change.reshape(base.shape[0], channels, *base.shape[2:])
            return whole
    raise ValueError(f"a change of {tuple(change.shape)} does not fit a weight of {tuple(base.shape)}")


def _dora(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """Liu et al. 2024, arXiv:2402.09353, eq. 5: the direction is changed, and its length is a weight of its own.

    Lengths are taken by output where the magnitudes are one an output, else by input, as older trainers wrote them.
    """
    plain = {role: tensor for role, tensor in group.items() if role != "dora"}
    made = low_rank(plain, 1.0, rank)
    if made is None:
        raise ValueError("magnitudes of a change that has no two factors")
    merged = base + _as_weight(made.up @ made.down, base)
    magnitude = group["dora"].float()
    by_output = magnitude.shape[0] == base.shape[0] and magnitude.numel() == base.shape[0]
    rows = merged.flatten(1) if by_output else merged.transpose(0, 1).flatten(1)
    length = rows.norm(dim=1)
    along = 0 if by_output else 1
    shape = [1] * base.dim()
    shape[along] = -1
    ratio = magnitude.flatten() / length.clamp_min(torch.finfo(torch.float32).eps)
    return merged * ratio.reshape(shape) - base


def _hadamard(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """LoHa: the product, element by element, of two low-rank matrices (Hyeon-Woo et al. 2021, arXiv:2108.06098)."""
    first = _factors(group, "hada_w1_a", "hada_w1_b", "hada_t1")
    second = _factors(group, "hada_w2_a", "hada_w2_b", "hada_t2")
    return _as_weight(first * second * _scale(group, group["hada_w1_b"].shape[0]), base)


def _kronecker(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """LoKr: a Kronecker product of two matrices, each whole or of low rank (Yeh et al. 2023, arXiv:2309.14859)."""
    left = group["lokr_w1"].float() if "lokr_w1" in group else _factors(group, "lokr_w1_a", "lokr_w1_b", "")
    if "lokr_w2" in group:
        right = group["lokr_w2"].float()
    else:
        right = _factors(group, "lokr_w2_a", "lokr_w2_b", "lokr_t2")
    ranks = [group[role].shape[0] for role in ("lokr_w1_b", "lokr_w2_b") if role in group]
    plain = group if ranks else {role: tensor for role, tensor in group.items() if role != "alpha"}
    scale = _scale(plain, ranks[-1] if ranks else 1)
    if right.dim() == 4:
        left = left[:, :, None, None]
    return _as_weight(torch.kron(left, right.contiguous()) * scale, base)


def _factors(group: Tensors, a: str, b: str, core: str) -> Tensor:
    """a @ b, or with a core [r r h w] the Tucker product of a [r out] and b [r in]."""
    first, second = group[a].float(), group[b].float()
    if core in group:
        return torch.einsum("rshw,ro,si->oihw", group[core].float(), first, second)
    return first @ second.flatten(1) if second.dim() > 2 else first @ second


def _whole(group: Tensors, base: Tensor, rank: int | None) -> Tensor | None:
    return _as_weight(group["diff"].float(), base) if "diff" in group else None


def _orthogonal(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """OFT: outputs are turned in blocks (Qiu et al. 2023, arXiv:2306.07280), by Cayley's (I + Q)(I - Q)^-1.

    Q is the file's matrix less its transpose, at most ``alpha * outputs`` long where there is an alpha.
    """
    blocks = group["oft"].float()
    blocks = blocks[None] if blocks.dim() == 2 else blocks
    count, size, _ = blocks.shape
    if count * size != base.shape[0]:
        raise ValueError(f"{count} blocks of {size} do not make {base.shape[0]} outputs")
    skew = blocks - blocks.transpose(1, 2)
    if "alpha" in group:
        limit, length = float(group["alpha"]) * base.shape[0], float(skew.norm())
        if limit > 0 and length > limit:
            skew = skew * (limit / length)
    unit = torch.eye(size)
    turn = (unit + skew) @ torch.linalg.inv(unit - skew)
    turned = torch.einsum("knm,kn...->km...", turn, base.reshape(count, size, *base.shape[1:])).reshape(base.shape)
    if "rescale" in group:
        turned = turned * group["rescale"].float().reshape(-1, *[1] * (base.dim() - 1))
    return turned - base


def _general(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """GLoRA (Chavan et al. 2023, arXiv:2306.07967): a part of the weight itself, and a low-rank matrix beside it."""
    a1, a2, b1, b2 = (group[role].float().flatten(1) for role in ("a1", "a2", "b1", "b2"))
    flat = base.flatten(1)
    older = b2.shape[1] == b1.shape[0] == a1.shape[0] == a2.shape[1]
    newer = b2.shape[0] == b1.shape[1] == a1.shape[1] == a2.shape[0]
    if newer and not (older and a2.shape[0] == base.shape[0] == flat.shape[1]):
        return _as_weight((b1 @ b2 + flat @ a1 @ a2) * _scale(group, a2.shape[0]), base)
    return _as_weight((b2 @ b1 + flat @ a2 @ a1) * _scale(group, a1.shape[0]), base)


def _scaled(group: Tensors, base: Tensor, rank: int | None) -> Tensor:
    """IA3: inputs or outputs are scaled (Liu et al. 2022, arXiv:2205.05638)."""
    scale = group["ia3"].float().flatten()
    shape = [1] * base.dim()
    shape[1 if bool(group["on_input"]) else 0] = -1
    return base * scale.reshape(shape)


_KINDS: Mapping[str, Callable[[Tensors, Tensor, int | None], Tensor | None]] = {
    "DoRA": _dora, "LoHa": _hadamard, "LoKr": _kronecker, "Full": _whole, "OFT": _orthogonal, "GLoRA": _general,
    "IA3": _scaled,
}  # fmt: skip
