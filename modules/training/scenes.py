"""A scene is sampled, then painted: ground or place first, light over it, then the things with their shadows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.training.draw import Floats, Paper, smooth
from modules.training.things import DRAWN, MIRRORED, Brush
from modules.training.world import COLOURS, PAINT, PLACES, THINGS, TINTS, Placed, Rgb, Scene, rgb

PLAIN_SHARE = 0.5
NIGHT_SHARE = 0.35
TWO_SHARE = 0.16
HELD_OUT_EVERY = 16
SPOT_CENTRES = {
    "middle": (0.5, 0.5),
    "left": (0.28, 0.53),
    "right": (0.72, 0.53),
    "top": (0.5, 0.3),
    "bottom": (0.5, 0.7),
}
HALF_HEIGHTS = {"small": (0.165, 0.19), None: (0.24, 0.28), "big": (0.33, 0.36)}
NIGHT_HAZE = np.array([0.02, 0.02, 0.05], np.float32)
HOMES = {thing.name: thing.home for thing in THINGS}


@dataclass(frozen=True)
class Painted:
    """A finished picture with what was found where: 8-bit RGB, and a mask of the main part for each thing."""

    pixels: NDArray[np.uint8]
    covered: tuple[Floats, ...]
    main: tuple[Floats, ...]


def held_out(thing: str, colour: str, ground: str) -> bool:
    """Whether this combination is kept from training, so that prompts can be tried that no picture ever showed."""
    return zlib.crc32(f"{thing}/{colour}/{ground}".encode()) % HELD_OUT_EVERY == 0


def sample_scene(seed: int, plain: float = PLAIN_SHARE, two: float = TWO_SHARE) -> Scene:
    """A random scene of the core world without held-out combinations; the same seed gives the same scene."""
    rng = np.random.default_rng(seed)
    while True:
        scene = _any_scene(rng, seed, plain, two)
        ground = scene.tint or scene.place or ""
        if not any(held_out(placed.thing, placed.colour, ground) for placed in scene.things):
            return scene


def _any_scene(rng: np.random.Generator, seed: int, plain: float, two: float) -> Scene:
    tint = place = None
    if rng.random() < plain:
        tint = str(rng.choice(list(TINTS)))
    else:
        place = PLACES[rng.integers(len(PLACES))].name
    light = "night" if place and rng.random() < NIGHT_SHARE else "day"
    things = _two(rng, tint, place, light) if rng.random() < two else (_one(rng, tint, place, light),)
    return Scene(things, tint, place, light, seed)


def colour_allowed(colour: str, tint: str | None, place: str | None, light: str) -> bool:
    """Whether a thing of this colour can be seen there: no white on white, no black in the dark."""
    if tint is not None:
        return colour != tint or colour not in ("white", "gray")
    return not (colour == "black" and light == "night") and not (colour == "white" and place == "snow")


def _colour(rng: np.random.Generator, tint: str | None, place: str | None, light: str) -> str:
    while True:
        colour = COLOURS[rng.integers(len(COLOURS))].name
        if colour_allowed(colour, tint, place, light):
            return colour


def _one(rng: np.random.Generator, tint: str | None, place: str | None, light: str) -> Placed:
    thing = THINGS[rng.integers(len(THINGS))].name
    colour = _colour(rng, tint, place, light)
    size = [None, None, "small", "big"][rng.integers(4)]
    spot = [None, None, *SPOT_CENTRES][rng.integers(7)]
    if place and spot in ("top", "bottom"):
        spot = ("left", "right")[rng.integers(2)]
    if size == "big" and spot not in (None, "middle"):
        size = None
    x, y = SPOT_CENTRES[spot or "middle"]
    r = rng.uniform(*HALF_HEIGHTS[size])
    if place:
        y = _height(HOMES[thing], place, r, rng)
    return Placed(thing, colour, x + rng.normal(0, 0.012), y + rng.normal(0, 0.012), r, spot, size)


def _two(rng: np.random.Generator, tint: str | None, place: str | None, light: str) -> tuple[Placed, ...]:
    names = rng.choice(len(THINGS), 2, replace=False)
    placed = []
    above = tint is not None and rng.random() < 0.3
    for k, (spot, index) in enumerate(zip(("top", "bottom") if above else ("left", "right"), names, strict=True)):
        thing = THINGS[index].name
        r = rng.uniform(0.185, 0.215)
        x, y = (0.5, 0.27 + 0.46 * k) if above else (0.27 + 0.46 * k, 0.52)
        if place:
            y = _height(HOMES[thing], place, r, rng)
        placed.append(Placed(thing, _colour(rng, tint, place, light), x, y, r, spot))
    return tuple(placed)


def _height(home: str, place: str, r: float, rng: np.random.Generator) -> float:
    """The y of a thing's centre: things of the air in the sky, of the water afloat, the rest stand on the ground."""
    if home == "air":
        return max(r + 0.04, 0.33 + rng.normal(0, 0.01))
    foot = 0.84 if home == "ground" else 0.80
    return foot - r if not (home == "water" and place == "sea") else 0.66 - 0.4 * r + 0.1 * (r < 0.2)


def paint(scene: Scene, size: int = 128) -> Painted:
    """Draw a scene as a square picture of `size` pixels; the same scene gives the same pixels."""
    rng = np.random.default_rng((scene.seed, 7))
    if scene.tint is not None:
        paper = Paper(size, TINTS[scene.tint], rng)
        paper.pixels += paper.clouds(3, 0.012)[..., None]
        paper.pixels += (0.02 - 0.05 * ((paper.x - 0.5) ** 2 + (paper.y - 0.5) ** 2))[..., None]
    else:
        paper = Paper(size, (1.0, 1.0, 1.0), rng)
        GROUNDS[scene.place or ""](paper)
        if scene.light == "night":
            dusk = (0.28 + 0.24 * paper.y)[..., None]
            paper.pixels = paper.pixels * dusk * np.array([0.82, 0.92, 1.45], np.float32) + NIGHT_HAZE
    covered, main = [], []
    for placed in scene.things:
        brush = _paint_thing(paper, placed, scene)
        covered.append(brush.covered)
        main.append(brush.main)
    return Painted(paper.finish(), tuple(covered), tuple(main))


def _paint_thing(paper: Paper, placed: Placed, scene: Scene) -> Brush:
    rng = paper.rng
    colour = np.asarray(PAINT[placed.colour], np.float32) + rng.normal(0, 0.012, 3)
    if scene.light == "night":
        colour = colour * np.array([0.93, 0.94, 0.98])
    hue = tuple(float(c) for c in np.clip(colour, 0, 1))
    stands = HOMES[placed.thing] == "ground" or (HOMES[placed.thing] == "water" and scene.place != "sea")
    if stands:
        paper.shadow(placed.x + 0.06 * placed.r, placed.y + 0.97 * placed.r, placed.r * 0.95, placed.r * 0.2, 0.3)
    flip = placed.thing in MIRRORED and bool(rng.random() < 0.5)
    brush = Brush(paper, hue, placed.colour, (placed.x, placed.y, placed.r), flip)  # type: ignore[arg-type]
    DRAWN[placed.thing](brush)
    return brush


def _sky(paper: Paper, high: Rgb, low: Rgb, horizon: float) -> None:
    t = np.clip(paper.y / horizon, 0, 1)[..., None]
    paper.pixels = (np.asarray(high, np.float32) * (1 - t) + np.asarray(low, np.float32) * t).astype(np.float32)
    paper.pixels += paper.clouds(3, 0.014)[..., None]


def _hill(paper: Paper, height: float, swing: float, colour: Rgb, depth: float = 0.1) -> None:
    """A wavy band from `height` down to the picture's foot."""
    x = np.linspace(-0.1, 1.1, 9)
    y = height + paper.rng.normal(0, swing, 9)
    line = smooth([*zip(x, y, strict=True), (1.3, 1.4), (-0.3, 1.4)])
    mask = paper.mask([line])
    fade = np.clip((paper.y - height) / max(1 - height, 0.1), 0, 1) - 0.4
    paper.fill(mask, np.asarray(colour, np.float32) - (depth * fade)[..., None])


def meadow(paper: Paper) -> None:
    """Two green hills under a pale sky, with tufts of grass."""
    _sky(paper, rgb("#BFDDF0"), rgb("#EAF3EA"), 0.6)
    _hill(paper, 0.56, 0.025, rgb("#C3DDA0"))
    _hill(paper, 0.68, 0.012, rgb("#A3CB85"))
    for _ in range(7):
        x, y = paper.rng.uniform(0.05, 0.95), paper.rng.uniform(0.76, 0.96)
        tuft = [
            (x - 0.02, y),
            (x - 0.028, y - 0.045),
            (x, y - 0.015),
            (x + 0.004, y - 0.06),
            (x + 0.014, y - 0.015),
            (x + 0.034, y - 0.04),
            (x + 0.024, y),
        ]
        paper.fill(paper.mask([np.asarray(tuft, np.float32)]), rgb("#7FAE66"), 0.8)


def sea(paper: Paper) -> None:
    """Water with pale wave lines under a light sky."""
    _sky(paper, rgb("#CFE5F2"), rgb("#F5EEDD"), 0.5)
    _hill(paper, 0.52, 0.004, rgb("#8FBEDB"))
    _hill(paper, 0.68, 0.012, rgb("#74A9CF"))
    for _ in range(9):
        x, y, w = paper.rng.uniform(0, 1), paper.rng.uniform(0.57, 0.96), paper.rng.uniform(0.05, 0.09)
        wave = smooth([(x - w, y), (x, y - 0.014), (x + w, y), (x, y + 0.008)])
        paper.fill(paper.mask([wave]), rgb("#D5E9F3"), 0.85)


def snow(paper: Paper) -> None:
    """White drifts under a cold sky."""
    _sky(paper, rgb("#B9CCDD"), rgb("#DCE6EC"), 0.6)
    _hill(paper, 0.55, 0.03, rgb("#E6EDF3"), 0.05)
    _hill(paper, 0.68, 0.018, rgb("#F7F9FB"), 0.07)


def mountains(paper: Paper) -> None:
    """Blue peaks with white caps behind a moss-coloured foot."""
    _sky(paper, rgb("#D3E2EC"), rgb("#F4EBDD"), 0.6)
    for x, y, w, tone in ((0.2, 0.24, 0.34, "#A3B1C9"), (0.82, 0.2, 0.36, "#98A9C4"), (0.52, 0.34, 0.3, "#8799B8")):
        x, y = x + paper.rng.normal(0, 0.03), y + paper.rng.normal(0, 0.02)
        slope = (0.8 - y) / w
        peak = np.asarray([(x, y), (x + w, 0.8), (x - w, 0.8)], np.float32)
        paper.fill(paper.mask([peak]), rgb(tone))
        d = 0.1 / slope
        cap = [
            (x, y),
            (x + d, y + 0.1),
            (x + d * 0.4, y + 0.075),
            (x, y + 0.12),
            (x - d * 0.45, y + 0.08),
            (x - d, y + 0.1),
        ]
        paper.fill(paper.mask([np.asarray(cap, np.float32)]), rgb("#F2F4F6"))
    _hill(paper, 0.7, 0.015, rgb("#A9B79A"))


GROUNDS = {"meadow": meadow, "sea": sea, "snow": snow, "mountains": mountains}
