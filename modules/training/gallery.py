"""Square pictures of the pool, with what is known of them, in the memory of the device that trains."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.training.pool import COVERED, SQUARE, Pool
from modules.training.questions import QUESTIONS


class Gallery:
    """Grows to `most` pictures: `pictures` [n h w 3], `marks` [n h/2 w/2] and `facts` [n q], all 8-bit.

    The first `held_back` are never trained on.
    """

    def __init__(self, pool: Pool, device: str, most: int, held_back: int) -> None:
        size, self.held_back = pool.layout.size, held_back
        self.pool, self.most, self.size, self.count = pool, most, size, 0
        self.pictures = torch.empty((most, size, size, 3), dtype=torch.uint8, device=device)
        self.marks = torch.empty((most, size // 2, size // 2), dtype=torch.uint8, device=device)
        self.facts = torch.empty((most, len(QUESTIONS)), dtype=torch.uint8, device=device)
        self.seeds: list[int] = []
        self.taken: set[int] = set()

    def grow(self, at_once: int = 256) -> None:
        """Take in pictures that have become ready, some at a time; the pool keeps them too."""
        ready = self.pool.ready(SQUARE)
        seeds = self.pool["seed"][ready].tolist()
        fresh = [k for k, seed in zip(ready.tolist(), seeds, strict=True) if seed not in self.taken]
        fresh = fresh[: min(at_once, self.most - self.count)]
        if not fresh:
            return
        self.seeds += self.pool["seed"][fresh].tolist()
        self.taken.update(self.seeds[-len(fresh) :])
        where, span = np.asarray(fresh), slice(self.count, self.count + len(fresh))
        device = self.pictures.device
        self.pictures[span] = moved(self.pool.pictures(where, SQUARE), device)
        self.marks[span] = moved(self.pool.marks(where, SQUARE), device)
        self.facts[span] = moved(np.asarray(self.pool["facts"][where]), device)
        self.count += len(fresh)

    def wait(self, count: int) -> None:
        """Grow until there are `count` pictures."""
        while self.count < min(count, self.most):
            self.grow()
            time.sleep(0.02)

    def any(self, batch: int, noise: torch.Generator) -> Tensor:
        """Numbers of pictures to train on, [b]."""
        return torch.randint(self.held_back, self.count, (batch,), generator=noise, device=self.pictures.device)

    def whole(self, chosen: Tensor) -> Tensor:
        """Pictures as [n 3 h w] in -1..1."""
        return signed(self.pictures[chosen])

    def crops(self, size: int, batch: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random pictures [b 3 size size] in -1..1 with weights [b 1 size size]; two of three crops hold a thing.

        Corners lie on the grid of 8 pixels, so that the latents' grid falls as in whole pictures; half are mirrored.
        """
        device, cells = self.pictures.device, self.size // 8

        def below(n: int) -> Tensor:
            return torch.randint(n, (batch,), generator=noise, device=device)

        chosen = self.any(batch, noise)
        held = (self.marks[chosen, ::4, ::4] & COVERED).flatten(1).float()
        chance = 0.67 * held / held.sum(1, keepdim=True).clamp(min=1) + 0.33 / cells**2
        cell = torch.multinomial(chance, 1, generator=noise)[:, 0]
        corner = [(part - below(size // 8)).clamp(0, cells - size // 8) * 8 for part in (cell // cells, cell % cells)]
        rows, columns = (c[:, None] + torch.arange(size, device=device) for c in corner)
        pixels = self.pictures[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        held = self.marks[chosen[:, None, None], rows[:, :, None] // 2, columns[:, None, :] // 2] >= COVERED
        pictures, weights = signed(pixels), 0.6 + 2.0 * held[:, None].float()
        mirrored = (below(2) == 1)[:, None, None, None]
        return torch.where(mirrored, pictures.flip(-1), pictures), torch.where(mirrored, weights.flip(-1), weights)


def moved(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """An array on the device; the device's queue is not waited for."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def signed(pixels: Tensor) -> Tensor:
    """8-bit pictures [n h w 3] as [n 3 h w] in -1..1."""
    return (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
