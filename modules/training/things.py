"""How each thing of the starter's world is drawn: one large part in the asked colour, and small accents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from modules.training.draw import Floats, Paper, Point, corners, ellipse, smooth
from modules.training.world import Rgb, rgb

INK = rgb("#2B2730")
WOOD = rgb("#7A5136")
CREAM = rgb("#F3E6CC")
LEAF = rgb("#6FA052")
SLATE = rgb("#5B4A55")


class Brush:
    """Draws one thing in its own coordinates: -1..1 across its box, y downwards, placed on the paper by x, y and r."""

    def __init__(self, paper: Paper, colour: Rgb, name: str, at: tuple[float, float, float], flip: bool) -> None:
        self.paper, self.colour, self.name = paper, colour, name
        self.x, self.y, self.r = at
        self.side = -1.0 if flip else 1.0
        self.tilt = float(paper.rng.normal(0, 0.04))
        self.covered: Floats = np.zeros((paper.size, paper.size), np.float32)
        self.main: Floats = np.zeros_like(self.covered)

    def place(self, outline: Floats, wobble: float = 0.014) -> Floats:
        """The outline, wobbled, tilted and moved to its place on the paper."""
        p = self.paper.wobble(outline, wobble) * np.array([self.side, 1.0], np.float32)
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        turned = p @ np.array([[c, s], [-s, c]], np.float32)
        return turned * self.r + np.array([self.x, self.y], np.float32)

    def body(self, *outlines: Floats) -> None:
        """The large part in the asked colour; white and black ones get a rim so that they stand out anywhere."""
        mask = self.paper.mask([self.place(o) for o in outlines])
        if self.name in ("white", "black"):
            rim = rgb("#A79F98") if self.name == "white" else rgb("#77717D")
            self.paper.fill(self._grown(mask), rim, 0.85)
        depth = {"white": 0.05, "black": 0.16}.get(self.name, 0.13)
        self.paper.shaded(mask, self.colour, depth)
        self.main = np.maximum(self.main, mask)
        self.covered = np.maximum(self.covered, mask)

    def part(self, *outlines: Floats, colour: Rgb, depth: float = 0.08, wobble: float = 0.01) -> None:
        """A fixed accent: it does not take the asked colour."""
        mask = self.paper.mask([self.place(o, wobble) for o in outlines])
        self.paper.shaded(mask, colour, depth)
        self.main *= 1 - mask
        self.covered = np.maximum(self.covered, mask)

    def tone(self, share: float, towards: Rgb = (1.0, 1.0, 1.0)) -> Rgb:
        """The asked colour moved by `share` towards another."""
        r, g, b = (c + (t - c) * share for c, t in zip(self.colour, towards, strict=True))
        return r, g, b

    def stroke(self, points: Sequence[Point], width: float) -> Floats:
        """A band of `width` along an open curve through `points`, with round bends."""
        p = np.asarray(points, np.float32)
        along = np.gradient(p, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1)
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
        return smooth(np.concatenate([p + across * width / 2, (p - across * width / 2)[::-1]]).tolist(), 6)

    def _grown(self, mask: Floats) -> Floats:
        pixels = max(3, round(self.paper.size * 0.018) | 1)
        picture = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(pixels))
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255


def cat(b: Brush) -> None:
    """Sitting, seen from the front, tail up."""
    tail = b.stroke([(0.35, 0.85), (0.72, 0.72), (0.82, 0.3), (0.68, -0.05), (0.8, -0.32)], 0.22)
    trunk = smooth(
        [(0, -0.2), (0.36, 0.1), (0.5, 0.6), (0.42, 0.95), (0, 1.0), (-0.42, 0.95), (-0.5, 0.6), (-0.36, 0.1)]
    )
    head = smooth(
        [
            (0, -0.82),
            (0.38, -0.76),
            (0.55, -0.42),
            (0.34, -0.1),
            (0, -0.02),
            (-0.34, -0.1),
            (-0.55, -0.42),
            (-0.38, -0.76),
        ]
    )
    left, right = (
        corners([(-0.54, -0.5), (-0.5, -1.08), (-0.12, -0.76)]),
        corners([(0.54, -0.5), (0.5, -1.08), (0.12, -0.76)]),
    )
    b.body(tail, trunk, head, left, right)
    b.part(smooth([(0, 0.2), (0.2, 0.5), (0, 0.82), (-0.2, 0.5)]), colour=b.tone(0.3), depth=0.04)
    for x in (-0.22, 0.22):
        b.part(ellipse(x, -0.46, 0.115, 0.13), colour=rgb("#F7EFC6"), depth=0)
        b.part(ellipse(x, -0.44, 0.062, 0.1), colour=INK, depth=0)
    b.part(ellipse(0, -0.26, 0.08, 0.055), colour=rgb("#E58D8D"), depth=0)


def fish(b: Brush) -> None:
    """Swimming to the left, big tail fin."""
    trunk = smooth([(-1.0, 0.0), (-0.62, -0.42), (0.0, -0.52), (0.5, -0.14), (0.5, 0.14), (0.0, 0.52), (-0.62, 0.42)])
    tail = smooth([(0.42, 0), (0.74, -0.4), (1.05, -0.5), (0.92, 0), (1.05, 0.5), (0.74, 0.4)])
    fin = smooth([(-0.35, -0.42), (0.0, -0.84), (0.3, -0.68), (0.26, -0.3)])
    b.body(trunk, tail, fin)
    b.part(smooth([(-0.12, 0.02), (0.2, 0.02), (0.3, 0.2), (0.02, 0.24)]), colour=b.tone(0.35, INK), depth=0)
    b.part(b.stroke([(-0.42, -0.3), (-0.34, 0.0), (-0.42, 0.3)], 0.09), colour=b.tone(0.45), depth=0)
    b.part(ellipse(-0.66, -0.1, 0.14, 0.14), colour=CREAM, depth=0)
    b.part(ellipse(-0.68, -0.1, 0.08, 0.085), colour=INK, depth=0)


def tree(b: Brush) -> None:
    """A round crown on a trunk."""
    b.part(smooth([(-0.13, 0.2), (0.13, 0.2), (0.14, 0.8), (0.28, 1.0), (-0.28, 1.0), (-0.14, 0.8)]), colour=WOOD)
    a = np.linspace(0, 2 * np.pi, 9, endpoint=False) + b.paper.rng.uniform(0, 1)
    rim = [(0.7 * np.cos(t), 0.62 * np.sin(t) - 0.32) for t in a]
    b.body(ellipse(0, -0.32, 0.68, 0.6), *[ellipse(x, y, 0.27, 0.24) for x, y in rim])
    for x, y in ((-0.32, -0.5), (0.22, -0.28), (-0.12, -0.1)):
        b.part(smooth([(x - 0.16, y), (x, y - 0.09), (x + 0.16, y), (x, y + 0.03)]), colour=b.tone(0.28), depth=0)


def flower(b: Brush) -> None:
    """Six round petals on a stem with two leaves."""
    b.part(b.stroke([(0.02, 0.0), (0.06, 0.4), (0.0, 0.7), (0.02, 1.0)], 0.13), colour=LEAF)
    b.part(smooth([(0.02, 0.85), (0.2, 0.55), (0.58, 0.5), (0.42, 0.78)]), colour=LEAF)
    b.part(smooth([(0.02, 0.95), (-0.2, 0.68), (-0.55, 0.66), (-0.38, 0.9)]), colour=LEAF)
    turn = b.paper.rng.uniform(0, 1)
    petals = []
    for k in range(6):
        a = turn + k * np.pi / 3
        petals.append(ellipse(0.38 * np.cos(a), -0.38 + 0.38 * np.sin(a), 0.29, 0.29))
    b.body(ellipse(0, -0.38, 0.35, 0.35), *petals)
    heart = rgb("#8A5A2B") if b.name in ("yellow", "orange", "white") else rgb("#F4CF57")
    b.part(ellipse(0, -0.38, 0.2, 0.2), colour=heart)


def mushroom(b: Brush) -> None:
    """A wide dotted cap on a pale stem."""
    b.part(
        smooth([(-0.22, 0.0), (0.22, 0.0), (0.24, 0.55), (0.36, 0.95), (0, 1.02), (-0.36, 0.95), (-0.24, 0.55)]),
        colour=CREAM,
    )
    b.body(
        smooth(
            [
                (0, -0.92),
                (0.55, -0.72),
                (0.92, -0.22),
                (0.86, 0.1),
                (0.4, 0.14),
                (0, 0.1),
                (-0.4, 0.14),
                (-0.86, 0.1),
                (-0.92, -0.22),
                (-0.55, -0.72),
            ]
        )
    )
    dots = rgb("#D9C3A5") if b.name == "white" else rgb("#FBF6EA")
    for x, y, r in ((-0.45, -0.36, 0.14), (0.06, -0.6, 0.15), (0.5, -0.3, 0.13), (0.02, -0.14, 0.11)):
        b.part(ellipse(x, y, r, r * 0.9), colour=dots, depth=0)


def apple(b: Brush) -> None:
    """Round with a dent, a stem and a leaf."""
    b.part(b.stroke([(0.0, -0.4), (0.02, -0.7), (0.12, -1.0)], 0.14), colour=WOOD, depth=0)
    b.body(
        smooth(
            [
                (0, -0.52),
                (0.35, -0.68),
                (0.75, -0.5),
                (0.88, 0.0),
                (0.66, 0.62),
                (0.28, 0.92),
                (0, 0.84),
                (-0.28, 0.92),
                (-0.66, 0.62),
                (-0.88, 0.0),
                (-0.75, -0.5),
                (-0.35, -0.68),
            ]
        )
    )
    b.part(smooth([(0.08, -0.68), (0.28, -0.98), (0.66, -1.0), (0.46, -0.74)]), colour=LEAF)
    b.part(smooth([(-0.56, -0.3), (-0.42, -0.44), (-0.36, -0.3), (-0.5, 0.02)]), colour=b.tone(0.5), depth=0)


def house(b: Brush) -> None:
    """A wall with door and windows under a dark roof with a chimney."""
    b.part(corners([(0.38, -0.95), (0.62, -0.95), (0.62, -0.35), (0.38, -0.35)]), colour=rgb("#9A6A55"))
    b.body(corners([(-0.78, -0.18), (0.0, -0.62), (0.78, -0.18), (0.78, 0.95), (-0.78, 0.95)], soft=0.02))
    b.part(
        corners([(-1.0, -0.12), (0.0, -0.88), (1.0, -0.12), (0.84, 0.04), (0.0, -0.55), (-0.84, 0.04)], soft=0.03),
        colour=SLATE,
    )
    b.part(corners([(-0.17, 0.34), (0.17, 0.34), (0.17, 0.95), (-0.17, 0.95)]), colour=WOOD)
    for x in (-0.5, 0.5):
        b.part(
            corners([(x - 0.15, 0.22), (x + 0.15, 0.22), (x + 0.15, 0.54), (x - 0.15, 0.54)]),
            colour=rgb("#FBEBB0"),
            depth=0,
        )


def boat(b: Brush) -> None:
    """A sailing boat: hull and mainsail in the asked colour, the foresail cream."""
    b.part(corners([(-0.09, -1.0), (0.03, -1.0), (0.03, 0.4), (-0.09, 0.4)]), colour=WOOD)
    b.part(smooth([(-0.16, -0.7), (-0.14, 0.22), (-0.7, 0.24), (-0.42, -0.2)]), colour=CREAM)
    b.body(
        smooth([(0.1, -0.98), (0.5, -0.42), (0.78, 0.22), (0.4, 0.26), (0.1, 0.24)]),
        smooth(
            [
                (-0.98, 0.38),
                (-0.4, 0.42),
                (0.4, 0.42),
                (0.98, 0.36),
                (0.72, 0.82),
                (0.4, 0.92),
                (-0.4, 0.92),
                (-0.72, 0.82),
            ]
        ),
    )
    b.part(b.stroke([(-0.78, 0.56), (-0.3, 0.6), (0.3, 0.6), (0.78, 0.55)], 0.09), colour=b.tone(0.5), depth=0)


def balloon(b: Brush) -> None:
    """A hot air balloon with two pale stripes and a basket."""
    for x in (-0.2, 0.2):
        b.part(b.stroke([(1.4 * x, 0.3), (x, 0.72)], 0.06), colour=WOOD, depth=0)
    b.body(
        smooth(
            [
                (0, -1.0),
                (0.48, -0.88),
                (0.76, -0.45),
                (0.66, 0.02),
                (0.32, 0.42),
                (0, 0.5),
                (-0.32, 0.42),
                (-0.66, 0.02),
                (-0.76, -0.45),
                (-0.48, -0.88),
            ]
        )
    )
    pale = b.tone(0.55) if b.name != "white" else rgb("#CFC6B8")
    for side in (-1, 1):
        stripe = [
            (0.16, -0.94),
            (0.36, -0.86),
            (0.46, -0.45),
            (0.4, 0.0),
            (0.2, 0.44),
            (0.12, 0.46),
            (0.2, 0.0),
            (0.24, -0.45),
        ]
        b.part(smooth([(side * x, y) for x, y in stripe]), colour=pale)
    b.part(corners([(-0.22, 0.7), (0.22, 0.7), (0.18, 1.0), (-0.18, 1.0)]), colour=WOOD)


def umbrella(b: Brush) -> None:
    """Open, with a scalloped rim and a hooked handle."""
    b.part(b.stroke([(0, -0.3), (0, 0.4), (0.0, 0.82), (0.16, 0.96), (0.32, 0.8)], 0.11), colour=WOOD, depth=0)
    b.part(corners([(-0.05, -1.0), (0.05, -1.0), (0.05, -0.7), (-0.05, -0.7)]), colour=WOOD, depth=0)
    dome = [(-1.0, 0.16), (-0.9, -0.3), (-0.55, -0.68), (0.0, -0.84), (0.55, -0.68), (0.9, -0.3), (1.0, 0.16)]
    rim = [
        (0.82, 0.05),
        (0.66, 0.0),
        (0.5, 0.05),
        (0.33, 0.16),
        (0.16, 0.04),
        (0, 0.0),
        (-0.16, 0.04),
        (-0.33, 0.16),
        (-0.5, 0.05),
        (-0.66, 0.0),
        (-0.82, 0.05),
    ]
    b.body(smooth(dome + rim))
    gore = [(-0.02, -0.8), (0.2, -0.5), (0.3, 0.08), (0.12, 0.0), (-0.1, 0.02), (-0.3, 0.1), (-0.22, -0.5)]
    b.part(smooth(gore), colour=b.tone(0.3))


def moon(b: Brush) -> None:
    """A crescent, open to the right."""
    outer = [(0.9 * np.cos(a) - 0.1, 0.98 * np.sin(a)) for a in np.linspace(0.9, 2 * np.pi - 0.9, 13)]
    inner = [(0.62 * np.cos(a) + 0.3, 0.72 * np.sin(a)) for a in np.linspace(2 * np.pi - 1.35, 1.35, 9)]
    b.body(smooth(outer + inner, 4))
    b.part(smooth([(-0.66, -0.3), (-0.5, -0.52), (-0.42, -0.4), (-0.56, -0.16)]), colour=b.tone(0.4), depth=0)


def star(b: Brush) -> None:
    """Five soft points."""
    points = []
    for k in range(10):
        a = -np.pi / 2 + k * np.pi / 5
        r = 1.0 if k % 2 == 0 else 0.52
        points.append((r * np.cos(a), r * np.sin(a) + 0.05))
    b.body(corners(points, soft=0.16))
    b.part(ellipse(-0.14, -0.2, 0.13, 0.16), colour=b.tone(0.4), depth=0)


DRAWN: dict[str, Callable[[Brush], None]] = {
    "cat": cat,
    "fish": fish,
    "tree": tree,
    "flower": flower,
    "mushroom": mushroom,
    "apple": apple,
    "house": house,
    "boat": boat,
    "balloon": balloon,
    "umbrella": umbrella,
    "moon": moon,
    "star": star,
}
MIRRORED = frozenset({"cat", "fish", "boat", "flower", "apple", "house", "umbrella"})  # moon and star look one way
