"""Pictures show what their scenes say: every colour keeps its name in every light and style, at any size and ratio."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from modules.training.lab import lab
from modules.training.painting import Painted, paint, size_of
from modules.training.scenes import colour_allowed, sample_scene
from modules.training.styles import STYLE_OF
from modules.training.world import LIGHTS, PAINT, PLACES, STYLES, THINGS, TINTS, WEATHERS, Placed, Scene

NAMES = [thing.name for thing in THINGS]
GROUNDS = (("green", None, "day"), ("pink", None, "day"), (None, "beach", "day"), (None, "desert", "sunset"),
           (None, "mountains", "night"), (None, "street", "fog"))  # fmt: skip


def scene_of(thing: str, colour: str, style: str, tint: str | None, place: str | None, light: str, r: float) -> Scene:
    return Scene((Placed(thing, colour, 0.5, 0.5, r),), tint, place, light, 1, None, style)


def main_colour(painted: Painted) -> np.ndarray:
    """The median CIE L*a*b* of the first thing's main part."""
    return lab(np.median(painted.pixels[painted.main[0] > 0.9].astype(float) / 255, axis=0))


def test_every_style_has_its_hand() -> None:
    assert set(STYLE_OF) == {style.name for style in STYLES}


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_the_same_scene_gives_the_same_pixels(style: str) -> None:
    scene = replace(sample_scene(5), style=style)
    first = paint(scene, 128).pixels
    assert np.array_equal(first, paint(scene, 128).pixels)
    assert not np.array_equal(first, paint(replace(scene, seed=6), 128).pixels)


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_the_main_part_keeps_its_colours_name_in_every_light(style: str) -> None:
    colours = list(PAINT)
    for k, thing in enumerate(NAMES):
        for (j, colour), (tint, place, light) in product(enumerate(colours), GROUNDS):
            if (j + k) % 6 or colour == tint or not colour_allowed(colour, tint, place, light, style):
                continue  # a sixth of the combinations: each thing in two colours, each colour on all grounds
            seen = main_colour(paint(scene_of(thing, colour, style, tint, place, light, 0.25), 256))
            far = {name: float(np.linalg.norm(seen - lab(rgb))) for name, rgb in PAINT.items()}
            assert min(far, key=far.__getitem__) == colour, (thing, colour, place, light)
            assert far[colour] <= 12, (thing, colour, place, light)


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_the_main_part_is_most_of_each_thing(style: str) -> None:
    for thing in NAMES:
        painted = paint(scene_of(thing, "red", style, "yellow", None, "day", 0.3), 256)
        share = (painted.main[0] > 0.5).sum() / (painted.covered[0] > 0.5).sum()
        assert share >= 0.45, (thing, share)


def test_small_things_are_still_at_least_48_pixels_high_or_wide() -> None:
    for thing in NAMES:
        covered = paint(scene_of(thing, "red", "picture book", "yellow", None, "day", 0.105), 256).covered[0] > 0.5
        height, width = covered.any(1).sum(), covered.any(0).sum()
        assert max(height, width) >= 48, (thing, height, width)


@pytest.mark.parametrize("place", [place.name for place in PLACES])
def test_places_are_tints_and_not_flat_in_every_light(place: str) -> None:
    for light, style in product((word.name for word in LIGHTS), (word.name for word in STYLES)):
        pixels = paint(scene_of("star", "red", style, None, place, light, 0.1), 128).pixels / 255
        rim = np.ones(pixels.shape[:2], bool)
        rim[15:-15, 15:-15] = False
        colours = lab(pixels[rim])
        assert np.median(np.hypot(colours[:, 1], colours[:, 2])) <= 36, (light, style)
        assert colours[:, 0].std() > 1.2, (light, style)


def test_night_is_dark_and_day_is_not() -> None:
    for place, style in product((word.name for word in PLACES), (word.name for word in STYLES)):
        lightness = {}
        for light in ("day", "sunset", "night", "fog"):
            pixels = paint(scene_of("star", "red", style, None, place, light, 0.1), 64).pixels / 255
            lightness[light] = float(np.median(lab(pixels)[..., 0]))
        assert lightness["night"] < 45 < 60 < min(lightness["day"], lightness["sunset"], lightness["fog"]), (
            place,
            style,
        )


@pytest.mark.parametrize("tint", list(TINTS))
def test_a_plain_ground_has_the_tint_of_its_name(tint: str) -> None:
    for style in STYLES:
        pixels = paint(scene_of("star", "red", style.name, tint, None, "day", 0.2), 128).pixels / 255
        rim = np.ones(pixels.shape[:2], bool)
        rim[15:-15, 15:-15] = False
        seen = np.median(lab(pixels[rim]), axis=0)
        far = {name: float(np.linalg.norm(seen - lab(rgb))) for name, rgb in TINTS.items()}
        assert min(far, key=far.__getitem__) == tint, style.name


def test_white_and_black_stand_out_from_what_is_around_them() -> None:
    for seed in range(1500):
        scene = sample_scene(seed)
        if len(scene.things) > 1 or scene.things[0].colour not in ("white", "black"):
            continue
        painted = paint(scene, 128)
        colours = lab(painted.pixels / 255)[..., 0]
        inside = np.median(colours[painted.main[0] > 0.9])
        rows, columns = np.nonzero(painted.covered[0] > 0.5)
        near = (slice(max(rows.min() - 8, 0), rows.max() + 9), slice(max(columns.min() - 8, 0), columns.max() + 9))
        outside = np.median(colours[near][painted.covered[0][near] < 0.05])
        assert abs(inside - outside) > 5, scene


def test_styles_differ_much_more_than_seeds() -> None:
    scene = scene_of("house", "red", "", None, "meadow", "day", 0.27)
    pictures = {word.name: paint(replace(scene, style=word.name), 256).pixels.astype(float) for word in STYLES}
    roughness = {name: np.abs(np.diff(p[:60], axis=1)).mean() for name, p in pictures.items()}
    assert roughness["crayon"] > 2 * roughness["picture book"]
    blocks = pictures["pixel art"].reshape(32, 8, 32, 8, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    assert lab(pictures["ink"][10:60] / 255)[..., 1:].std() < 3
    assert np.median(lab(pictures["watercolour"][:3] / 255)[..., 0]) > 94  # bare paper at the rim


@pytest.mark.parametrize("weather", [weather.name for weather in WEATHERS])
def test_weather_falls(weather: str) -> None:
    scene = scene_of("cat", "red", "picture book", None, "street", "day", 0.2)
    dry, wet = paint(scene, 128).pixels, paint(replace(scene, weather=weather), 128).pixels
    assert np.abs(dry.astype(int) - wet).max() > 60


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_things_are_not_squashed_in_wide_and_tall_pictures(style: str) -> None:
    shapes = []
    for size in ((256, 256), (448, 256), (256, 448)):
        scene = replace(scene_of("apple", "red", style, "blue", None, "day", 0.3), ratio=size[0] / size[1])
        painted = paint(scene, size)
        assert painted.pixels.shape == (size[1], size[0], 3)
        covered = painted.covered[0] > 0.5
        shapes.append(covered.any(0).sum() / covered.any(1).sum())
    assert np.ptp(shapes) < 0.12


def test_sizes_keep_ratio_and_area() -> None:
    width, height = size_of(replace(sample_scene(1), ratio=1.75), 256 * 256)
    assert (width % 64, height % 64) == (0, 0)
    assert 1.4 < width / height < 2.1
