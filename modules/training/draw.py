"""A small paint box: soft irregular shapes on paper, drawn four times too large and reduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modules.training.world import Rgb

Floats = NDArray[np.floating[Any]]
Point = tuple[float, float]
OVERSAMPLING = 4


def smooth(points: Sequence[Point], per_side: int = 8) -> Floats:
    """A closed Catmull-Rom curve through `points` as an [n 2] array: no corners, however few points."""
    p = np.asarray(points, np.float32)
    t = np.linspace(0, 1, per_side, endpoint=False, dtype=np.float32)[:, None, None]
    a, b, c, d = (np.roll(p, shift, axis=0)[None] for shift in (1, 0, -1, -2))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def corners(points: Sequence[Point], per_side: int = 8, soft: float = 0.06) -> Floats:
    """A polygon whose corners are cut by the share `soft` of each side, resampled so that it can wobble."""
    p = np.asarray(points, np.float32)
    q = np.roll(p, -1, axis=0)
    t = np.linspace(soft, 1 - soft, per_side, dtype=np.float32)[None, :, None]
    return (p[:, None] * (1 - t) + q[:, None] * t).reshape(-1, 2)


def ellipse(x: float, y: float, rx: float, ry: float, n: int = 32) -> Floats:
    """An ellipse as an [n 2] array."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], 1).astype(np.float32)


class Paper:
    """A picture being painted: float RGB of `size` x `size` pixels and masks of what each thing covers.

    Coordinates are shares of the side, y downwards.
    """

    def __init__(self, size: int, ground: Rgb, rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        self.pixels: Floats = np.broadcast_to(np.asarray(ground, np.float32), (size, size, 3)).copy()
        line = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x: Floats = np.broadcast_to(line[None, :], (size, size))
        self.y: Floats = np.broadcast_to(line[:, None], (size, size))

    def wobble(self, outline: Floats, amount: float) -> Floats:
        """The outline drawn by a hand: a few low waves across it, `amount` of the side high."""
        n = len(outline)
        a = np.linspace(0, 2 * np.pi, n, endpoint=False)[:, None]
        waves = np.zeros((n, 2), np.float32)
        for k in (2, 3, 5):
            waves += self.rng.normal(0, amount / k**0.5, (1, 2)) * np.sin(k * a + self.rng.uniform(0, 6.3, (1, 2)))
        return outline + waves

    def mask(self, outlines: Sequence[Floats]) -> Floats:
        """How much of each pixel the filled outlines cover, [h w] in 0..1."""
        big = self.size * OVERSAMPLING
        sheet = Image.new("L", (big, big), 0)
        pen = ImageDraw.Draw(sheet)
        for outline in outlines:
            pen.polygon((outline * big).ravel().tolist(), fill=255)
        return np.asarray(sheet.reduce(OVERSAMPLING), np.float32) / 255

    def fill(self, mask: Floats, colour: Rgb | Floats, opacity: float = 1.0) -> None:
        """Lay a flat colour, or a picture of colours, over what the mask covers."""
        self.pixels += (mask * opacity)[..., None] * (np.asarray(colour, np.float32) - self.pixels)

    def shaded(self, mask: Floats, colour: Rgb, depth: float) -> None:
        """Lay a colour that is lighter towards the upper left and darker along the lower right edge."""
        covered = mask > 0.5
        if not covered.any():
            return
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        top, left = rows[0] / self.size, columns[0] / self.size
        span = max(rows[-1] - rows[0], columns[-1] - columns[0], 4) / self.size
        slope = 0.5 - ((self.x - left) * 0.8 + (self.y - top)) / (1.8 * span)
        blur = float(span * self.size * 0.09)
        soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
        shift = max(1, round(blur * 0.8))
        inner = np.roll(np.asarray(soft, np.float32) / 255, (-shift, -shift), (0, 1))
        light = depth * slope - depth * 1.1 * np.clip(0.75 - inner, 0, 1)
        tone = np.asarray(colour, np.float32)
        field = np.where(light[..., None] > 0, tone + (1 - tone) * light[..., None], tone * (1 + light[..., None]))
        self.fill(mask, field)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float) -> None:
        """A soft dark ellipse where a thing stands."""
        far = np.sqrt(((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2)
        fade = np.clip(1.25 - far, 0, 1) * strength
        self.pixels *= 1 - fade[..., None] * np.array([1.0, 0.95, 0.8], np.float32)

    def clouds(self, cells: int, amount: float) -> Floats:
        """Smooth random brightness, [h w] with standard deviation about `amount`, in patches of size / cells."""
        coarse = self.rng.normal(0, amount, (cells, cells)).astype(np.float32)
        wide = Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(wide, np.float32)

    def finish(self) -> NDArray[np.uint8]:
        """Add the paper's tooth and return the picture, [h w 3] 8-bit."""
        tooth = self.clouds(5, 0.008) + self.clouds(self.size // 4, 0.005)
        self.pixels += tooth[..., None]
        return (np.clip(self.pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
