"""Tiling: convolutions that see the opposite edge where a picture ends, so that copies of it fit to each other."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Axes = Literal["both", "x", "y"]


@contextmanager
def tiled(networks: Iterable[nn.Module], axes: Axes) -> Iterator[None]:
    """Every 2D convolution in these networks pads circularly along the axes while the block runs, and never after.

    Only the instance's own way to convolve is replaced: weights, forward and whatever adapters have put there stay.
    """
    found = [one for network in networks for one in network.modules() if isinstance(one, nn.Conv2d)]
    padding = [one for one in found if any(_sides(one)) and "_conv_forward" not in vars(one)]
    for one in padding:
        vars(one)["_conv_forward"] = _around(one, axes)
    try:
        yield
    finally:
        for one in padding:
            vars(one).pop("_conv_forward", None)


def wrapped(latents: Tensor, margin: int, axes: Axes) -> Tensor:
    """Latents [b c h w] with ``margin`` pixels of the opposite edge (as far as there are any) on both sides."""
    x = min(margin, latents.shape[-1]) if axes in ("both", "x") else 0
    y = min(margin, latents.shape[-2]) if axes in ("both", "y") else 0
    return functional.pad(latents, (x, x, y, y), mode="circular")


def _sides(convolution: nn.Conv2d) -> tuple[int, int]:
    """Padding above and left, in pixels."""
    if isinstance(convolution.padding, str):
        return 0, 0
    above, left = convolution.padding
    return int(above), int(left)


def _around(convolution: nn.Conv2d, axes: Axes):
    above, left = _sides(convolution)
    across = (left, left, 0, 0) if axes in ("both", "x") else (0, 0, 0, 0)
    down = (0, 0, above, above) if axes in ("both", "y") else (0, 0, 0, 0)
    rest = (left - across[0], left - across[1], above - down[2], above - down[3])

    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for sides in (across, down):
            if any(sides):
                x = functional.pad(x, sides, mode="circular")
        if any(rest):
            x = functional.pad(x, rest)
        return torch.conv2d(x, weight, bias, convolution.stride, 0, convolution.dilation, convolution.groups)

    return convolve
