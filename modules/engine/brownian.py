"""Noise from one Brownian path an image: two steps over the same sigmas draw the same noise, however they are cut."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from modules.engine.noise import Shape, Source, generator

KEPT = 64  # tensors of one image's shape, in each of two caches: 1 MB at 256 pixels, 17 MB at 1024


class BrownianNoise:
    """A `NoiseSource` whose draws are increments of a path over [low, high] in sigma, scaled to unit normal.

    ``seeds`` has one seed an image, ``shape`` is one image's (c, h, w). Walks with the same ``low`` and ``high`` draw
    from the same path, whatever their steps: so these are best the full schedule's, also where only its end is walked.
    Source: Li et al. 2020 (arXiv:2001.01328), algorithm 3, as torchsde implements it.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        low: float,
        high: float,
        source: Source = "nv",
        device: torch.device | str = "cpu",
    ) -> None:
        import torchsde

        self.device = torch.device(device)
        self.low, self.high = round(low, 6), round(high, 6)  # as torchsde rounds its ends, and warns beyond them
        # Both halves of every interval ask for the same numbers, and the next step goes down most of the same tree:
        # with both kept, a step takes 18 draws instead of 51.
        self._drawn = lru_cache(KEPT)(lambda seed: generator(source, seed, device).normal(shape).cpu())
        with self._own_numbers():
            self.trees = [
                torchsde.BrownianInterval(
                    low, high, shape, torch.float32, entropy=seed, tol=1e-6, pool_size=24, cache_size=KEPT,
                    halfway_tree=True,
                )
                for seed in seeds
            ]  # fmt: skip

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """Unit normal noise [b c h w] on the device, of the path between two different sigmas within its range."""
        start, end = sorted(min(max(s, self.low), self.high) for s in (sigma, sigma_next))
        with self._own_numbers():
            increments = torch.stack([torch.as_tensor(tree(start, end)) for tree in self.trees])
        sign = 1.0 if sigma < sigma_next else -1.0
        return (increments * (sign / (end - start) ** 0.5)).to(self.device)

    @contextlib.contextmanager
    def _own_numbers(self) -> Iterator[None]:
        """Let torchsde draw from the image's noise source: it has no other place to say so than its own function."""
        from torchsde._brownian import brownian_interval  # its own function; the package has no setting for it

        def drawn(size: Sequence[int], dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
            return self._drawn(int(seed))

        before = brownian_interval._randn
        brownian_interval._randn = drawn
        try:
            yield
        finally:
            brownian_interval._randn = before
