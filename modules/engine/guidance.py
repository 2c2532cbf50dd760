"""Classifier-free guidance: what the prompt says and what it does not become one denoiser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.engine.denoise import Denoised, Denoiser
from modules.engine.prediction import Cond, Predict


@dataclass(frozen=True)
class Weighted:
    """One AND part of a prompt: its conditioning and its weight."""

    cond: Cond
    weight: float = 1.0


Positive = Callable[[float], Sequence[Weighted]]
"""sigma -> the prompt's AND parts at that noise; asked once a call, so it may also count calls."""

Negative = Callable[[float], Cond]
"""sigma -> the negative prompt at that noise; asked once a call, also where its half is skipped."""


@dataclass
class Upcoming:
    """What one call of the denoiser is about to do, for hooks to edit: set ``scale`` or ``skip``.

    A scale of 1 leaves the unconditional half out, which is half of the work; so does ``skip``, with which the
    prompt's first part stands for the negative prompt, so that AND parts keep their guidance. Where the sampler needs
    that half (``keep_uncond``) it is computed all the same. ``share`` is the part of the walk done before this call,
    0-1, None where an adaptive sampler does not know.
    """

    sigma: float
    call: int
    share: float | None
    scale: float
    skip: bool = False


def _nothing_to_call(*_: object, **__: object) -> Tensor:
    raise RuntimeError("this prediction was not made by a network that could be asked again")


@dataclass
class Guided:
    """One guided prediction on its way to the sampler, for hooks to edit: set ``denoised``.

    All are x0 predictions [b c h w] except ``x``, the noisy input. ``uncond`` is None where it was not computed;
    ``cond`` is the weighted mean of the AND parts. ``scale`` is the CFG scale of this call, ``call`` its number in the
    walk from 0. ``again()`` calls the network once more, say under a changed network or for another noisy input:
    ``again(x, uncond=True)`` returns the x0 prediction of that half (the prompt's without ``uncond``).
    """

    x: Tensor
    sigma: float
    cond: Tensor
    uncond: Tensor | None
    denoised: Tensor
    scale: float = 1.0
    call: int = 0
    again: Callable[..., Tensor] = _nothing_to_call

    def as_eps(self, x0: Tensor) -> Tensor:
        """The noise that this x0 says is in x."""
        return (self.x - x0) / self.sigma

    def from_eps(self, eps: Tensor) -> Tensor:
        """The x0 that this noise leaves."""
        return self.x - self.sigma * eps

    def as_v(self, x0: Tensor) -> Tensor:
        """The v-prediction of this x0: alpha * eps - sigma_vp * x0 (Salimans and Ho 2022, arXiv:2202.00512, D)."""
        square = 1 + self.sigma**2
        return (self.x / square - x0) * (square**0.5 / self.sigma)

    def from_v(self, v: Tensor) -> Tensor:
        """The x0 of this v-prediction."""
        square = 1 + self.sigma**2
        return self.x / square - v * (self.sigma / square**0.5)


def guide(
    predict: Predict,
    positive: Positive,
    negative: Negative,
    scale: float,
    *,
    keep_uncond: bool = False,
    one_by_one: bool = True,
    before: Callable[[Upcoming], None] | None = None,
    after: Callable[[Guided], None] | None = None,
    calls: int | None = None,
    picture_scale: float = 1.0,
) -> Denoiser:
    """``uncond + scale * sum of w_i (cond_i - uncond)`` as a denoiser (Ho and Salimans 2022, arXiv:2207.12598, eq. 6).

    The unconditional half is skipped where it weighs nothing (scale 1 with weights that sum to 1) unless
    ``keep_uncond``. Conditionings of equal shapes share one network call, others have their own. ``one_by_one`` calls
    the network for one picture at a time, so that a picture in a batch equals the same picture alone, bit for bit.
    ``before`` may edit the scale of each call, of which there will be ``calls`` (None: unknown), ``after`` each result.
    With a ``picture_scale`` other than 1 the network's picture
    beside x has a guidance of its own: Brooks et al. 2022 (arXiv:2211.09800), equation 3.
    """
    count = 0

    def denoiser(x: Tensor, sigma: float) -> Denoised:
        nonlocal count
        upcoming = Upcoming(sigma, count, count / calls if calls else None, scale)
        count += 1
        if before is not None:
            before(upcoming)
        now = upcoming.scale
        parts, empty = positive(sigma), negative(sigma)
        total = sum(part.weight for part in parts)
        without = [_blind(empty)] if picture_scale != 1.0 and "beside" in empty else []
        skip = upcoming.skip and not keep_uncond and not without
        wants_uncond = keep_uncond or bool(without) or (now * total != 1.0 and not skip)
        conds = [part.cond for part in parts] + ([empty] if wants_uncond else []) + without
        predicted = predict_each(predict, x, sigma, conds, one_by_one)
        blind = predicted.pop() if without else None
        uncond = predicted.pop() if wants_uncond else None
        summed = _summed(predicted, parts)
        denoised = _combine(summed, total, predicted[0] if skip else uncond, now)
        if blind is not None and uncond is not None:
            denoised = denoised + (picture_scale - 1) * (uncond - blind)

        def again(other: Tensor | None = None, *, uncond: bool = False) -> Tensor:
            asked = [Weighted(empty)] if uncond else parts
            answers = predict_each(
                predict, x if other is None else other, sigma, [part.cond for part in asked], one_by_one
            )
            return _mean(_summed(answers, asked), sum(part.weight for part in asked))

        told = 1.0 if skip else now  # what guidance there was
        guided = Guided(x, sigma, _mean(summed, total), uncond, denoised, told, upcoming.call, again)
        if after is not None:
            after(guided)
        return Denoised(guided.denoised, guided.cond, guided.uncond)

    return denoiser


def with_beside(positive: Positive, negative: Negative, seen: Tensor) -> tuple[Positive, Negative]:
    """The same, each conditioning with what the network sees beside x [1 c h w]."""

    def conds(sigma: float) -> list[Weighted]:
        return [Weighted({**part.cond, "beside": seen}, part.weight) for part in positive(sigma)]

    return conds, lambda sigma: {**negative(sigma), "beside": seen}


def along(first: tuple[Positive, Negative], second: tuple[Positive, Negative]) -> tuple[Positive, Negative]:
    """The first, whose every call is also counted by the second: so that one can take over in mid-schedule."""

    def positive(sigma: float) -> Sequence[Weighted]:
        second[0](sigma)
        return first[0](sigma)

    def negative(sigma: float) -> Cond:
        second[1](sigma)
        return first[1](sigma)

    return positive, negative


def _blind(cond: Cond) -> Cond:
    """The same without the picture beside x."""
    return {**cond, "beside": torch.zeros_like(cond["beside"])}


def _summed(predicted: Sequence[Tensor], parts: Sequence[Weighted]) -> Tensor:
    return torch.stack([p * part.weight for p, part in zip(predicted, parts, strict=True)]).sum(0)


def _mean(summed: Tensor, total: float) -> Tensor:
    return summed / total if total not in (0.0, 1.0) else summed


def _combine(summed: Tensor, total: float, uncond: Tensor | None, scale: float) -> Tensor:
    if uncond is None or scale * total == 1.0:
        return summed * scale if scale != 1.0 else summed
    return uncond + scale * (summed - total * uncond)


def predict_each(predict: Predict, x: Tensor, sigma: float, conds: Sequence[Cond], one_by_one: bool) -> list[Tensor]:
    """x0 for each conditioning, in order; those of equal shapes in one call, for one picture at a time if asked."""
    if one_by_one and len(x) > 1:
        pictures = [
            predict_each(predict, x[i : i + 1], sigma, [_of_picture(cond, i) for cond in conds], False)
            for i in range(len(x))
        ]
        return [torch.cat(parts) for parts in zip(*pictures, strict=True)]
    answers: dict[int, Tensor] = {}
    for group in _equal_shapes(conds):
        joined = {name: torch.cat([_repeated(conds[i][name], len(x)) for i in group]) for name in conds[group[0]]}
        answers |= zip(group, predict(x.repeat(len(group), 1, 1, 1), sigma, joined).chunk(len(group)), strict=True)
    return [answers[i] for i in range(len(conds))]


def _equal_shapes(conds: Sequence[Cond]) -> list[list[int]]:
    groups: dict[tuple, list[int]] = {}
    for i, cond in enumerate(conds):
        groups.setdefault(tuple((name, value.shape[1:]) for name, value in sorted(cond.items())), []).append(i)
    return list(groups.values())


def _of_picture(cond: Cond, i: int) -> Cond:
    return {name: value[i : i + 1] if len(value) > 1 else value for name, value in cond.items()}


def _repeated(value: Tensor, count: int) -> Tensor:
    return value.expand(count, *value.shape[1:]) if len(value) == 1 else value
