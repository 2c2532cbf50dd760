"""A scene is painted: the ground first, the light over it, then the things with their shadows, then the weather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.training.brush import Brush
from modules.training.draw import Floats, Paper, ellipse, smooth
from modules.training.lab import towards
from modules.training.lights import fall, light_up, lit
from modules.training.places import GROUNDS, Ground, plain
from modules.training.styles import STYLE_OF, Style
from modules.training.things import DRAWN, MIRRORED
from modules.training.world import PAINT, THINGS, Placed, Rgb, Scene, rgb

JITTER = 4.0  # Delta E
HOMES = {thing.name: thing.home for thing in THINGS}


@dataclass(frozen=True)
class Painted:
    """A finished picture with what was found where: 8-bit RGB, and [h w] masks of each thing and of its main part."""

    pixels: NDArray[np.uint8]
    covered: tuple[Floats, ...]
    main: tuple[Floats, ...]


def size_of(scene: Scene, area: int, multiple: int = 64) -> tuple[int, int]:
    """Width and height in the scene's ratio with about `area` pixels, multiples of `multiple`."""
    width = (area * scene.ratio) ** 0.5
    return tuple(max(multiple, round(v / multiple) * multiple) for v in (width, width / scene.ratio))  # type: ignore[return-value]


def paint(scene: Scene, size: int | tuple[int, int] = 128) -> Painted:
    """Draw a scene as a picture of `size` pixels, a side or (width, height); the same scene gives the same pixels."""
    width, height = size if isinstance(size, tuple) else (size, size)
    style = STYLE_OF[scene.style]
    block = style.block(min(width, height))
    paper = Paper(-(-width // block), -(-height // block), np.random.default_rng((scene.seed, 7)))
    ground = Ground(paper, style, scene)
    if scene.place:
        GROUNDS[scene.place](ground)
        light_up(paper, style, scene)
    else:
        plain(ground)
    fall(paper, style, scene, 34)
    brushes = [_paint_thing(paper, style, placed, ground) for placed in scene.things]
    fall(paper, style, scene, 7)
    style.finish(paper)

    def whole(field: Floats) -> Floats:
        return field if block == 1 else field.repeat(block, 0).repeat(block, 1)[:height, :width]

    pixels = (np.clip(whole(paper.pixels), 0, 1) * 255 + 0.5).astype(np.uint8)
    return Painted(pixels, tuple(whole(b.covered) for b in brushes), tuple(whole(b.main) for b in brushes))


def _paint_thing(paper: Paper, style: Style, placed: Placed, ground: Ground) -> Brush:
    scene, rng = ground.scene, paper.rng
    named = PAINT[placed.colour]
    r, g, b = np.clip(np.asarray(named) + rng.normal(0, 0.014, 3), 0, 1).tolist()
    colour: Rgb = towards(named, (r, g, b), JITTER)
    x, y, half = placed.x * paper.wide, placed.y * paper.tall, placed.r
    if style.block(256) > 1:  # on the corner of a block, so that both halves of a face get the same blocks
        x, y = round(x * paper.unit) / paper.unit, round(y * paper.unit) / paper.unit
    flip = placed.thing in MIRRORED and bool(rng.random() < 0.5)
    afloat = scene.place == "sea" and HOMES[placed.thing] == "water"
    _under(ground, placed, x, y)
    brush = Brush(paper, style, lit(colour, scene.light), placed.colour, (x, y, half), flip)
    DRAWN[placed.thing](brush)
    if afloat:
        _waterline(ground, brush)
    return brush


def _under(g: Ground, placed: Placed, x: float, y: float) -> None:
    """What a thing stands on: its shadow, an islet at sea, a puddle for what swims on land."""
    home, r, foot = HOMES[placed.thing], placed.r, y + 0.96 * placed.r
    if home == "air" or (home == "water" and g.scene.place == "sea"):
        return
    if g.scene.place == "sea":
        shore, crown, top = 1.35 * r, 0.9 * r, foot - 0.03
        islet = [
            (x - shore, foot + 0.07),
            (x - crown, top),
            (x, top - 0.02),
            (x + crown, top),
            (x + shore, foot + 0.07),
        ]
        g.layer(smooth(islet), "#D9C9A0")
    elif home == "water" and g.scene.place:
        g.layer(ellipse(x, foot - 0.01, 1.25 * r, 0.05 + 0.1 * r), "#8FBBD0" if g.scene.place != "snow" else "#A9C7DC")
    if g.style.block(256) == 1:
        strength = {"night": 0.25, "fog": 0.12}.get(g.scene.light, 0.26)
        far = np.sqrt(((g.paper.x - x - 0.08 * r) / (0.95 * r)) ** 2 + ((g.paper.y - foot) / (0.17 * r + 0.01)) ** 2)
        fade = np.clip(1.25 - far, 0, 1) * strength
        g.paper.pixels *= 1 - fade[..., None] * np.array([1.0, 0.95, 0.8], np.float32)


def _waterline(g: Ground, brush: Brush) -> None:
    """A wave in front of what floats."""
    x, y, r = brush.x, brush.y, brush.r
    top, low = y + 0.76 * r, y + 1.14 * r
    crest = [(x + v * r, top + 0.06 * r * (-1) ** k) for k, v in enumerate(np.linspace(-1.15, 1.15, 9).tolist())]
    wave = smooth([(x - 1.7 * r, top + 0.1 * r), *crest, (x + 1.7 * r, top + 0.1 * r), (x + r, low), (x - r, low)], 6)
    patch = g.style.shape(g.paper, [wave])
    laid = g.style.lay(g.paper, patch, g.tone(rgb("#78ABCB")), 0.08, "ground", None)
    brush.hide(laid)
