"""Noise: one generator per image, so that a seed means one picture whatever else is made beside it."""

import sys
from collections.abc import Sequence
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


class ImageNoise:
    """The noise of a batch: ``seeds`` one per image, ``shape`` (c, h, w) of one image's latents.

    The first draw of each generator is the image's starting noise; every later draw goes on from there. ``span`` is the
    full schedule's (lowest above 0, highest) sigma, which samplers on a Brownian path draw within; where it is not
    given, that of the walk itself.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        source: Source = "nv",
        device: torch.device | str = "cpu",
        span: tuple[float, float] | None = None,
    ) -> None:
        self.seeds, self.shape, self.span = tuple(seeds), shape, span
        self.source: Source = source
        self.device = torch.device(device)
        self.generators = [generator(source, seed, device) for seed in self.seeds]

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
