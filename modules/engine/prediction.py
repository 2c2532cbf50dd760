"""The edge between the one space that samplers walk and what each network was trained on: eps, v or flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from modules.families.base import Aligned, Diffusion

Cond = Mapping[str, Tensor]
"""What a network is told beside x and t: tensors by name, each with a leading batch dimension of 1 or b."""

Network = Callable[[Tensor, float, Cond], Tensor]
"""``(x in the network's own space, t, cond) -> its raw output``: eps, v, velocity or x0."""

Predict = Callable[[Tensor, float, Cond], Tensor]
"""``(x, sigma, cond) -> x0``, all in the samplers' space."""

LAST_ALPHA = 4.8973451890853435e-08  # sigma 4518.8: what ComfyUI and A1111 leave, for the same pictures
FIRST_FLOW_TIME = 1 - 1e-4  # at t = 1 sigma is infinite; measured: 1 - 1e-6 loses x0 in rounding, 1 - 1e-3 sees it


@dataclass(frozen=True, eq=False)
class DiscreteTimes:
    """The clock of Stable Diffusion and its kin: t from 0 to 999, log sigma linear between them.

    Source: Karras et al. 2022 (arXiv:2206.00364), table 1 and section C.3 for sigma = sqrt((1 - a) / a).
    """

    alphas_cumprod: NDArray[np.float64]
    aligned: Aligned = "sd1"

    @classmethod
    def scaled_linear(
        cls,
        start: float = 0.00085,
        end: float = 0.012,
        steps: int = 1000,
        zero_snr: bool = False,
        aligned: Aligned = "sd1",
    ) -> "DiscreteTimes":
        """Betas linear in their square root: SD 1.x, 2.x and SDXL with the defaults, Kolors with its own.

        ``zero_snr`` shifts and stretches the signal until nothing of it is left at the last time (Lin et al. 2023,
        arXiv:2305.08891, algorithm 1); ``LAST_ALPHA`` is left so that its sigma is a number.
        """
        betas = np.linspace(start**0.5, end**0.5, steps, dtype=np.float64) ** 2
        alphas_cumprod = np.cumprod(1 - betas, dtype=np.float64)
        if zero_snr:
            signal = np.sqrt(alphas_cumprod)
            signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
            alphas_cumprod = np.maximum(signal**2, LAST_ALPHA)
        return cls(alphas_cumprod, aligned)

    is_flow = False

    @cached_property
    def sigmas(self) -> NDArray[np.float64]:
        """Every trained sigma, rising: 0.0292 to 14.6 for SD 1.x."""
        return np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest sigma that a schedule spans."""
        return float(self.sigmas[0]), float(self.sigmas[-1])

    @property
    def ends(self) -> tuple[float, float]:
        """0 and 999, for a thousand trained steps."""
        return 0.0, len(self.alphas_cumprod) - 1.0

    @cached_property
    def _log_sigmas(self) -> NDArray[np.float64]:
        return np.log(self.sigmas)

    def sigma(self, t: float) -> float:
        """The noise at time t (0-999, fractions allowed)."""
        return float(np.exp(np.interp(t, np.arange(len(self.sigmas)), self._log_sigmas)))

    def time(self, sigma: float) -> float:
        """The fractional time at that noise: 0 below the smallest trained sigma, 999 above the largest."""
        return float(np.interp(np.log(sigma), self._log_sigmas, np.arange(len(self.sigmas))))

    def told(self, t: float) -> float:
        """The noise at a time as the network is told it: the inverse of ``time``."""
        return self.sigma(t)


@dataclass(frozen=True, eq=False)
class FlowTimes:
    """The clock of rectified flow: t from 0 to 1 (told as 0 to 1000), bent towards noise by ``shift``.

    Source: Esser et al. 2024 (arXiv:2403.03206), equation 23 for the shift; x_t = (1 - t) x0 + t n.
    """

    shift: float = 1.0
    steps: int = 1000
    aligned: Aligned = "sd1"
    is_flow = True

    @cached_property
    def sigmas(self) -> NDArray[np.float64]:
        """The samplers' sigma at each of ``steps`` equal times, rising."""
        return np.array([self.sigma(t * 1000 / self.steps) for t in range(1, self.steps + 1)])

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest sigma that a schedule spans."""
        return float(self.sigmas[0]), float(self.sigmas[-1])

    @property
    def ends(self) -> tuple[float, float]:
        """The first trained time and 1000, both before the shift."""
        return 1000 / self.steps, 1000.0

    def sigma(self, t: float) -> float:
        """The samplers' sigma at the unshifted time t (0-1000)."""
        bent = self.shift * t / (1000 + (self.shift - 1) * t)
        bent = min(bent, FIRST_FLOW_TIME)
        return bent / (1 - bent)

    def time(self, sigma: float) -> float:
        """The shifted time (0-1000) that the network is told at that noise."""
        return 1000 * sigma / (1 + sigma)

    def told(self, t: float) -> float:
        """The noise at a time as the network is told it: the inverse of ``time``."""
        return t / (1000 - t)


@dataclass(frozen=True, eq=False)
class Ranged:
    """Another clock whose schedules span only sigmas from ``low`` to ``high``."""

    clock: DiscreteTimes | FlowTimes
    low: float
    high: float

    @property
    def is_flow(self) -> bool:
        return self.clock.is_flow

    @property
    def aligned(self) -> Aligned:
        return self.clock.aligned

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """The trained sigmas, all of them: schedules that pick some of these know no ends."""
        return self.clock.sigmas

    @property
    def range(self) -> tuple[float, float]:
        """``low`` and ``high``."""
        return self.low, self.high

    @property
    def ends(self) -> tuple[float, float]:
        """The times of both."""
        if isinstance(self.clock, DiscreteTimes):
            return self.clock.time(self.low), self.clock.time(self.high)
        shift = self.clock.shift
        bent = [self.clock.time(sigma) / 1000 for sigma in self.range]
        low, high = (1000 * t / (shift - (shift - 1) * t) for t in bent)  # undo the shift, which `sigma` applies
        return low, high

    def sigma(self, t: float) -> float:
        """As the clock's."""
        return self.clock.sigma(t)

    def time(self, sigma: float) -> float:
        """As the clock's."""
        return self.clock.time(sigma)

    def told(self, t: float) -> float:
        """As the clock's."""
        return self.clock.told(t)


Times = DiscreteTimes | FlowTimes | Ranged
"""A network's clock: ``sigmas`` it was trained at (rising), ``range``, ``ends`` and ``sigma(t)`` for schedules, and
``time`` for the network."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """How one network speaks: what its output means (``kind``), and its clock (``times``).

    VP (eps, v, x0): x = x_vp * sqrt(1 + sigma^2). Flow: sigma = t / (1 - t), x = x_flow / (1 - t) = x_flow (1 + sigma).
    """

    kind: Literal["eps", "v", "x0", "flow"]
    times: Times
    whole_times: bool = False  # tell the network the nearest whole time

    @classmethod
    def of(cls, diffusion: Diffusion, zero_terminal_snr: bool = False, whole_times: bool = False) -> "Prediction":
        """The edge of a family: what its ``Diffusion`` facts say, as functions; a flow ends in all noise anyway.

        ``whole_times`` matters to networks that were trained at whole times only, so not to a flow's.
        """
        if diffusion.prediction == "flow":
            return cls("flow", FlowTimes(diffusion.shift, diffusion.timesteps, diffusion.aligned))
        times = DiscreteTimes.scaled_linear(
            diffusion.beta_start,
            diffusion.beta_end,
            diffusion.timesteps,
            zero_snr=diffusion.zero_snr or zero_terminal_snr,
            aligned=diffusion.aligned,
        )
        return cls(diffusion.prediction, times, whole_times)

    def stretch(self, sigma: float) -> float:
        """Samplers' x = the network's own x * stretch."""
        return 1 + sigma if self.kind == "flow" else (1 + sigma * sigma) ** 0.5

    def noise_scale(self, sigma: float, unit: bool = False) -> float:
        """What unit noise is multiplied with to start a walk at sigma.

        Plain: sigma. ``unit``: the network's own x has variance 1 there, as DDIM, PLMS and UniPC start.
        """
        return self.stretch(sigma) if unit else sigma

    def leave(self, x: Tensor, sigma: float) -> Tensor:
        """From the samplers' space to the network's own, where latents are decoded; the same thing at sigma 0."""
        return x / self.stretch(sigma)

    def x0(self, network: Network) -> Predict:
        """The network as a function ``(x, sigma, cond) -> x0``: scaled on the way in, converted on the way out.

        Sources: eps and v as Salimans and Ho 2022 (arXiv:2202.00512), appendix D; flow as Esser et al. 2024.
        """
        convert = {"eps": _from_eps, "v": _from_v, "x0": lambda x, sigma, out: out, "flow": _from_flow}[self.kind]

        def predict(x: Tensor, sigma: float, cond: Cond) -> Tensor:
            time = self.times.time(sigma)
            return convert(x, sigma, network(x / self.stretch(sigma), round(time) if self.whole_times else time, cond))

        return predict


def _from_eps(x: Tensor, sigma: float, eps: Tensor) -> Tensor:
    return x - sigma * eps


def _from_v(x: Tensor, sigma: float, v: Tensor) -> Tensor:
    square = 1 + sigma * sigma
    return x / square - v * (sigma / square**0.5)


def _from_flow(x: Tensor, sigma: float, velocity: Tensor) -> Tensor:
    return (x - sigma * velocity) / (1 + sigma)  # x_flow - t v, with velocity = n - x0
