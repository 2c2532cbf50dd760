"""Scenes are functions of their seeds, stay inside the world's tables, and leave the held-out combinations alone."""

from collections import Counter

import numpy as np
import pytest

from modules.training.lab import distance
from modules.training.scenes import (
    colour_allowed,
    held_out,
    held_out_combinations,
    sample_scene,
)
from modules.training.things import DRAWN
from modules.training.world import (
    COLOURS,
    LIGHTS,
    PAINT,
    PLACE_LIGHTS,
    PLACE_WEATHERS,
    PLACES,
    STYLES,
    THINGS,
    TINTS,
    WEATHERS,
)

SCENES = [sample_scene(seed) for seed in range(3000)]


def test_the_world_is_whole() -> None:
    assert (len(THINGS), len(COLOURS), len(PLACES), len(TINTS), len(LIGHTS), len(STYLES)) == (20, 12, 8, 8, 4, 6)
    assert set(DRAWN) == {thing.name for thing in THINGS}
    assert set(PAINT) == {colour.name for colour in COLOURS}
    assert set(TINTS) <= set(PAINT)


def test_named_colours_are_far_apart() -> None:
    names = list(PAINT)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            assert distance(PAINT[one], PAINT[other]) > 20, (one, other)


def test_the_same_seed_gives_the_same_scene() -> None:
    assert sample_scene(5) == sample_scene(5)
    assert sample_scene(5) != sample_scene(6)


def test_everything_of_the_world_occurs() -> None:
    seen = Counter(
        value
        for scene in SCENES
        for value in (
            ("ground", scene.ground), ("light", scene.light), ("weather", scene.weather), ("style", scene.style),
            ("count", scene.count), *((p.thing, p.colour) for p in scene.things),
        )
    )  # fmt: skip
    wanted = [("ground", word.name) for word in PLACES] + [("ground", tint) for tint in TINTS]
    wanted += [("light", word.name) for word in LIGHTS] + [("weather", word.name) for word in WEATHERS]
    wanted += [("style", word.name) for word in STYLES] + [("count", count) for count in (1, 2, 3)]
    assert all(seen[value] >= 20 for value in wanted), [value for value in wanted if seen[value] < 20]
    assert all(seen[thing.name, colour.name] for thing in THINGS for colour in COLOURS)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.75])
def test_things_lie_inside_the_picture_and_are_large_enough(ratio: float) -> None:
    for seed in range(400):
        scene = sample_scene(seed, ratio=ratio)
        wide, tall = max(ratio, 1.0), max(1 / ratio, 1.0)
        for placed in scene.things:
            assert 2 * placed.r * 256 >= 48
            assert placed.r <= placed.y * tall + 0.03
            assert placed.y * tall + placed.r <= tall
            assert placed.r * 0.8 <= placed.x * wide <= wide - 0.8 * placed.r


def test_lights_and_weather_fit_the_place() -> None:
    for scene in SCENES:
        assert (scene.tint is None) != (scene.place is None)
        assert scene.light in PLACE_LIGHTS.get(scene.place or "", ("day",))
        assert scene.weather is None or scene.weather in PLACE_WEATHERS[scene.place or ""]


def test_no_thing_stands_on_its_own_lightness() -> None:
    for scene in SCENES:
        for placed in scene.things:
            assert colour_allowed(placed.colour, scene.tint, scene.place, scene.light, scene.style)
    assert not colour_allowed("white", None, "snow", "day")
    assert not colour_allowed("white", "white", None, "day")
    assert not colour_allowed("black", None, "meadow", "night")


def test_several_are_alike_and_pairs_differ() -> None:
    for scene in SCENES:
        if scene.count > 1:
            assert len({(p.thing, p.colour, p.size) for p in scene.things}) == 1
            assert len(scene.kinds) == 1
        else:
            assert len({p.thing for p in scene.things}) == len(scene.things) == len(scene.kinds)


def test_spots_tell_the_truth() -> None:
    for scene in SCENES:
        for placed in scene.things:
            if placed.spot in ("left", "right"):
                assert (placed.x < 0.45) == (placed.spot == "left")
                assert (placed.x > 0.55) == (placed.spot == "right")
        if len(scene.kinds) == 2 and scene.kinds[0].spot in ("top", "bottom"):
            above = min(scene.kinds, key=lambda placed: placed.y)
            assert above.spot == "top"


def test_pairs_make_binding_necessary() -> None:
    pairs = [scene.things for scene in SCENES if len(scene.kinds) == 2]
    same_colour = sum(one.colour == other.colour for one, other in pairs) / len(pairs)
    shared = sum(one.colour == other.colour or (one.size or 0) == other.size for one, other in pairs) / len(pairs)
    assert 0.15 < same_colour < 0.35
    assert shared >= 0.3


def test_held_out_combinations_are_fixed_balanced_and_half_chinese() -> None:
    english, chinese = held_out_combinations("en"), held_out_combinations("zh")
    assert len(english) == len(chinese) == 150
    every = {*english, *chinese}
    assert len(every) == 300
    grounds = {*TINTS, *(place.name for place in PLACES)}
    for position, names in enumerate(({t.name for t in THINGS}, set(PAINT), grounds)):
        counts = Counter(row[position] for row in every)
        assert set(counts) == names
        assert min(counts.values()) >= 15
    for thing, colour, ground in every:
        assert held_out(thing, colour, ground)
        tint, place = (ground, None) if ground in TINTS else (None, ground)
        assert colour_allowed(colour, tint, place, "day")


def test_no_scene_for_training_holds_a_held_out_combination() -> None:
    for scene in SCENES:
        for placed in scene.things:
            assert not held_out(placed.thing, placed.colour, scene.ground)


def test_scenes_are_drawn_from_all_colours_evenly() -> None:
    colours = Counter(scene.things[0].colour for scene in SCENES)
    assert np.ptp(list(colours.values())) < 0.06 * len(SCENES)
