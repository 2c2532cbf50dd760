"""Renders made once and kept in memory-mapped files, so that training never waits for the paint box."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modules.training.scenes import paint, sample_scene
from modules.training.world import Scene

CHUNK = 250


@dataclass(frozen=True)
class Renders:
    """Scenes `first` to `first + len(pixels)`: pixels [n h w 3] and the things' masks [n h w], both 8-bit."""

    first: int
    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def scene(self, index: int) -> Scene:
        """The scene behind one picture."""
        return sample_scene(self.first + index)


def _chunk(first: int, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    os.nice(0)
    pixels = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    for k in range(count):
        painted = paint(sample_scene(first + k), size)
        pixels[k] = painted.pixels
        masks[k] = (np.maximum.reduce(painted.covered) * 255).astype(np.uint8)
    return pixels, masks


def renders(folder: Path, first: int, count: int, size: int, workers: int = 2) -> Renders:
    """The renders of scenes `first` to `first + count`, painted into `folder` where they are not there yet.

    Work that was broken off is taken up where it stopped: every chunk is a file of its own until all are there.
    """
    name = f"{size}-{first}-{count}"
    done = [folder / f"{name}-pixels.npy", folder / f"{name}-masks.npy"]
    if not all(path.exists() for path in done):
        folder.mkdir(parents=True, exist_ok=True)
        partial = [path.with_suffix(".part") for path in done]
        shapes = [(count, size, size, 3), (count, size, size)]
        sheets = [np.lib.format.open_memmap(p, "w+", np.uint8, s) for p, s in zip(partial, shapes, strict=True)]
        starts = range(0, count, CHUNK)
        counts = [min(CHUNK, count - s) for s in starts]
        with ProcessPoolExecutor(workers) as pool:
            made = pool.map(_chunk, [first + s for s in starts], counts, [size] * len(counts))
            for start, (pixels, masks) in zip(starts, made, strict=True):
                sheets[0][start : start + len(pixels)] = pixels
                sheets[1][start : start + len(masks)] = masks
        for sheet, path, to in zip(sheets, partial, done, strict=True):
            sheet.flush()
            path.replace(to)
    return Renders(first, *(np.load(path, mmap_mode="r") for path in done))
