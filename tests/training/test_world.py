"""Scenes are functions of their seeds, captions say what is drawn, and every named colour is where it should be."""

import numpy as np
import pytest

from modules.training.captions import Mood, caption, sample_mood
from modules.training.questions import QUESTIONS, answers, token_ids
from modules.training.scenes import held_out, paint, sample_scene
from modules.training.header import vocabulary
from modules.training.things import DRAWN
from modules.training.world import COLOURS, PAINT, PLACES, THINGS, TINTS, Placed, Scene


def lab(colour: np.ndarray) -> np.ndarray:
    """sRGB [... 3] in 0..1 to CIE L*a*b* under D65."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_the_same_seed_paints_the_same_picture() -> None:
    assert np.array_equal(paint(sample_scene(5)).pixels, paint(sample_scene(5)).pixels)
    assert not np.array_equal(paint(sample_scene(5)).pixels, paint(sample_scene(6)).pixels)


def test_every_thing_is_drawn_and_every_colour_has_paint() -> None:
    assert set(DRAWN) == {thing.name for thing in THINGS}
    assert set(PAINT) == {colour.name for colour in COLOURS}
    assert set(TINTS) <= set(PAINT)


@pytest.mark.parametrize("thing", [thing.name for thing in THINGS])
def test_the_main_part_shows_its_colour_and_is_most_of_the_thing(thing: str) -> None:
    for colour in PAINT:
        tint = "green" if colour != "green" else "pink"
        painted = paint(Scene((Placed(thing, colour, 0.5, 0.5, 0.3),), tint, None, "day", 1))
        main, covered = painted.main[0] > 0.9, painted.covered[0] > 0.5
        assert main.sum() > 0.36 * covered.sum(), f"{thing}: too little of it takes the colour"
        seen = lab(np.median(painted.pixels[main].astype(float) / 255, axis=0))
        distances = {name: float(np.linalg.norm(seen - lab(np.array(paint_)))) for name, paint_ in PAINT.items()}
        assert min(distances, key=distances.__getitem__) == colour
        assert distances[colour] < 12


def test_named_colours_are_far_apart() -> None:
    names = list(PAINT)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            assert np.linalg.norm(lab(np.array(PAINT[one])) - lab(np.array(PAINT[other]))) > 20, (one, other)


def test_no_scene_for_training_holds_a_held_out_combination() -> None:
    for seed in range(300):
        scene = sample_scene(seed)
        for placed in scene.things:
            assert not held_out(placed.thing, placed.colour, scene.tint or scene.place or "")
    assert any(held_out(t.name, c.name, p.name) for t in THINGS for c in COLOURS for p in PLACES)


def test_full_captions_name_thing_colour_and_ground() -> None:
    rng = np.random.default_rng(1)
    words = {word.name: word for word in (*THINGS, *COLOURS, *PLACES)}
    for seed in range(200):
        scene = sample_scene(seed)
        for language in ("en", "zh"):
            text = caption(scene, rng, Mood(language, "tags", False, False)).lower()
            ground = scene.tint or scene.place or ""
            said = [ground, *(p.thing for p in scene.things), *(p.colour for p in scene.things)]
            for name in said:
                assert any(word in text for word in getattr(words[name], language)), (name, text)


def test_answers_fit_their_questions() -> None:
    for seed in range(200):
        for number, count in zip(answers(sample_scene(seed), False), QUESTIONS.values(), strict=True):
            assert 0 <= number < count


def test_captions_fit_whole_chunks_and_moods_cover_both_languages() -> None:
    rng = np.random.default_rng(2)
    moods = [sample_mood(rng) for _ in range(500)]
    assert 0.28 < sum(mood.language == "zh" for mood in moods) / 500 < 0.42
    lengths = {len(chunk) for seed in range(50) for chunk in token_ids(caption(sample_scene(seed), rng))}
    assert lengths == {77}


def test_the_vocabulary_names_everything_in_both_languages() -> None:
    words = vocabulary()
    assert len(words["things"]) == len(THINGS)
    assert all(entry["en"] and entry["zh"] for name, table in words.items() if name != "backgrounds" for entry in table)
