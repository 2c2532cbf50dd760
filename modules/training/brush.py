"""The hand that draws one thing: a large part in the asked colour and small accents, in the picture's style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.training.draw import Floats, Paper, Patch, Point, band, ellipse
from modules.training.styles import Style
from modules.training.world import Rgb, rgb

INK = rgb("#2B2730")
WOOD = rgb("#7A5136")
CREAM = rgb("#F3E6CC")
LEAF = rgb("#6FA052")
SLATE = rgb("#5B4A55")
GLASS = rgb("#CFE3EA")
LAMP = rgb("#FBE7A0")
BLUSH = rgb("#EE9C9A")
RIMS = {"white": rgb("#9B938C"), "black": rgb("#85808C")}
LEAST = 6.4 / 256  # of the shorter side: nothing that matters is thinner


class Brush:
    """Draws one thing in its own coordinates: -1..1 across its box, y downwards, placed on the paper by x, y and r.

    `covered` and `main` are [h w] masks of all of the thing and of its recolourable part.
    """

    def __init__(
        self, paper: Paper, style: Style, colour: Rgb, name: str, at: tuple[float, float, float], flip: bool
    ) -> None:
        self.paper, self.style, self.colour, self.name = paper, style, colour, name
        self.x, self.y, self.r = at
        self.side = -1.0 if flip else 1.0
        self.tilt = float(paper.rng.normal(0, 0.035)) * (style.wobble > 0)
        self.covered: Floats = np.zeros((paper.height, paper.width), np.float32)
        self.main: Floats = np.zeros_like(self.covered)
        self.least = LEAST / self.r  # in the thing's own coordinates

    def place(self, outline: Floats, wobble: float = 0.012) -> Floats:
        """The outline, wobbled, tilted and moved to its place on the paper."""
        p = self.paper.wobble(outline, wobble * self.style.wobble) * np.array([self.side, 1.0], np.float32)
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        turned = p @ np.array([[c, s], [-s, c]], np.float32)
        return turned * self.r + np.array([self.x, self.y], np.float32)

    def body(self, *outlines: Floats) -> None:
        """The large part in the asked colour; white and black ones get a rim so that they stand out anywhere."""
        depth = {"white": 0.05, "black": 0.14}.get(self.name, 0.12)
        patch = self.style.shape(self.paper, [self.place(o) for o in outlines])
        laid = self.style.lay(self.paper, patch, self.colour, depth, "body", RIMS.get(self.name))
        box = laid.box
        np.maximum(self.main[box], laid.cover, out=self.main[box])
        np.maximum(self.covered[box], laid.cover, out=self.covered[box])

    def part(self, *outlines: Floats, colour: Rgb, depth: float = 0.08, wobble: float = 0.008) -> None:
        """A fixed accent: it does not take the asked colour."""
        patch = self.style.shape(self.paper, [self.place(o, wobble) for o in outlines])
        laid = self.style.lay(self.paper, patch, colour, depth, "part" if depth else "mark", None)
        box = laid.box
        self.main[box] *= 1 - laid.cover
        np.maximum(self.covered[box], laid.cover, out=self.covered[box])

    def dot(self, x: float, y: float, r: float, colour: Rgb, ry: float | None = None) -> None:
        """A round mark that never gets too small to see."""
        self.part(ellipse(x, y, max(r, self.least / 2), max(ry or r, self.least / 2), 20), colour=colour, depth=0)

    def eye(self, x: float, y: float, r: float = 0.09) -> None:
        """A dark eye with a catchlight where there is room for one."""
        r = max(r, self.least / 2)
        self.dot(x, y, r, rgb("#F4F0E6") if self.name == "black" else INK, r * 1.15)
        if self.name == "black":
            self.dot(x, y, max(r * 0.6, self.least * 0.3), INK)
        elif r * self.r > 1.4 * LEAST / 2 and self.style.block(256) == 1:
            self.part(ellipse(x - 0.3 * r, y - 0.4 * r, 0.36 * r, 0.36 * r, 12), colour=(1.0, 1.0, 1.0), depth=0)

    def tone(self, share: float, towards: Rgb = (1.0, 1.0, 1.0)) -> Rgb:
        """The asked colour moved by `share` towards another."""
        r, g, b = (c + (t - c) * share for c, t in zip(self.colour, towards, strict=True))
        return r, g, b

    def pale(self, share: float = 0.35) -> Rgb:
        """A lighter tone of the asked colour, or a darker one where it is white already."""
        return rgb("#D5CCBF") if self.name == "white" else self.tone(share)

    def stroke(self, points: Sequence[Point], width: float) -> Floats:
        """A band along an open curve, never too thin to see."""
        return band(points, max(width, self.least))

    def hide(self, patch: Patch) -> None:
        """Something was laid over a part of the thing."""
        self.main[patch.box] *= 1 - patch.cover
        self.covered[patch.box] *= 1 - patch.cover
