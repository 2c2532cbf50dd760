"""How fast the starter's renders are made, and how far its styles and lights move named colours.

`python benchmarks/starter_renders.py --size 256 --count 200`: milliseconds of one core for each style over scenes
nobody chose, then the largest colour difference between a main part's median and its name, and the smallest share of
a thing that its main part has, over things, colours and styles on six grounds
(all of them with `--every 1`, which takes ten minutes).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules.training.lab import lab
from modules.training.scenes import colour_allowed, paint, sample_scene
from modules.training.world import PAINT, STYLES, THINGS, Placed, Scene

GROUNDS = (("green", None, "day"), ("pink", None, "day"), (None, "beach", "day"), (None, "desert", "sunset"),
           (None, "mountains", "night"), (None, "street", "fog"))  # fmt: skip


def speed(size: int, count: int) -> None:
    """Milliseconds of processor time for each picture, as sampled and by style."""
    scenes = [sample_scene(seed) for seed in range(count)]
    for scene in scenes[:20]:
        paint(scene, size)  # the textures are made once
    for name in (None, *(style.name for style in STYLES)):
        began = time.process_time()
        for scene in scenes:
            paint(replace(scene, style=name) if name else scene, size)
        print(f"{name or 'as sampled':13} {(time.process_time() - began) / count * 1000:6.1f} ms")


def colours(size: int, every: int) -> None:
    """The worst colours and shares by style."""
    for style in STYLES:
        worst, least = (0.0, ""), (1.0, "")
        for (k, (thing, colour)), (tint, place, light) in product(enumerate(product(THINGS, PAINT)), GROUNDS):
            if k % every or colour == tint or not colour_allowed(colour, tint, place, light, style.name):
                continue
            placed = Placed(thing.name, colour, 0.5, 0.5, 0.25)
            painted = paint(Scene((placed,), tint, place, light, 1, None, style.name), size)
            main = painted.main[0] > 0.9
            seen = lab(np.median(painted.pixels[main].astype(float) / 255, axis=0))
            what = f"{colour} {thing.name}, {place or tint}, {light}"
            worst = max(worst, (float(np.linalg.norm(seen - lab(PAINT[colour]))), what))
            least = min(least, (float(main.sum() / (painted.covered[0] > 0.5).sum()), what))
        print(
            f"{style.name:13} Delta E at most {worst[0]:4.1f} ({worst[1]}); main part from {least[0]:.2f} ({least[1]})"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--every", type=int, default=7, help="measure each so manieth thing with colour")
    given = parser.parse_args()
    speed(given.size, given.count)
    colours(given.size, given.every)
