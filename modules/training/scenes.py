"""What may be in one picture, and how likely: a scene is a function of its seed, without held-out combinations."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from modules.training.painting import Painted, paint
from modules.training.world import (
    COLOURS,
    PLACE_LIGHTS,
    PLACE_WEATHERS,
    PLACES,
    STYLES,
    THINGS,
    TINTS,
    Placed,
    Scene,
)

__all__ = ["SPOT_CENTRES", "Painted", "colour_allowed", "held_out", "held_out_combinations", "paint", "sample_scene"]

PLAIN_SHARE = 0.4
TWO_SHARE = 0.22
SEVERAL_SHARE = 0.16  # two or three of one kind
STYLED_SHARE = 0.6  # the rest are picture books
WEATHER_SHARE = 0.25
SHARED_SHARE = 0.3  # of pairs: one attribute is the same, so that binding must be learnt
LIGHT_SHARES = {"day": 0.46, "sunset": 0.18, "night": 0.22, "fog": 0.14}
SPOT_CENTRES = {
    "middle": (0.5, 0.5),
    "left": (0.28, 0.53),
    "right": (0.72, 0.53),
    "top": (0.5, 0.3),
    "bottom": (0.5, 0.7),
}
HALF_HEIGHTS = {"small": (0.15, 0.175), None: (0.235, 0.275), "big": (0.33, 0.36)}
PAIR_HEIGHTS = {"small": (0.125, 0.14), None: (0.17, 0.185), "big": (0.215, 0.225)}
SEVERAL_HEIGHTS = {"small": (0.105, 0.11), None: (0.125, 0.132), "big": (0.148, 0.155)}
FOOT = 0.85  # where things stand, as a share of the height
HOMES = {thing.name: thing.home for thing in THINGS}


@cache
def _held_out() -> dict[str, tuple[tuple[str, str, str], ...]]:
    table = json.loads(Path(__file__).with_name("held_out.json").read_text("utf-8"))
    return {language: tuple((t, c, g) for t, c, g in rows) for language, rows in table.items()}


def held_out_combinations(language: str) -> tuple[tuple[str, str, str], ...]:
    """The 150 combinations (thing, colour, tint or place) that are measured in `en` or `zh`."""
    return _held_out()[language]


@cache
def _all_held_out() -> frozenset[tuple[str, str, str]]:
    return frozenset(row for rows in _held_out().values() for row in rows)


def held_out(thing: str, colour: str, ground: str) -> bool:
    """Whether this combination is kept from training, so that prompts can be tried that no picture ever showed."""
    return (thing, colour, ground) in _all_held_out()


def sample_scene(seed: int, plain: float = PLAIN_SHARE, two: float = TWO_SHARE, ratio: float = 1.0) -> Scene:
    """A random scene without held-out combinations, for a picture `ratio` times as wide as high.

    The same seed and shares give the same scene.
    """
    rng = np.random.default_rng(seed)
    while True:
        scene = _any_scene(rng, seed, plain, two, ratio)
        if not any(held_out(placed.thing, placed.colour, scene.ground) for placed in scene.things):
            return scene


def _any_scene(rng: np.random.Generator, seed: int, plain: float, two: float, ratio: float) -> Scene:
    tint = place = weather = None
    light = "day"
    if rng.random() < plain:
        tint = _one_of(rng, tuple(TINTS))
    else:
        place = _one_of(rng, [word.name for word in PLACES])
        lights = PLACE_LIGHTS[place]
        shares = np.array([LIGHT_SHARES[name] for name in lights])
        light = lights[int(rng.choice(len(lights), p=shares / shares.sum()))]
        if place in PLACE_WEATHERS and light != "sunset" and rng.random() < WEATHER_SHARE:
            weather = _one_of(rng, PLACE_WEATHERS[place])
    style = _one_of(rng, [word.name for word in STYLES[1:]]) if rng.random() < STYLED_SHARE else STYLES[0].name
    bare = Scene((), tint, place, light, seed, weather, style, ratio)
    draw = rng.random()
    if draw < two:
        things = _two(rng, bare)
    elif draw < two + SEVERAL_SHARE:
        things = _several(rng, bare)
    else:
        things = _one(rng, bare)
    return Scene(things, tint, place, light, seed, weather, style, ratio)


def _one_of(rng: np.random.Generator, choices: list[str] | tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def colour_allowed(colour: str, tint: str | None, place: str | None, light: str, style: str = "picture book") -> bool:
    """Whether a thing of this colour can be seen there: no white on white, no black in the dark."""
    if tint is not None:
        too_near = {"white": ("white", "yellow"), "gray": ("gray",)}.get(colour, ())
        return tint not in too_near and not (style == "ink" and colour == "gray")
    if colour == "black":
        return light != "night" or place in ("street", "room")  # there lamps are lit
    if colour == "white":
        return light in ("night", "sunset") or (place != "snow" and light != "fog" and style != "ink")
    return not (colour == "gray" and (light == "fog" or style == "ink"))


def _colour(rng: np.random.Generator, scene: Scene) -> str:
    while True:
        colour = COLOURS[rng.integers(len(COLOURS))].name
        if colour_allowed(colour, scene.tint, scene.place, scene.light, scene.style):
            return colour


def _size(rng: np.random.Generator) -> str | None:
    return (None, None, "small", "big")[int(rng.integers(4))]


def _one(rng: np.random.Generator, scene: Scene) -> tuple[Placed, ...]:
    thing = THINGS[rng.integers(len(THINGS))].name
    colour, size = _colour(rng, scene), _size(rng)
    spot = (None, None, *SPOT_CENTRES)[int(rng.integers(7))]
    if scene.place and (spot == "bottom" or (spot == "top" and HOMES[thing] != "air")):
        spot = ("left", "right")[int(rng.integers(2))]
    if size == "big" and spot not in (None, "middle"):
        size = None
    x, y = SPOT_CENTRES[spot or "middle"]
    r = rng.uniform(*HALF_HEIGHTS[size])
    if scene.place:
        y = _height(thing, scene, r, rng)
    else:
        y += rng.normal(0, 0.012)
        y = _inside(y, r, min(scene.ratio, 1.0))
    return (
        Placed(thing, colour, _inside(x + rng.normal(0, 0.012), 1.2 * r, min(1 / scene.ratio, 1.0)), y, r, spot, size),
    )


def _inside(centre: float, half: float, share: float) -> float:
    """The centre, as a share of a side, moved until a thing that reaches `half` (of the unit) lies inside the side."""
    reach = half * share + 0.02
    return min(max(centre, reach), 1 - reach) if reach < 0.5 else 0.5


def _two(rng: np.random.Generator, scene: Scene) -> tuple[Placed, ...]:
    """Two different things: beside each other, or one above the other where one of them flies."""
    names = [THINGS[k].name for k in rng.choice(len(THINGS), 2, replace=False)]
    colours, sizes = [_colour(rng, scene), _colour(rng, scene)], [_size(rng), _size(rng)]
    if rng.random() < SHARED_SHARE:
        if rng.random() < 0.6:
            colours[1] = colours[0]
        else:
            sizes[0] = sizes[1] = ("small", "big")[int(rng.integers(2))]
    flying = [HOMES[name] == "air" for name in names]
    stacked = rng.random() < (0.3 if scene.tint else 0.6 if flying[0] != flying[1] else 0.0)
    if stacked and scene.place and flying[1]:
        names.reverse()
    placed = []
    for k, (name, colour, size) in enumerate(zip(names, colours, sizes, strict=True)):
        r = rng.uniform(*PAIR_HEIGHTS[size])
        if stacked:
            r = min(r, 0.21)
            x, y, spot = 0.5 + rng.normal(0, 0.04), 0.27 + 0.46 * k, ("top", "bottom")[k]
        else:
            x, y, spot = 0.26 + 0.48 * k + rng.normal(0, 0.01), 0.52 + rng.normal(0, 0.02), ("left", "right")[k]
        if scene.place:
            y = r * min(scene.ratio, 1.0) + 0.06 if stacked and k == 0 else _height(name, scene, r, rng)
        x = _inside(x, 1.15 * r, min(1 / scene.ratio, 1.0))
        placed.append(Placed(name, colour, x, _inside(y, r, min(scene.ratio, 1.0)), r, spot, size))
    return tuple(placed)


def _several(rng: np.random.Generator, scene: Scene) -> tuple[Placed, ...]:
    """Two or three of one kind, colour and size, side by side; on a plain ground also three around a middle."""
    thing, count = THINGS[rng.integers(len(THINGS))].name, int(rng.integers(2, 4))
    colour, size = _colour(rng, scene), _size(rng)
    low, high = (PAIR_HEIGHTS if count == 2 else SEVERAL_HEIGHTS)[size]
    r = min(rng.uniform(low, high), 0.22)
    xs, ys = np.array([0.28, 0.72] if count == 2 else [0.175, 0.5, 0.825]), np.full(count, 0.52)
    if count == 3 and scene.tint and rng.random() < 0.4:
        xs, ys = np.array([0.5, 0.27, 0.73]), np.array([0.28, 0.7, 0.7])
    elif scene.place:
        ys = np.array([_height(thing, scene, r, rng) for _ in range(count)])
    ys = ys + rng.normal(0, 0.012 if scene.place else 0.03, count)
    xs = xs + rng.normal(0, 0.008, count)
    return tuple(Placed(thing, colour, float(x), float(y), r, None, size) for x, y in zip(xs, ys, strict=True))


def _height(thing: str, scene: Scene, r: float, rng: np.random.Generator) -> float:
    """The y of a thing's centre: things of the air in the sky, of the water afloat, the rest stand on the ground."""
    half = r * min(scene.ratio, 1.0)  # as a share of the height
    if HOMES[thing] == "air":
        return max(half + 0.05, 0.34 + rng.normal(0, 0.02))
    if HOMES[thing] == "water" and scene.place == "sea":
        return 0.76 + rng.normal(0, 0.012) - 0.8 * half
    return FOOT + rng.normal(0, 0.01) - half
