"""The six ways to draw: each lays skies, grounds and shapes on the paper in its own manner, and keeps named colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from modules.training.draw import Floats, Paper, Patch, between, blurred, shifted, smooth
from modules.training.world import Rgb, rgb

Role = Literal["ground", "body", "part", "mark"]


def mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`one` moved by `share` towards `other`."""
    r, g, b = (a + (c - a) * share for a, c in zip(one, other, strict=True))
    return r, g, b


def shade(colour: Rgb, light: Floats) -> Floats:
    """A colour made lighter where `light` > 0 and darker where it is < 0, [h w 3]."""
    tone, light = np.asarray(colour, np.float32), light[..., None]
    return np.where(light > 0, tone + (1 - tone) * light, tone * (1 + light))


def grown(paper: Paper, patch: Patch, pixels: float) -> Patch:
    """The patch with a border of so many pixels (of 256) around its shape."""
    reach = max(1, round(paper.length(pixels)))
    wide = padded(paper, patch, reach + 2)
    picture = Image.fromarray((wide.cover * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * reach + 1))
    return Patch(wide.top, wide.left, np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255)


def padded(paper: Paper, patch: Patch, reach: int) -> Patch:
    """The same shape in a box that is larger on every side, as far as the paper goes."""
    h, w = patch.cover.shape
    top, left = max(patch.top - reach, 0), max(patch.left - reach, 0)
    bottom, right = min(patch.top + h + reach, paper.height), min(patch.left + w + reach, paper.width)
    cover = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.float32)
    if patch.cover.size:
        cover[patch.top - top : patch.top - top + h, patch.left - left : patch.left - left + w] = patch.cover
    return Patch(top, left, cover)


def gradient(paper: Paper, high: Rgb, low: Rgb, horizon: float) -> Floats:
    """From `high` at the top to `low` at the horizon, [h 1 3]."""
    t = np.clip(paper.y / horizon, 0, 1)[..., None]
    return np.asarray(high, np.float32) * (1 - t) + np.asarray(low, np.float32) * t


class Style:
    """Picture book: soft shading and paper grain. The other styles change what they do otherwise."""

    wobble = 1.0  # how much of the hand shows in outlines
    margin = 0.0  # what shapes need around them, in pixels of 256

    def block(self, unit: int) -> int:
        """The side of the blocks that the picture is made of, in pixels, for a shorter side of `unit`."""
        return 1

    def tone(self, colour: Rgb, is_plain: bool) -> Rgb:
        """What becomes of a colour of the scenery."""
        return colour

    def shape(self, paper: Paper, outlines: Sequence[Floats]) -> Patch:
        """The mask of a shape."""
        return paper.mask(outlines, round(paper.length(self.margin)))

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """Lay the sky, or the plain ground."""
        clouds = paper.texture("cloud", paper.whole())
        paper.pixels[:] = gradient(paper, high, low, horizon) + 0.016 * clouds[..., None]

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """Lay one shape; returns what it covers. `depth` is how strongly it is shaded, `rim` an outline's colour."""
        if not patch.cover.size:
            return patch
        if rim:
            paper.fill(grown(paper, patch, 2.2), rim, 0.9)
        if role == "ground":
            h = patch.cover.shape[0]
            fade = np.linspace(0.4, -0.6, h, dtype=np.float32)[:, None] * depth
            paper.fill(patch, shade(colour, fade + 0.018 * paper.texture("cloud", patch)))
        elif role == "mark":
            paper.fill(patch, colour)
        else:
            paper.fill(patch, shade(colour, self.volume(patch, depth)))
        return patch

    def volume(self, patch: Patch, depth: float) -> Floats:
        """Light from the upper left and a darker edge at the lower right."""
        h, w = patch.cover.shape
        span = max(h, w, 4)
        slope = 0.5 - (np.arange(w)[None, :] * 0.8 + np.arange(h)[:, None]) / (1.8 * span)
        radius = span * 0.09
        shift = max(1, round(radius * 0.8))
        inner = shifted(blurred(patch.cover, radius), -shift, -shift)
        return (depth * slope - depth * 1.1 * np.clip(0.75 - inner, 0, 1)).astype(np.float32)

    def finish(self, paper: Paper) -> None:
        """The paper's tooth over everything."""
        paper.pixels += (0.007 * paper.texture("grain", paper.whole()))[..., None]


class PaperCut(Style):
    """Layers of coloured paper, cut with scissors, each with its shadow on the one below."""

    wobble = 0.7
    margin = 1.0

    def shape(self, paper: Paper, outlines: Sequence[Floats]) -> Patch:
        """Scissors cut in straight bits."""
        return paper.mask([o[:: 4 if len(o) > 40 else 2] for o in outlines], 1)

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """Sheets of paper in steps from high to low, one above the other."""
        paper.pixels[:] = high
        bands = 4
        for k in range(1, bands):
            y = horizon * (k - 0.35) / bands + paper.rng.normal(0, 0.015)
            x = np.linspace(-0.45, paper.wide + 0.45, 9)
            foot = [(paper.wide + 0.6, paper.tall + 0.6), (-0.6, paper.tall + 0.6)]
            line = smooth([*zip(x, y + paper.rng.normal(0, 0.022, 9), strict=True), *foot])
            self.lay(paper, self.shape(paper, [line]), mixed(high, low, k / (bands - 1)), 0.05, "ground", None)

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """A shadow on what lies below, the flat sheet, a light cut edge."""
        if not patch.cover.size:
            return patch
        drop = paper.length({"ground": 5.0, "body": 5.0, "part": 2.6, "mark": 1.4}[role])
        wide = padded(paper, patch, round(2.5 * drop) + 1)
        fall = shifted(blurred(wide.cover, 0.6 * drop), round(drop), round(0.7 * drop))
        under = paper.pixels[wide.box]
        under *= (1 - 0.42 * fall)[..., None]
        if rim:
            paper.fill(grown(paper, patch, 1.6), rim, 0.9)
        edge = max(1, round(paper.length(1.3)))
        lit = np.clip(patch.cover - shifted(patch.cover, edge, edge), 0, 1)
        dark = np.clip(patch.cover - shifted(patch.cover, -edge, -edge), 0, 1)
        light = (0.2 if role == "ground" else 0.35) * lit - 0.14 * dark + 0.014 * paper.texture("grain", patch)
        paper.fill(patch, shade(colour, light.astype(np.float32)))
        return patch

    def finish(self, paper: Paper) -> None:
        """The sheets have their grain already."""


class Crayon(Style):
    """Waxy strokes that leave the paper's grain open, and a hard contour in the same colour."""

    wobble = 1.9
    margin = 4.0
    sheet = rgb("#F6F0E2")

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """Loose strokes on cream paper."""
        paper.pixels[:] = self._under(mixed(high, low, 0.5))
        paper.fill(paper.whole(), gradient(paper, high, low, horizon), self._wax(paper, paper.whole(), 0.84, 0.13))

    def _under(self, colour: Rgb) -> Rgb:
        """The paper as it shows between strokes: under dark ones a first layer of wax, lest they look like rain."""
        return mixed(self.sheet, colour, 0.15 + 0.55 * (1 - sum(colour) / 3))

    def _wax(self, paper: Paper, patch: Patch, mean: float, swing: float) -> Floats:
        strokes = paper.texture("hatch", patch) + 0.8 * paper.texture("grain", patch)
        return np.clip(mean + swing * strokes, 0, 1)

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """Ragged edges, open grain; things get a contour pressed harder."""
        if not patch.cover.size:
            return patch
        soft = blurred(patch.cover, paper.length(1.4))
        ragged = between(soft + 0.13 * paper.texture("grain", patch), 0.35, 0.65)
        if role == "mark":
            paper.fill(Patch(patch.top, patch.left, np.maximum(ragged, patch.cover)), colour, 0.95)
            return patch
        laid = Patch(patch.top, patch.left, ragged)
        if role == "ground":
            paper.fill(laid, self._under(colour), 0.6)
            tone = shade(colour, 0.03 * paper.texture("hatch", patch))
            paper.fill(laid, tone, self._wax(paper, patch, 0.82, 0.15))
            return laid
        paper.fill(laid, mixed(colour, self.sheet, 0.26))
        tone = shade(colour, 0.035 * paper.texture("hatch", patch))
        paper.fill(laid, tone, self._wax(paper, patch, 1.0, 0.24))
        contour = between(1 - np.abs(2 * soft - 1), 0.2, 0.75)
        pressed = contour * np.clip(0.75 + 0.3 * paper.texture("grain", patch), 0, 1)
        paper.fill(Patch(patch.top, patch.left, pressed), rim or mixed(colour, (0.1, 0.06, 0.08), 0.42), 0.8)
        return laid

    def finish(self, paper: Paper) -> None:
        """A little grain over everything."""
        paper.pixels += (0.012 * paper.texture("grain", paper.whole()))[..., None]


class Watercolour(Style):
    """Washes that pool at their edges and bleed a little, on white paper that stays free at the rim."""

    wobble = 1.5
    margin = 7.0
    sheet = rgb("#FBF8F1")

    def tone(self, colour: Rgb, is_plain: bool) -> Rgb:
        """Thinned with water."""
        return mixed(colour, self.sheet, 0.07 if is_plain else 0.03 + 0.06 * sum(colour))

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """A wet wash with blooms of bare paper."""
        paper.pixels[:] = self.sheet
        bloom = paper.texture("cloud", paper.whole())
        density = np.clip(0.88 + 0.16 * bloom, 0.85 - 0.18 * sum(low), 1)  # dark washes cover well
        edge = 0.035 * np.exp(-((bloom - 0.6) ** 2) / 0.03)
        paper.fill(paper.whole(), gradient(paper, high, low, horizon) - edge[..., None], density)

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """A bleeding halo, the wash in uneven density, pigment along the edge."""
        if not patch.cover.size:
            return patch
        bloom = paper.balanced("cloud", patch)
        if role == "mark":
            paper.fill(patch, colour, 0.95)
            return patch
        rough = blurred(patch.cover, paper.length(1.8)) + 0.07 * bloom + 0.05 * paper.texture("grain", patch)
        cover = between(rough, 0.38, 0.62)
        laid = Patch(patch.top, patch.left, cover)
        if role == "body":
            halo = between(blurred(patch.cover, paper.length(4.5)) + 0.16 * bloom, 0.2, 0.8)
            paper.fill(Patch(patch.top, patch.left, halo), colour, 0.3)
        pool = cover * (1 - blurred(cover, paper.length(2.6))) * (1.5 if role == "ground" else 2.3)
        strength = 0.16 if role == "ground" else 0.1
        tone = shade(colour, strength * bloom * np.where(bloom > 0, 1.0, 0.5) - np.clip(0.4 * pool, 0, 0.5))
        if rim:
            paper.fill(grown(paper, patch, 1.2), rim, 0.75)
        paper.fill(laid, tone.astype(np.float32), 0.9 if role == "ground" else 1.0)
        return laid

    def finish(self, paper: Paper) -> None:
        """Bare paper at the rim, and its tooth."""
        inside = np.minimum(np.minimum(paper.x, paper.wide - paper.x), np.minimum(paper.y, paper.tall - paper.y))
        ragged = inside + 0.006 * paper.texture("cloud", paper.whole()) + 0.002 * paper.texture("grain", paper.whole())
        bare = 1 - between(ragged, 0.022, 0.03)
        paper.fill(Patch(0, 0, bare.astype(np.float32)), self.sheet)
        paper.pixels += (0.011 * paper.texture("grain", paper.whole()))[..., None]


class InkWash(Style):
    """A brush outline full of life, pale grey washes on rice paper; only the thing has colour."""

    wobble = 1.4
    margin = 6.0
    sheet = rgb("#D6D3CA")
    ink = rgb("#26252B")

    def tone(self, colour: Rgb, is_plain: bool) -> Rgb:
        """Scenery in greys; a plain ground keeps what its name says."""
        luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
        gray = mixed((luminance, luminance, luminance), self.sheet, 0.25)
        return mixed(colour, mixed(gray, self.sheet, 0.5), 0.3) if is_plain else mixed(colour, gray, 0.86)

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """Mist: the wash is darkest in a few slow clouds."""
        bloom = paper.texture("cloud", paper.whole())
        paper.pixels[:] = gradient(paper, high, low, horizon) - 0.022 * np.abs(bloom)[..., None]

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """Grounds fade downwards from a dark upper edge; things are washed and then outlined."""
        if not patch.cover.size:
            return patch
        if role == "mark":
            paper.fill(patch, colour)
            return patch
        bloom = paper.balanced("cloud", patch)
        cover = between(blurred(patch.cover, paper.length(0.8)) + 0.04 * bloom, 0.3, 0.7)
        laid = Patch(patch.top, patch.left, cover)
        if role == "ground":
            inner = blurred(cover, paper.length(9))
            edge = cover * np.clip(1.02 - inner, 0, 1)
            tone = shade(colour, 0.03 * bloom - 0.42 * edge - 0.02)
            paper.fill(laid, tone.astype(np.float32), 0.92)
            return laid
        paper.fill(laid, shade(colour, 0.055 * bloom))
        soft = blurred(patch.cover, paper.length(2.4 if role == "body" else 1.5))
        life = np.clip(1 + 0.55 * bloom, 0.35, 1.8)
        line = between(life * (1 - np.abs(2 * soft - 1)), 0.42, 0.62)
        dry = np.clip(1.1 + 0.16 * paper.texture("grain", patch), 0, 1)
        paper.fill(Patch(patch.top, patch.left, line * dry), self.ink, 0.92 if role == "body" else 0.75)
        return Patch(patch.top, patch.left, np.maximum(cover, line) if role == "part" else cover)

    def finish(self, paper: Paper) -> None:
        """Fibres of rice paper."""
        fibre = paper.texture("grain", paper.whole()) + 0.5 * paper.texture("hatch", paper.whole())
        paper.pixels += (0.008 * fibre)[..., None]


class PixelArt(Style):
    """Square blocks in few flat tones, no edge softer than a block."""

    wobble = 0.0

    def block(self, unit: int) -> int:
        """Eight pixels at 256, so that a block is one cell of the latents."""
        return max(8 * round(unit / 256), 4)

    def shape(self, paper: Paper, outlines: Sequence[Floats]) -> Patch:
        """A block is covered or not; something of every shape is."""
        patch = paper.mask(outlines)
        if not patch.cover.size:
            return patch
        enough = min(0.5, max(float(patch.cover.max()) * 0.92, 0.02))
        return Patch(patch.top, patch.left, (patch.cover >= enough).astype(np.float32))

    def sky(self, paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
        """Bands that meet in a chequered row."""
        steps = 5
        chequer = 0.3 * (((np.arange(paper.height)[:, None] + np.arange(paper.width)[None, :]) % 2) - 0.5)
        level = np.clip(np.floor(np.clip(paper.y / horizon, 0, 1) * steps + chequer), 0, steps - 1) / (steps - 1)
        paper.pixels[:] = np.asarray(high) + level[..., None] * (np.asarray(low) - np.asarray(high))

    def lay(self, paper: Paper, patch: Patch, colour: Rgb, depth: float, role: Role, rim: Rgb | None) -> Patch:
        """A flat tone; bodies get a lighter row above and a darker one below."""
        if not patch.cover.size:
            return patch
        if rim:
            halo = padded(paper, patch, 1)
            near = [shifted(halo.cover, d, r) for d, r in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            paper.fill(Patch(halo.top, halo.left, np.maximum.reduce(near)), rim)
        light = np.zeros_like(patch.cover)
        if role == "body":
            light -= 0.24 * (patch.cover - patch.cover * shifted(patch.cover, -1, -1))
            light += 0.22 * (patch.cover - patch.cover * shifted(patch.cover, 1, 1)) * (light == 0)
        elif role == "ground":
            edge = patch.cover - patch.cover * shifted(patch.cover, 1, 0)
            light += 0.12 * edge
            flecks = paper.rng.random(patch.cover.shape)
            light += np.where(flecks < 0.05, -0.07, np.where(flecks > 0.96, 0.12, 0)) * (edge == 0)
        paper.fill(patch, shade(colour, light.astype(np.float32)))
        return patch

    def finish(self, paper: Paper) -> None:
        """Nothing softens a block."""


STYLE_OF: dict[str, Style] = {
    "picture book": Style(),
    "paper cut": PaperCut(),
    "crayon": Crayon(),
    "watercolour": Watercolour(),
    "ink": InkWash(),
    "pixel art": PixelArt(),
}
