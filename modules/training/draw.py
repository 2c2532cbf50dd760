"""A small paint box: soft irregular shapes on paper, drawn a few times too large in boxes of their own and reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modules.training.world import Rgb

Floats = NDArray[np.floating[Any]]
Point = tuple[float, float]
OVERSAMPLING = 3
TILE = 640  # side of the texture tiles, in pixels of a picture whose shorter side is 256


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


def box(left: float, top: float, right: float, bottom: float, soft: float = 0.06) -> Floats:
    """An upright rectangle with cut corners."""
    return corners([(left, top), (right, top), (right, bottom), (left, bottom)], soft=soft)


def ellipse(x: float, y: float, rx: float, ry: float, n: int = 32) -> Floats:
    """An ellipse as an [n 2] array."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], 1).astype(np.float32)


def band(points: Sequence[Point], width: float) -> Floats:
    """A band of `width` along an open curve through `points`, with round bends."""
    p = np.asarray(points, np.float32)
    along = np.gradient(p, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    return smooth(np.concatenate([p + across * width / 2, (p - across * width / 2)[::-1]]).tolist(), 6)


def blurred(field: Floats, radius: float) -> Floats:
    """A field of 0..1 under a Gaussian of `radius` pixels, to eight bits."""
    if radius <= 0 or field.size == 0:
        return field
    picture = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def shifted(field: Floats, down: int, right: int) -> Floats:
    """The field moved by whole pixels; its border comes in from outside, so that pictures' edges are no edges."""
    h, w = field.shape
    rows, columns = np.clip(np.arange(h) - down, 0, h - 1), np.clip(np.arange(w) - right, 0, w - 1)
    return field[rows][:, columns]


def between(field: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, a smooth step between."""
    t = np.clip((field - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Patch:
    """How much of each pixel a shape covers, [h w] in 0..1, inside the box that starts at `top`, `left`."""

    top: int
    left: int
    cover: Floats

    @property
    def box(self) -> tuple[slice, slice]:
        """Where the patch lies in the picture."""
        h, w = self.cover.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


@cache
def _tile(kind: str) -> Floats:
    """A texture of mean 0 and deviation 1, made once: `grain`, `cloud` or `hatch`."""
    rng = np.random.default_rng({"grain": 1, "cloud": 2, "hatch": 3}[kind])
    if kind == "grain":
        field = rng.standard_normal((TILE, TILE)).astype(np.float32)
        soft = Image.fromarray(field).resize((TILE // 2, TILE // 2), Image.Resampling.BOX)
        field = 0.35 * field + 1.2 * np.asarray(soft.resize((TILE, TILE), Image.Resampling.BICUBIC), np.float32)
    elif kind == "cloud":
        field = np.zeros((TILE, TILE), np.float32)
        for cell, weight in ((90, 1.0), (36, 0.7), (14, 0.4)):
            coarse = rng.standard_normal((TILE // cell + 2, TILE // cell + 2)).astype(np.float32)
            field += weight * np.asarray(Image.fromarray(coarse).resize((TILE, TILE), Image.Resampling.BICUBIC))
    else:  # strokes from the lower left to the upper right
        wide = 2 * TILE
        coarse = rng.standard_normal((wide // 4, wide // 34)).astype(np.float32)
        strokes = Image.fromarray(coarse).resize((wide, wide), Image.Resampling.BICUBIC).rotate(38)
        edge = (wide - TILE) // 2
        field = np.asarray(strokes.crop((edge, edge, edge + TILE, edge + TILE)), np.float32)
    return (field - field.mean()) / field.std()


class Paper:
    """A picture being painted: float RGB [h w 3].

    Coordinates are in units of the shorter side, y downwards: x runs to `wide`, y to `tall`.
    """

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.width, self.height, self.rng = width, height, rng
        self.unit = min(width, height)
        self.wide, self.tall = width / self.unit, height / self.unit
        self.pixels: Floats = np.ones((height, width, 3), np.float32)
        self.x: Floats = ((np.arange(width, dtype=np.float32) + 0.5) / self.unit)[None, :]
        self.y: Floats = ((np.arange(height, dtype=np.float32) + 0.5) / self.unit)[:, None]

    def length(self, pixels: float) -> float:
        """A length given in pixels of a picture whose shorter side is 256, in pixels of this one."""
        return pixels * self.unit / 256

    def wobble(self, outline: Floats, amount: float) -> Floats:
        """The outline drawn by a hand: a few low waves across it, `amount` of its unit high."""
        if amount == 0:
            return outline
        a = np.linspace(0, 2 * np.pi, len(outline), endpoint=False, dtype=np.float32)[:, None]
        waves = np.zeros((len(outline), 2), np.float32)
        for k in (2, 3, 5):
            waves += self.rng.normal(0, amount / k**0.5, (1, 2)) * np.sin(k * a + self.rng.uniform(0, 6.3, (1, 2)))
        return outline + waves

    def mask(self, outlines: Sequence[Floats], margin: int = 0) -> Patch:
        """What the filled outlines cover, in their box with a margin of pixels around it."""
        every = np.concatenate(outlines) * self.unit
        left, top = (int(v) - 1 - margin for v in np.floor(every.min(0)))
        right, bottom = (int(v) + 1 + margin for v in np.ceil(every.max(0)))
        left, top = min(max(left, 0), self.width), min(max(top, 0), self.height)
        w, h = max(min(right, self.width) - left, 0), max(min(bottom, self.height) - top, 0)
        if not w or not h:
            return Patch(top, left, np.zeros((0, 0), np.float32))
        sheet = Image.new("L", (w * OVERSAMPLING, h * OVERSAMPLING), 0)
        pen, origin = ImageDraw.Draw(sheet), np.array([left, top], np.float32)
        for outline in outlines:
            pen.polygon(((outline * self.unit - origin) * OVERSAMPLING).ravel().tolist(), fill=255)
        return Patch(top, left, np.asarray(sheet.reduce(OVERSAMPLING), np.float32) / 255)

    def whole(self) -> Patch:
        """A patch over all of the picture."""
        return Patch(0, 0, np.ones((self.height, self.width), np.float32))

    def fill(self, patch: Patch, colour: Rgb | Floats, opacity: float | Floats = 1.0) -> None:
        """Lay a flat colour, or a picture of colours [h w 3], over what the patch covers."""
        under = self.pixels[patch.box]
        under += (patch.cover * opacity)[..., None] * (np.asarray(colour, np.float32) - under)

    def glow(self, x: float, y: float, radius: float, colour: Rgb, strength: float) -> None:
        """A soft round light."""
        far = ((self.x - x) ** 2 + (self.y - y) ** 2) / radius**2
        self.pixels += (np.exp(-2 * far) * strength)[..., None] * (np.asarray(colour, np.float32) - self.pixels)

    def texture(self, kind: str, patch: Patch) -> Floats:
        """A piece of a texture as large as the patch, from anywhere on its tile: mean 0, deviation 1."""
        h, w = patch.cover.shape
        scale = 256 / self.unit
        rows, columns = min(max(round(h * scale), 1), TILE), min(max(round(w * scale), 1), TILE)
        top, left = int(self.rng.integers(0, TILE - rows + 1)), int(self.rng.integers(0, TILE - columns + 1))
        piece = _tile(kind)[top : top + rows, left : left + columns]
        if self.rng.random() < 0.5:
            piece = piece[:, ::-1]
        if piece.shape != (h, w) and h and w:
            piece = np.asarray(Image.fromarray(np.ascontiguousarray(piece)).resize((w, h), Image.Resampling.BILINEAR))
        return piece

    def balanced(self, kind: str, patch: Patch) -> Floats:
        """Such a piece whose mean over what the patch covers is 0, so that it leaves a colour its name."""
        piece = self.texture(kind, patch)
        return piece - (piece * patch.cover).sum() / max(float(patch.cover.sum()), 1.0)
