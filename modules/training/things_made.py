"""How the starter's made things and heavenly bodies are drawn: one large part in the asked colour, small accents."""

from __future__ import annotations

import numpy as np

from modules.training.brush import BLUSH, CREAM, GLASS, INK, LAMP, SLATE, WOOD, Brush
from modules.training.draw import box, corners, ellipse, smooth
from modules.training.world import rgb

BRICK = rgb("#9A6A55")
GOLD = rgb("#D9A441")


def house(b: Brush) -> None:
    """A wall with door and windows under a dark roof with a chimney."""
    b.part(box(0.36, -1.0, 0.62, -0.35), colour=BRICK)
    b.body(corners([(-0.8, -0.2), (0.0, -0.66), (0.8, -0.2), (0.8, 0.97), (-0.8, 0.97)], soft=0.02))
    b.part(
        corners([(-1.04, -0.14), (0.0, -0.92), (1.04, -0.14), (0.9, 0.04), (0.0, -0.62), (-0.9, 0.04)], soft=0.03),
        colour=SLATE,
    )
    b.part(smooth([(-0.18, 0.97), (-0.18, 0.5), (0, 0.34), (0.18, 0.5), (0.18, 0.97)], 4), colour=WOOD)
    for x in (-0.5, 0.5):
        b.part(box(x - 0.15, 0.2, x + 0.15, 0.52), colour=LAMP, depth=0)
    b.dot(0, -0.28, 0.12, LAMP)


def lighthouse(b: Brush) -> None:
    """A tapering tower with two pale bands, a lamp room under a cap, on a rock."""
    b.part(smooth([(-0.66, 1.02), (-0.5, 0.88), (0.0, 0.84), (0.52, 0.88), (0.68, 1.02)], 4), colour=rgb("#8C8A88"))
    b.body(corners([(-0.33, -0.5), (0.33, -0.5), (0.53, 0.93), (-0.53, 0.93)], soft=0.02))
    pale = rgb("#C98B6B") if b.name == "white" else CREAM
    h = max(0.15, b.least)
    for y in (-0.2, 0.28):
        w, v = 0.33 + 0.14 * (y + 0.5), 0.33 + 0.14 * (y + 0.5 + h)
        b.part(corners([(-w, y), (w, y), (v, y + h), (-v, y + h)], soft=0.01), colour=pale, depth=0.06)
    b.part(box(-0.21, -0.8, 0.21, -0.5), colour=LAMP, depth=0)
    b.part(box(-0.4, -0.58, 0.4, -0.45), colour=SLATE, depth=0)
    b.part(smooth([(-0.32, -0.76), (-0.16, -0.9), (0, -1.06), (0.16, -0.9), (0.32, -0.76)], 5), colour=SLATE)
    b.part(smooth([(-0.13, 0.93), (-0.13, 0.68), (0, 0.56), (0.13, 0.68), (0.13, 0.93)], 4), colour=WOOD, depth=0)


def boat(b: Brush) -> None:
    """A sailing boat: hull and mainsail in the asked colour, the foresail cream."""
    b.part(box(-0.1, -1.02, 0.03, 0.44), colour=WOOD)
    b.part(
        smooth([(-0.16, -0.66), (-0.15, 0.22), (-0.66, 0.24), (-0.42, -0.16)]),
        colour=rgb("#D9C5A0") if b.name == "white" else CREAM,
    )
    b.body(
        smooth([(0.08, -1.0), (0.46, -0.5), (0.84, 0.22), (0.4, 0.27), (0.08, 0.25)]),
        smooth(
            [
                (-1.02, 0.36),
                (-0.4, 0.41),
                (0.4, 0.41),
                (1.04, 0.34),
                (0.78, 0.82),
                (0.42, 0.95),
                (-0.42, 0.95),
                (-0.76, 0.82),
            ]
        ),
    )
    b.part(b.stroke([(-0.82, 0.56), (-0.3, 0.6), (0.3, 0.6), (0.84, 0.54)], 0.1), colour=b.pale(0.5), depth=0)


def car(b: Brush) -> None:
    """A small round car in profile, on big wheels."""
    roof = smooth([(-0.62, 0.0), (-0.52, -0.52), (-0.28, -0.74), (0.22, -0.74), (0.5, -0.46), (0.7, -0.02)], 6)
    hull = smooth([(-1.08, 0.38), (-1.06, 0.0), (-0.8, -0.14), (0.0, -0.18), (0.7, -0.1), (1.04, 0.08), (1.12, 0.42),
                   (0.98, 0.58), (0, 0.62), (-0.96, 0.58)])  # fmt: skip
    b.body(roof, hull)
    glass = b.tone(0.75, rgb("#B9DCEB"))
    b.part(
        smooth([(-0.48, -0.14), (-0.4, -0.46), (-0.24, -0.58), (-0.08, -0.58), (-0.08, -0.14)], 5),
        colour=GLASS,
        depth=0,
    )
    b.part(smooth([(0.06, -0.14), (0.06, -0.58), (0.18, -0.58), (0.38, -0.4), (0.5, -0.14)], 5), colour=GLASS, depth=0)
    for x in (-0.56, 0.56):
        b.part(ellipse(x, 0.58, 0.31, 0.31), colour=INK, depth=0.05)
        b.dot(x, 0.58, 0.13, rgb("#CBCBC8"))
    b.dot(1.0, 0.2, 0.1, LAMP)
    b.part(b.stroke([(-0.3, 0.16), (-0.2, 0.15), (-0.1, 0.16)], 0.08), colour=glass, depth=0)


def balloon(b: Brush) -> None:
    """A hot air balloon with two pale stripes and a basket."""
    for x in (-0.18, 0.18):
        b.part(b.stroke([(1.5 * x, 0.3), (1.2 * x, 0.5), (x, 0.74)], 0.07), colour=WOOD, depth=0)
    b.body(smooth([(0, -1.02), (0.5, -0.9), (0.8, -0.46), (0.7, 0.02), (0.34, 0.42), (0, 0.5), (-0.34, 0.42),
                   (-0.7, 0.02), (-0.8, -0.46), (-0.5, -0.9)]))  # fmt: skip
    stripe = [
        (0.14, -0.98),
        (0.32, -0.92),
        (0.44, -0.46),
        (0.38, 0.0),
        (0.2, 0.45),
        (0.1, 0.47),
        (0.2, 0.0),
        (0.24, -0.46),
    ]
    for side in (-1, 1):
        b.part(smooth([(side * x, y) for x, y in stripe]), colour=b.pale(0.55), depth=0)
    b.part(box(-0.24, 0.7, 0.24, 1.02), colour=WOOD)
    b.part(box(-0.28, 0.66, 0.28, 0.8), colour=rgb("#A9774A"), depth=0)


def umbrella(b: Brush) -> None:
    """Open, with a scalloped rim and a hooked handle."""
    b.part(b.stroke([(0, -0.3), (0, 0.4), (0.0, 0.8), (0.14, 0.97), (0.32, 0.82)], 0.12), colour=WOOD, depth=0)
    b.part(box(-0.06, -1.02, 0.06, -0.7), colour=WOOD, depth=0)
    dome = [(-1.02, 0.2), (-0.92, -0.3), (-0.56, -0.72), (0.0, -0.88), (0.56, -0.72), (0.92, -0.3), (1.02, 0.2)]
    rim = [(0.84, 0.08), (0.66, 0.02), (0.5, 0.08), (0.33, 0.2), (0.16, 0.07), (0, 0.02), (-0.16, 0.07), (-0.33, 0.2),
           (-0.5, 0.08), (-0.66, 0.02), (-0.84, 0.08)]  # fmt: skip
    b.body(smooth(dome + rim))
    b.part(smooth([(-0.02, -0.82), (0.2, -0.5), (0.3, 0.12), (0.12, 0.03), (-0.1, 0.03), (-0.3, 0.13), (-0.22, -0.5)]),
           colour=b.pale(0.3), depth=0)  # fmt: skip


def lantern(b: Brush) -> None:
    """A round paper lantern with gold caps and a tassel."""
    b.part(b.stroke([(0, -0.66), (0.02, -0.84), (0, -1.04)], 0.1), colour=INK, depth=0)
    b.part(
        b.stroke([(0, 0.6), (0.02, 0.8), (0, 1.02)], 0.2), colour=rgb("#C7503B") if b.name != "red" else GOLD, depth=0
    )
    b.body(smooth([(-0.4, -0.58), (0.0, -0.64), (0.4, -0.58), (0.82, -0.3), (0.92, 0.0), (0.82, 0.3), (0.4, 0.56),
                   (0.0, 0.6), (-0.4, 0.56), (-0.82, 0.3), (-0.92, 0.0), (-0.82, -0.3)]))  # fmt: skip
    for s in (-1, 1):
        b.part(
            b.stroke([(s * 0.24, -0.54), (s * 0.48, -0.02), (s * 0.24, 0.5)], 0.08), colour=b.tone(0.2, INK), depth=0
        )
    b.part(ellipse(0, 0.0, 0.2, 0.34), colour=b.tone(0.55, rgb("#FFF0B8")) if b.name != "white" else LAMP, depth=0)
    b.part(box(-0.42, -0.72, 0.42, -0.52), colour=GOLD, depth=0.05)
    b.part(box(-0.42, 0.48, 0.42, 0.66), colour=GOLD, depth=0.05)


def teapot(b: Brush) -> None:
    """Round-bellied, spout to the left, a ring of a handle."""
    handle = b.stroke([(0.5, -0.36), (0.94, -0.48), (1.1, -0.06), (0.92, 0.36), (0.52, 0.5)], 0.2)
    spout = smooth([(-0.5, 0.5), (-0.82, 0.2), (-1.0, -0.24), (-1.2, -0.38), (-1.02, -0.5), (-0.82, -0.36),
                    (-0.62, -0.06), (-0.44, 0.02)])  # fmt: skip
    belly = smooth([(0, -0.58), (0.44, -0.46), (0.74, -0.04), (0.7, 0.52), (0.36, 0.9), (-0.36, 0.9), (-0.7, 0.52),
                    (-0.74, -0.04), (-0.44, -0.46)])  # fmt: skip
    b.body(handle, spout, belly)
    b.part(box(-0.36, 0.84, 0.36, 0.98), colour=b.tone(0.3, INK), depth=0)
    b.part(
        smooth([(-0.42, -0.5), (-0.24, -0.72), (0, -0.76), (0.24, -0.72), (0.42, -0.5), (0, -0.44)]),
        colour=b.pale(0.3),
        depth=0.05,
    )
    b.dot(0, -0.86, 0.13, GOLD)
    petals = [ellipse(0.17 * np.cos(a), 0.24 + 0.17 * np.sin(a), 0.12, 0.12, 16) for a in np.arange(5) * 2 * np.pi / 5]
    b.part(*petals, colour=rgb("#C9B79F") if b.name == "white" else CREAM, depth=0)
    b.dot(0, 0.24, 0.1, GOLD if b.name != "yellow" else rgb("#C9684A"))


def moon(b: Brush) -> None:
    """A crescent, open to the right, asleep."""
    outer = [(0.94 * np.cos(a) - 0.06, 0.99 * np.sin(a)) for a in np.linspace(0.85, 2 * np.pi - 0.85, 15)]
    inner = [(0.62 * np.cos(a) + 0.38, 0.74 * np.sin(a)) for a in np.linspace(2 * np.pi - 1.5, 1.5, 9)]
    b.body(smooth(outer + inner, 5))
    lash = rgb("#F4F0E6") if b.name == "black" else INK
    b.part(b.stroke([(-0.68, -0.16), (-0.58, -0.06), (-0.46, -0.06), (-0.36, -0.16)], 0.1), colour=lash, depth=0)
    b.dot(-0.62, 0.16, 0.11, BLUSH if b.name not in ("pink", "red") else b.tone(0.3), 0.08)


def star(b: Brush) -> None:
    """Five soft points and a small face."""
    a = -np.pi / 2 + np.arange(10) * np.pi / 5
    r = np.where(np.arange(10) % 2 == 0, 1.02, 0.54)
    b.body(corners(np.stack([r * np.cos(a), r * np.sin(a) + 0.06], 1).tolist(), soft=0.14))
    for s in (-1, 1):
        b.eye(s * 0.2, -0.02, 0.08)
        b.dot(s * 0.34, 0.17, 0.09, BLUSH if b.name not in ("pink", "red") else b.tone(0.35), 0.06)
