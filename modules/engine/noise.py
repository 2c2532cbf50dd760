"""Noise: one generator per image, so that a seed means one picture whatever else is made beside it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.engine.denoise import NoiseSource

Source = Literal["nv", "cpu", "gpu"]
Shape = tuple[int, int, int]

AT_ONCE = 16384  # values whose words stay in the cache: 65,536 take 2.9 ms so, 5.0 ms all together


class Generator(Protocol):
    """One image's source of noise: every call draws on."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Unit normal float32 noise of that shape."""
        ...


class PhiloxGenerator:
    """The numbers that ``torch.randn`` draws on an NVIDIA GPU, made on the CPU: one seed, one picture, on any machine.

    Each value has its own counter (number of the draw, 0, index of the value, 0) under the seed as key, and is the
    sine half of Box and Muller. So it is in CUDA for all tensors that fit on the GPU in one go (some 200,000 values).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draws = 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Unit normal float32 noise of that shape."""
        values = np.empty(int(np.prod(shape)), dtype=np.float32)
        key = np.array([self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF], dtype=np.uint32)
        for start in range(0, len(values), AT_ONCE):
            part = values[start : start + AT_ONCE]
            counter = np.zeros((4, len(part)), dtype=np.uint32)
            counter[0] = self.draws
            counter[2] = np.arange(start, start + len(part), dtype=np.uint32)
            words = philox_4x32(counter, key)
            part[:] = box_muller(words[0], words[1])
        self.draws += 1
        return torch.from_numpy(values.reshape(tuple(shape)))


class TorchGenerator:
    """torch's own generator on one device: Mersenne Twister on the CPU, Philox on a GPU."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Unit normal float32 noise of that shape, on the generator's device."""
        return torch.randn(tuple(shape), generator=self.generator, device=self.device)


def philox_4x32(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Ten rounds of Philox 4x32 on counters [4, n] under one key [2] -> random words [4, n].

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3 and table 2.
    """
    c0, c1, c2, c3 = np.ascontiguousarray(counter)
    k0, k1 = (int(k) for k in key)
    low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
    for _ in range(10):
        product0 = np.multiply(c0, 0xD2511F53, dtype=np.uint64).view(np.uint32).reshape(-1, 2)
        product1 = np.multiply(c2, 0xCD9E8D57, dtype=np.uint64).view(np.uint32).reshape(-1, 2)
        c0, c1, c2, c3 = (
            product1[:, high] ^ c1 ^ np.uint32(k0),
            product1[:, low],
            product0[:, high] ^ c3 ^ np.uint32(k1),
            product0[:, low],
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def box_muller(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Two random words -> one unit normal each, from the middles of 2^32 cells as cuRAND takes them."""
    radius = np.sqrt(-2 * np.log((a.astype(np.float64) + 0.5) / 2**32))
    return (radius * np.sin((b.astype(np.float64) + 0.5) * (2 * np.pi / 2**32))).astype(np.float32)


def generator(source: Source, seed: int, device: torch.device | str = "cpu") -> Generator:
    """The generator of one image. "gpu" draws on ``device`` itself; without an accelerator there it is "nv"."""
    if source == "cpu":
        return TorchGenerator(seed)
    if source == "gpu" and torch.device(device).type != "cpu":
        return TorchGenerator(seed, device)
    return PhiloxGenerator(seed)


@dataclass(frozen=True)
class Mixture:
    """What is mixed into each image's first noise: ``strength`` (0-1) of the noise of these ``seeds``."""

    seeds: tuple[int, ...]
    strength: float


class ImageNoise:
    """The noise of a batch: ``seeds`` one per image, ``shape`` (c, h, w) of one image's latents.

    `first` gives the images' starting noise; every later draw of each generator goes on from there. ``span`` is the
    full schedule's (lowest above 0, highest) sigma, which samplers on a Brownian path draw within; where it is not
    given, that of the walk itself. ``mixture`` varies the starting noise, ``drawn_at`` (c, h, w) is the shape that it
    is drawn at where that is another, and ``delta`` is added to the seeds of all draws after it (ENSD).
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        source: Source = "nv",
        device: torch.device | str = "cpu",
        span: tuple[float, float] | None = None,
        *,
        mixture: Mixture | None = None,
        drawn_at: Shape | None = None,
        delta: int = 0,
    ) -> None:
        self.seeds, self.shape, self.span = tuple(seeds), shape, span
        self.source: Source = source
        self.device = torch.device(device)
        self.generators = [generator(source, seed, device) for seed in self.seeds]
        self.mixture, self.drawn_at, self.delta = mixture, drawn_at or shape, delta

    def first(self) -> Tensor:
        """The starting noise [b c h w]: the first draw of each generator, varied and laid out as was asked for."""
        made = [self._first(index) for index in range(len(self.seeds))]
        if self.delta:
            self.generators = [generator(self.source, seed + self.delta, self.device) for seed in self.seeds]
        return torch.stack(made).to(self.device)

    def _first(self, index: int) -> Tensor:
        at_own_size = self.drawn_at == self.shape
        own = self.generators[index] if at_own_size else generator(self.source, self.seeds[index], self.device)
        noise = own.normal(self.drawn_at)
        if self.mixture is not None and self.mixture.strength > 0:
            other = generator(self.source, self.mixture.seeds[index], self.device).normal(self.drawn_at)
            noise = slerp(self.mixture.strength, noise, other)
        if at_own_size:
            return noise
        return laid_into(noise, self.generators[index].normal(self.shape))

    def draw(self) -> Tensor:
        """Unit normal noise [b c h w], float32, on the device."""
        return torch.stack([one.normal(self.shape).to(self.device) for one in self.generators])

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """Fresh noise for a step: independent of the interval."""
        return self.draw()

    def on_path(self, sigmas: Sequence[float]) -> NoiseSource:
        """The same images' noise as increments of one Brownian path an image, for samplers of the SDE."""
        from modules.engine.brownian import BrownianNoise

        low, high = self.span or (min(sigma for sigma in sigmas if sigma > 0), max(sigmas))
        return BrownianNoise(self.seeds, self.shape, low, high, self.source, self.device)


def slerp(share: float, low: Tensor, high: Tensor) -> Tensor:
    """From one noise [c h w] to another along the arc between them (Shoemake 1985), as A1111 mixes variations.

    Each column of pixels (dim 1) is turned by its own angle. Where the two are all but equal A1111 mixes them along a
    line the wrong way round, ``share`` of ``low``: kept, since that is the picture people know.
    """
    cosine = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if float(cosine.mean()) > 0.9995:
        return low * share + high * (1 - share)
    angle = torch.acos(cosine)
    whole = torch.sin(angle)
    of_low = (torch.sin((1 - share) * angle) / whole).unsqueeze(1)
    of_high = (torch.sin(share * angle) / whole).unsqueeze(1)
    return of_low * low + of_high * high


def laid_into(noise: Tensor, ground: Tensor) -> Tensor:
    """``ground`` [c h w] with the middle of ``noise`` [c h' w'] in its middle, whichever of them is larger."""
    laid = ground.clone()
    here, there = zip(*(_middle(laid.shape[axis], noise.shape[axis]) for axis in (1, 2)), strict=True)
    laid[:, here[0], here[1]] = noise[:, there[0], there[1]]
    return laid


def _middle(length: int, other: int) -> tuple[slice, slice]:
    """Where the middles of two lengths lie on each other; as A1111 counts, so an odd excess leaves one out."""
    offset = (length - other) // 2
    shared = other if offset >= 0 else other + 2 * offset
    return slice(max(offset, 0), max(offset, 0) + shared), slice(max(-offset, 0), max(-offset, 0) + shared)
