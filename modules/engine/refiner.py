"""The refiner: a second model that takes a walk over for good once most of the noise is gone."""

from collections.abc import Callable

from torch import Tensor

from modules.engine.denoise import Denoised, Denoiser
from modules.engine.prediction import Times


def switching(first: Denoiser, second: Denoiser, is_due: Callable[[float], bool]) -> Denoiser:
    """``first`` until ``is_due`` says so of a sigma, from then on ``second``, also where a sampler climbs up again."""
    switched = False

    def denoiser(x: Tensor, sigma: float) -> Denoised:
        nonlocal switched
        switched = switched or is_due(sigma)
        return (second if switched else first)(x, sigma)

    return denoiser


def past(share: float, times: Times) -> Callable[[float], bool]:
    """Whether so much of the network's time is walked: as A1111 counts, by the trained sigma nearest to the present."""

    def is_due(sigma: float) -> bool:
        if times.is_flow:
            return 1 - times.time(sigma) / 1000 >= share
        last = len(times.sigmas) - 1
        nearest = int(abs(times.sigmas - sigma).argmin())
        return (last - nearest) / (last + 1) >= share

    return is_due
