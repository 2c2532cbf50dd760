"""Latents of the pool's pictures with their captions in the training device's memory; fresh ones push out old."""

# diffusers types its parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

import time

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from modules.training.gallery import moved, signed
from modules.training.networks import LATENT_SCALE
from modules.training.pool import CAPTIONS, FREE, SHAPE_SHARES, SHAPES, SQUARE, Pool, sides
from modules.training.questions import EMPTY, POSITIONS

EMPTY_SHARE = 0.1
FEWEST = 16  # of one shape before it is encoded or trained on


class Latents:
    """For each shape up to `most` times its share: latents [n 4 h/8 w/8], captions [n k 77] and long ones [n 2 77]."""

    def __init__(self, pool: Pool, vae: AutoencoderKL, device: str, most: int) -> None:
        self.pool, self.vae, self.device = pool, vae, device
        self.most = {shape: max(FEWEST, int(most * share)) for shape, share in enumerate(SHAPE_SHARES)}
        self.count = dict.fromkeys(self.most, 0)  # ever taken in
        self.latents, self.captions, self.longs = {}, {}, {}
        for shape, n in self.most.items():
            width, height = sides(pool.layout.size, shape)
            self.latents[shape] = torch.empty((n, 4, height // 8, width // 8), dtype=torch.float16, device=device)
            self.captions[shape] = torch.empty((n, CAPTIONS, POSITIONS), dtype=torch.int32, device=device)
            self.longs[shape] = torch.empty((n, 2, POSITIONS), dtype=torch.int32, device=device)
        self.empty = torch.tensor(EMPTY, dtype=torch.int32, device=device)

    @torch.no_grad()
    def grow(self, at_once: int, random: np.random.Generator) -> None:
        """Encode some ready pictures of one shape, if there are any, and give their slots back to the painters."""
        shape = int(random.choice(len(SHAPES), p=SHAPE_SHARES))
        slots = self.pool.ready(shape)
        if len(slots) < FEWEST:
            return
        slots = slots[: min(at_once, self.most[shape])]
        where = torch.arange(self.count[shape], self.count[shape] + len(slots), device=self.device) % self.most[shape]
        pictures = signed(moved(self.pool.pictures(slots, shape), self.device))
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            means = self.vae.encode(pictures.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        self.latents[shape][where] = (means.float() * LATENT_SCALE).half()
        self.captions[shape][where] = moved(self.pool["captions"][slots].astype(np.int32), self.device)
        longs = self.pool["longs"][slots].astype(np.int32).reshape(-1, 2, POSITIONS)
        self.longs[shape][where] = moved(longs, self.device)
        self.pool["ready"][slots] = FREE
        self.count[shape] += len(slots)

    def fill(self, count: int, at_once: int, random: np.random.Generator, until: float) -> None:
        """Grow until there are `count` squares, or at least some when the time `until` has come."""
        while self.count[SQUARE] < min(count, self.most[SQUARE]):
            before = sum(self.count.values())
            self.grow(at_once, random)
            if time.time() > until and self.count[SQUARE] >= FEWEST:
                return
            if sum(self.count.values()) == before:
                time.sleep(0.02)

    def any_shape(self, random: np.random.Generator) -> int:
        """A shape other than the square, as far as there are pictures of it."""
        others = [shape for shape, n in self.count.items() if shape != SQUARE and n >= FEWEST]
        return int(random.choice(others)) if others else SQUARE

    def batch(self, shape: int, size: int, is_long: bool, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents [b 4 h w] and captions [b 1 77], or [b 2 77] of long ones; one caption in ten is empty."""
        n = min(self.count[shape], self.most[shape])
        chosen = torch.randint(n, (size,), generator=noise, device=self.device)
        if is_long:
            ids = self.longs[shape][chosen]
        else:
            which = torch.randint(CAPTIONS, (size,), generator=noise, device=self.device)
            ids = self.captions[shape][chosen, which][:, None]
        is_empty = torch.rand((size, 1, 1), generator=noise, device=self.device) < EMPTY_SHARE
        return self.latents[shape][chosen].float(), torch.where(is_empty, self.empty, ids).long()

    def spread(self) -> list[float]:
        """The standard deviation of each channel of the first squares: about 1 each."""
        some = self.latents[SQUARE][: min(512, self.count[SQUARE])].float()
        return [round(value, 3) for value in some.std((0, 2, 3)).tolist()]
