"""How the starter's animals and plants are drawn: one large part in the asked colour, small accents, a kind face."""

from __future__ import annotations

import numpy as np

from modules.training.brush import BLUSH, CREAM, INK, LEAF, WOOD, Brush
from modules.training.draw import box, corners, ellipse, smooth
from modules.training.world import rgb


def cat(b: Brush) -> None:
    """Sitting, seen from the front, tail up."""
    tail = b.stroke([(0.3, 0.86), (0.74, 0.74), (0.86, 0.3), (0.72, -0.05), (0.84, -0.36)], 0.24)
    trunk = smooth(
        [(0, -0.2), (0.36, 0.1), (0.5, 0.6), (0.42, 0.96), (0, 1.0), (-0.42, 0.96), (-0.5, 0.6), (-0.36, 0.1)]
    )
    head = smooth([(0, -0.82), (0.38, -0.76), (0.58, -0.42), (0.38, -0.1), (0, -0.02), (-0.38, -0.1), (-0.58, -0.42),
                   (-0.38, -0.76)])  # fmt: skip
    ears = [corners([(s * 0.56, -0.5), (s * 0.52, -1.1), (s * 0.1, -0.76)]) for s in (-1, 1)]
    b.body(tail, trunk, head, *ears)
    b.part(smooth([(0, 0.22), (0.21, 0.5), (0, 0.84), (-0.21, 0.5)]), colour=b.pale(0.32), depth=0)
    for s in (-1, 1):
        b.part(corners([(s * 0.46, -0.7), (s * 0.45, -0.93), (s * 0.28, -0.78)]), colour=BLUSH, depth=0)
        b.eye(s * 0.23, -0.44, 0.1)
    b.dot(0, -0.27, 0.075, rgb("#E8868B"), 0.06)


def fox(b: Brush) -> None:
    """Standing in profile: pointed nose, dark socks, a bushy tail with a white tip."""
    tip = rgb("#C9BBA6") if b.name == "white" else rgb("#FBF6EC")
    for x in (-0.4, 0.22):
        b.part(box(x - 0.02, 0.3, x + 0.17, 0.98), colour=b.tone(0.35, INK), depth=0.05)
    trunk = smooth([(-0.62, -0.15), (-0.2, -0.12), (0.3, -0.14), (0.58, 0.1), (0.5, 0.5), (-0.1, 0.52), (-0.58, 0.42)])
    legs = [box(x - 0.1, 0.2, x + 0.1, 0.99) for x in (-0.5, 0.42)]
    tail = smooth([(0.4, 0.0), (0.68, -0.16), (0.64, -0.5), (0.76, -0.86), (0.98, -1.0), (1.14, -0.72), (1.2, -0.2),
                   (0.98, 0.24), (0.6, 0.42)])  # fmt: skip
    head = smooth([(-1.16, -0.18), (-0.94, -0.42), (-0.8, -0.66), (-0.42, -0.68), (-0.24, -0.34), (-0.36, 0.02),
                   (-0.74, 0.04), (-1.0, -0.06)])  # fmt: skip
    ears = [
        corners([(-0.82, -0.55), (-0.84, -1.08), (-0.5, -0.66)]),
        corners([(-0.56, -0.6), (-0.4, -1.1), (-0.22, -0.46)]),
    ]
    b.body(trunk, *legs, tail, head, *ears)
    b.part(
        smooth([(0.71, -0.66), (0.78, -0.88), (0.98, -1.0), (1.12, -0.76), (1.14, -0.56), (0.94, -0.62)]), colour=tip
    )
    b.part(smooth([(-1.14, -0.16), (-0.84, -0.22), (-0.52, -0.1), (-0.44, 0.02), (-0.74, 0.05), (-1.0, -0.04)]),
                   colour=tip, depth=0)  # fmt: skip
    for x in (-0.5, 0.42):
        b.part(box(x - 0.1, 0.76, x + 0.1, 0.99), colour=rgb("#4A3A38"), depth=0)
    b.dot(-1.1, -0.2, 0.09, INK)
    b.eye(-0.66, -0.34, 0.09)


def rabbit(b: Brush) -> None:
    """Sitting upright, long ears, a round tail."""
    b.part(ellipse(0.52, 0.68, 0.22, 0.22), colour=rgb("#D8CFC4") if b.name == "white" else rgb("#F8F3EA"))
    trunk = smooth(
        [(0, -0.05), (0.34, 0.16), (0.5, 0.62), (0.42, 0.95), (0, 1.0), (-0.42, 0.95), (-0.5, 0.62), (-0.34, 0.16)]
    )
    ears = [
        smooth([(s * 0.08, -0.46), (s * 0.1, -0.86), (s * 0.26, -1.1), (s * 0.42, -0.86), (s * 0.36, -0.4)])
        for s in (-1, 1)
    ]
    feet = [ellipse(s * 0.3, 0.92, 0.24, 0.12) for s in (-1, 1)]
    b.body(trunk, ellipse(0, -0.22, 0.46, 0.38), *ears, *feet)
    b.part(smooth([(0, 0.22), (0.24, 0.52), (0, 0.84), (-0.24, 0.52)]), colour=b.pale(0.42), depth=0)
    for s in (-1, 1):
        b.part(smooth([(s * 0.17, -0.58), (s * 0.18, -0.84), (s * 0.27, -0.98), (s * 0.33, -0.82), (s * 0.28, -0.56)]),
               colour=BLUSH, depth=0)  # fmt: skip
        b.eye(s * 0.2, -0.26, 0.09)
    b.dot(0, -0.1, 0.075, rgb("#E8868B"), 0.06)


def bird(b: Brush) -> None:
    """A round little bird on the wing, beak to the left."""
    trunk = smooth([(-0.86, -0.16), (-0.7, -0.52), (-0.34, -0.58), (0.06, -0.3), (0.5, 0.1), (0.66, 0.3), (0.4, 0.58),
                    (-0.1, 0.74), (-0.6, 0.52), (-0.84, 0.16)])  # fmt: skip
    tail = smooth([(0.34, 0.12), (0.8, -0.04), (1.14, 0.02), (1.02, 0.22), (1.12, 0.42), (0.72, 0.5), (0.4, 0.5)])
    wing = smooth([(-0.3, 0.02), (-0.24, -0.5), (0.12, -0.96), (0.66, -1.06), (0.6, -0.72), (0.66, -0.5), (0.46, -0.3),
                   (0.4, 0.0), (0.08, 0.24)])  # fmt: skip
    b.part(
        corners([(-0.78, -0.3), (-1.18, -0.1), (-0.76, 0.04)]),
        colour=rgb("#B5651F" if b.name == "orange" else "#F0A63A"),
    )
    b.body(trunk, tail, wing)
    b.part(smooth([(-0.8, 0.12), (-0.5, 0.14), (-0.1, 0.5), (-0.2, 0.72), (-0.58, 0.52)]), colour=b.pale(0.45), depth=0)
    b.part(b.stroke([(-0.24, 0.06), (0.04, 0.24), (0.36, 0.04)], 0.09), colour=b.tone(0.4, INK), depth=0)
    b.eye(-0.55, -0.22, 0.1)


def fish(b: Brush) -> None:
    """Swimming to the left, big tail fin."""
    trunk = smooth([(-1.04, 0.04), (-0.72, -0.46), (-0.1, -0.64), (0.44, -0.22), (0.56, 0.04), (0.44, 0.28),
                    (-0.1, 0.68), (-0.72, 0.5)])  # fmt: skip
    tail = smooth([(0.42, 0), (0.74, -0.44), (1.1, -0.62), (0.94, 0), (1.1, 0.62), (0.74, 0.46)])
    fin = smooth([(-0.42, -0.5), (-0.1, -1.0), (0.34, -0.84), (0.3, -0.34)])
    belly = smooth([(-0.2, 0.54), (0.06, 0.96), (0.3, 0.84), (0.24, 0.44)])
    b.body(trunk, tail, fin, belly)
    b.part(b.stroke([(-0.4, -0.42), (-0.28, 0.02), (-0.4, 0.46)], 0.1), colour=b.pale(0.45), depth=0)
    for x, y in ((0.0, -0.22), (0.0, 0.22), (0.26, 0.0)):
        b.dot(x, y, 0.08, b.pale(0.4))
    b.part(
        smooth([(0.66, -0.06), (0.92, -0.34), (0.84, 0), (0.92, 0.34), (0.66, 0.06)]), colour=b.tone(0.22, INK), depth=0
    )
    b.part(ellipse(-0.68, -0.08, 0.17, 0.17), colour=CREAM, depth=0)
    b.dot(-0.71, -0.07, 0.09, INK)


def whale(b: Brush) -> None:
    """Round and smiling, flukes up, a fountain from its head."""
    spout = rgb("#7FB8D8") if b.name != "blue" else rgb("#A9D5EA")
    for s in (-1, 1):
        b.part(b.stroke([(-0.34, -0.34), (-0.36, -0.72), (-0.34 + 0.16 * s, -0.94), (-0.34 + 0.38 * s, -0.72)], 0.15),
               colour=spout, depth=0)  # fmt: skip
    trunk = smooth([(-1.1, 0.24), (-1.0, -0.18), (-0.62, -0.46), (-0.1, -0.48), (0.34, -0.2), (0.62, 0.06),
                    (0.78, -0.16), (0.94, -0.1), (0.96, 0.28), (0.68, 0.68), (0.2, 0.86), (-0.5, 0.88),
                    (-0.98, 0.68)])  # fmt: skip
    flukes = smooth([(0.82, 0.02), (0.6, -0.16), (0.42, -0.5), (0.72, -0.54), (0.9, -0.34), (1.06, -0.56),
                     (1.36, -0.56), (1.2, -0.2), (0.98, 0.0)])  # fmt: skip
    b.body(trunk, flukes)
    b.part(smooth([(-1.06, 0.4), (-0.6, 0.5), (0.0, 0.5), (0.46, 0.74), (0.2, 0.86), (-0.5, 0.88), (-0.96, 0.7)]),
                   colour=b.pale(0.6), depth=0)  # fmt: skip
    b.part(smooth([(-0.18, 0.36), (0.16, 0.32), (0.28, 0.62), (0.06, 0.78)]), colour=b.tone(0.2, INK), depth=0.05)
    b.eye(-0.64, 0.12, 0.1)
    b.dot(-0.42, 0.3, 0.09, BLUSH, 0.06)


def tree(b: Brush) -> None:
    """A round crown on a trunk."""
    b.part(smooth([(-0.14, 0.2), (0.14, 0.2), (0.15, 0.8), (0.3, 1.0), (-0.3, 1.0), (-0.15, 0.8)]), colour=WOOD)
    turn = b.paper.rng.uniform(0, 1)
    rim = [(0.62 * np.cos(t), 0.54 * np.sin(t) - 0.34) for t in np.linspace(0, 2 * np.pi, 9, endpoint=False) + turn]
    b.body(ellipse(0, -0.34, 0.68, 0.6), *[ellipse(x, y, 0.3, 0.27) for x, y in rim])
    for x, y in ((-0.36, -0.56), (0.24, -0.3), (-0.14, -0.04)):
        b.part(smooth([(x - 0.19, y), (x, y - 0.13), (x + 0.19, y), (x, y + 0.0)]), colour=b.pale(0.28), depth=0)


def flower(b: Brush) -> None:
    """Six round petals on a stem with two leaves."""
    b.part(b.stroke([(0.02, 0.0), (0.06, 0.4), (0.0, 0.7), (0.02, 1.0)], 0.13), colour=LEAF)
    b.part(smooth([(0.02, 0.88), (0.18, 0.62), (0.52, 0.56), (0.38, 0.82)]), colour=LEAF)
    b.part(smooth([(0.02, 0.97), (-0.18, 0.74), (-0.5, 0.72), (-0.36, 0.93)]), colour=LEAF)
    turn = b.paper.rng.uniform(0, 1)
    petals = [ellipse(0.44 * np.cos(a), -0.36 + 0.44 * np.sin(a), 0.3, 0.3) for a in turn + np.arange(6) * np.pi / 3]
    b.body(ellipse(0, -0.36, 0.4, 0.4), *petals)
    b.part(
        ellipse(0, -0.36, 0.23, 0.23),
        colour=rgb("#8A5A2B") if b.name in ("yellow", "orange", "white") else rgb("#F4CF57"),
    )


def mushroom(b: Brush) -> None:
    """A wide dotted cap on a pale stem."""
    b.part(
        smooth([(-0.22, 0.0), (0.22, 0.0), (0.22, 0.5), (0.34, 0.92), (0, 1.0), (-0.34, 0.92), (-0.22, 0.5)]),
        colour=CREAM,
    )
    b.body(smooth([(0, -0.96), (0.58, -0.76), (0.96, -0.2), (0.9, 0.16), (0.4, 0.2), (0, 0.15), (-0.4, 0.2),
                   (-0.9, 0.16), (-0.96, -0.2), (-0.58, -0.76)]))  # fmt: skip
    dots = rgb("#D3B99A") if b.name == "white" else rgb("#FBF6EA")
    for x, y, r in ((-0.5, -0.3, 0.15), (0.02, -0.6, 0.16), (0.54, -0.26, 0.14), (0.02, -0.08, 0.12)):
        b.dot(x, y, r, dots, r * 0.9)
    for s in (-1, 1):
        b.dot(s * max(0.1, 0.64 * b.least), 0.5, 0.05, INK)


def apple(b: Brush) -> None:
    """Round with a dent, a stem and a leaf."""
    b.part(b.stroke([(0.0, -0.4), (0.02, -0.7), (0.12, -1.0)], 0.14), colour=WOOD, depth=0)
    b.body(smooth([(0, -0.5), (0.35, -0.66), (0.76, -0.5), (0.9, 0.0), (0.68, 0.64), (0.28, 0.95), (0, 0.86),
                   (-0.28, 0.95), (-0.68, 0.64), (-0.9, 0.0), (-0.76, -0.5), (-0.35, -0.66)]))  # fmt: skip
    b.part(smooth([(0.08, -0.68), (0.28, -0.98), (0.66, -1.0), (0.46, -0.74)]), colour=LEAF)
    b.part(smooth([(-0.6, -0.28), (-0.46, -0.42), (-0.38, -0.28), (-0.5, 0.06)]), colour=b.pale(0.55), depth=0)
