"""What the time of day and the weather do to colours, and what falls from the sky."""

from __future__ import annotations

import numpy as np

from modules.training.draw import Paper, ellipse, smooth
from modules.training.lab import towards
from modules.training.styles import Style, mixed
from modules.training.world import Rgb, Scene, rgb

SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "sunset": (rgb("#9C98BE"), rgb("#F4BE94")),
    "night": (rgb("#18223F"), rgb("#34466F")),
    "fog": (rgb("#B9C3C9"), rgb("#DADDDB")),
    "rain": (rgb("#8F9FAE"), rgb("#C3CCD2")),
    "snowfall": (rgb("#9DAABA"), rgb("#CAD1D9")),
}
LAMPS = frozenset({"lantern", "house", "lighthouse"})  # these have a warm light in them
MIST = rgb("#D3D8D8")
THING_LIGHT: dict[str, tuple[Rgb, float]] = {  # where the light draws a thing's colour, and how far (Delta E)
    "day": ((1.0, 1.0, 1.0), 0.0),
    "sunset": (rgb("#F2A65E"), 3.5),
    "night": (rgb("#22305C"), 4.0),
    "fog": (MIST, 3.0),
}


def tone(colour: Rgb, scene: Scene, far: float = 0.0) -> Rgb:
    """A colour of the scenery in the scene's light; `far` is 0 in front and 1 at the horizon."""
    r, g, b = colour
    if scene.light == "sunset":
        colour = mixed((r * 0.98, g * 0.86, b * 0.8), rgb("#E9A37C"), 0.12 + 0.22 * far)
    elif scene.light == "night":
        k = 0.36 - 0.04 * far
        colour = (r * k * 0.78 + 0.02, g * k * 0.92 + 0.02, b * k * 1.42 + 0.05)
    elif scene.light == "fog":
        colour = mixed(colour, MIST, 0.36 + 0.48 * far)
    if scene.weather == "rain":
        gray = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
        colour = mixed((colour[0] * 0.9, colour[1] * 0.92, colour[2] * 0.96), (gray, gray, gray), 0.25)
    return colour


def sky_colours(scene: Scene, high: Rgb, low: Rgb) -> tuple[Rgb, Rgb]:
    """The sky of this light and weather; `high` and `low` are those of a fine day there."""
    if scene.light != "day":
        return SKIES[scene.light]
    return SKIES[scene.weather] if scene.weather else (high, low)


def lit(colour: Rgb, light: str) -> Rgb:
    """A thing's colour in this light: a little nearer to it, never so far that its name would be wrong."""
    end, limit = THING_LIGHT[light]
    return towards(colour, end, limit)


def light_up(paper: Paper, style: Style, scene: Scene) -> None:
    """What the light does to the finished ground: a glow behind the things at night, a low sun, mist in layers."""
    wide, tall = paper.wide, paper.tall
    if scene.light == "night":
        for placed in scene.things:
            warm = placed.thing in LAMPS or scene.place in ("room", "street")
            lamp = style.tone(rgb("#F0C98A" if warm else "#93A9D8"), is_plain=False)
            shines = placed.thing in LAMPS or placed.thing in ("moon", "star")
            paper.glow(
                placed.x * wide,
                placed.y * tall,
                2.0 * placed.r,
                lamp,
                0.6 if placed.colour == "black" else 0.45 if shines else 0.3,
            )
    elif scene.light == "sunset" and scene.place != "room":
        paper.glow(float(paper.rng.uniform(0.2, 0.8)) * wide, 0.55 * tall, 0.6, rgb("#FBD9A0"), 0.5)
    elif scene.light == "fog":
        for y in (0.5, 0.68):
            drift = np.exp(-(((paper.y / tall - y) / 0.09) ** 2)) * (0.75 + 0.25 * np.sin(paper.x * 5 + y * 40))
            paper.pixels += (0.5 * drift)[..., None] * (np.asarray(MIST, np.float32) - paper.pixels)


def fall(paper: Paper, style: Style, scene: Scene, count: int) -> None:
    """Drops or flakes all over the picture, `count` to the square."""
    if not scene.weather:
        return
    rng, number = paper.rng, round(count * paper.wide * paper.tall)
    shapes = []
    for _ in range(number):
        x, y = rng.uniform(0, paper.wide), rng.uniform(0, paper.tall)
        if scene.weather == "rain":
            n = rng.uniform(0.032, 0.046)
            shapes.append(smooth([(x + 0.4 * n, y - n), (x - 0.002, y + 0.4 * n), (x - 0.2 * n - 0.008, y + n),
                                  (x - 0.4 * n - 0.012, y + 0.6 * n)], 4))  # fmt: skip
        else:
            shapes.append(ellipse(x, y, *([rng.uniform(0.013, 0.02)] * 2), n=12))
    dark = scene.light == "night"
    colour = rgb("#9DB4D6" if dark else "#E4EEF4") if scene.weather == "rain" else rgb("#DCE4F0" if dark else "#FDFDFB")
    opacity = 0.75 if scene.weather == "rain" else 0.95
    if style.block(256) > 1:
        opacity = 1.0
    paper.fill(style.shape(paper, shapes), colour, opacity)
