"""Captions say what is in the picture and nothing else, in both languages and in the shapes that people type."""

import re
from collections import Counter

import numpy as np
import pytest

from modules.prompt import emphasis, tokens
from modules.training.captions import Mood, caption, plural, sample_mood, tell
from modules.training.scenes import sample_scene
from modules.training.world import COLOURS, LIGHTS, PLACES, STYLES, THINGS, WEATHERS, Placed, Scene, Word

PLAIN = {
    form: {language: Mood(language, form, False, False) for language in ("en", "zh")} for form in ("tags", "sentence")
}


def chunks(text: str) -> list[int]:
    return [len(chunk.ids) for chunk in tokens.chunks(emphasis.runs(text))]


def says(text: str, word: Word) -> bool:
    """Whether one of an idea's names is in the text, also in the plural."""
    return any(name in text for name in (*word.en, *(plural(n) for n in word.en), *word.zh))


def test_full_captions_name_thing_and_colour() -> None:
    rng = np.random.default_rng(1)
    things, colours = ({word.name: word for word in table} for table in (THINGS, COLOURS))
    for seed in range(400):
        scene = sample_scene(seed)
        for form in PLAIN:
            for mood in PLAIN[form].values():
                text = caption(scene, rng, mood).lower()
                for placed in scene.kinds:
                    assert says(text, things[placed.thing]), (placed, text)
                    assert says(text, colours[placed.colour]), (placed, text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_noted_as_said_is_said_and_unusual_things_are_never_left_out(language: str) -> None:
    rng = np.random.default_rng(2)
    tables = {"light": LIGHTS, "weather": WEATHERS, "style": STYLES, "place": PLACES}
    words = {kind: {word.name: word for word in table} for kind, table in tables.items()}
    for seed in range(500):
        scene = sample_scene(seed)
        told = tell(scene, rng, PLAIN["sentence"][language])
        text = told.text.lower()
        assert (scene.light == "day") or "light" in told.said
        assert (scene.weather is None) or "weather" in told.said
        assert (scene.style == "picture book") or "style" in told.said
        for kind in ("light", "weather", "style"):
            value = getattr(scene, kind)
            if value and kind in told.said:
                assert says(text, words[kind][value]), (kind, text)
        if "ground" in told.said and scene.place:
            assert says(text, words["place"][scene.place]), text


def test_captions_never_name_a_thing_style_or_weather_that_is_not_there() -> None:
    rng = np.random.default_rng(3)
    for seed in range(600):
        scene = sample_scene(seed)
        text = re.sub(
            r"hot air balloon|grey|gray", "", caption(scene, rng, Mood("en", "sentence", False, False)).lower()
        )
        words = set(re.findall(r"[a-z]+", text))
        present = {placed.thing for placed in scene.things}
        for thing in THINGS:
            if thing.name not in present:
                assert not words & {thing.en[0], plural(thing.en[0])}, (thing.name, text)
        for style in ("crayon", "ink", "watercolor", "watercolour", "papercut", "pixels"):
            known = next(word.name for word in STYLES if style in word.en)
            assert style not in words or known == scene.style
        assert scene.weather == "rain" or "rain" not in words
        assert scene.light == "night" or "night" not in words


def test_counts_are_said_with_plurals_and_measure_words() -> None:
    rng = np.random.default_rng(4)
    three = Scene(tuple(Placed("mushroom", "pink", x, 0.6, 0.13) for x in (0.2, 0.5, 0.8)), None, "meadow", "day", 1)
    english = [caption(three, rng, PLAIN["sentence"]["en"]) for _ in range(60)]
    assert all(re.search(r"(three|3) pink (mushrooms|toadstools)", text.lower()) for text in english)
    chinese = [caption(three, rng, PLAIN["sentence"]["zh"]) for _ in range(60)]
    assert all(re.search(r"[三3][朵个]", text) for text in chinese)
    two = Scene(tuple(Placed("cat", "black", x, 0.6, 0.2) for x in (0.3, 0.7)), "blue", None, "day", 1)
    assert all(re.search(r"[两2][只个]", caption(two, rng, PLAIN["sentence"]["zh"])) for _ in range(60))
    assert [plural(noun) for noun in ("fox", "bunny", "fish", "house")] == ["foxes", "bunnies", "fish", "houses"]


def test_chinese_has_every_habit() -> None:
    rng = np.random.default_rng(5)
    texts = [caption(sample_scene(seed), rng, PLAIN["sentence"]["zh"]) for seed in range(500)]
    for habit in ("，", ",", "的", "和", "一只", "一个", "在", "上方", "左边"):
        assert sum(habit in text for text in texts) >= 5, habit
    assert sum("的" not in text for text in texts) >= 50
    assert not any("小小" in text or "大小" in text for text in texts)


def test_english_has_every_habit() -> None:
    rng = np.random.default_rng(6)
    texts = [caption(sample_scene(seed), rng, sample_mood(rng)) for seed in range(1500)]
    for habit in ("there is", " and ", "left of", "above", "a pair of", "background", "violet", "GRAY", "watercolor"):
        assert any(habit in text for text in texts), habit


def test_moods_and_lengths_are_spread_as_planned() -> None:
    rng = np.random.default_rng(7)
    moods = [sample_mood(rng) for _ in range(2000)]
    languages = Counter(mood.language for mood in moods)
    assert 0.3 < languages["zh"] / 2000 < 0.4
    assert 0.015 < languages["mixed"] / 2000 < 0.05
    captions = [caption(sample_scene(seed), rng) for seed in range(800)]
    counted = [chunks(text) for text in captions]
    assert {length for lengths in counted for length in lengths} == {77}
    assert max(len(lengths) for lengths in counted) <= 4
    assert 0.11 < sum(len(lengths) > 1 for lengths in counted) / 800 < 0.2


FIRST = {
    "a small red house in the snow at night, a big yellow moon above, paper cut": Scene(
        (Placed("moon", "yellow", 0.5, 0.25, 0.2, "top", "big"),
         Placed("house", "red", 0.5, 0.7, 0.13, "bottom", "small")),
        None, "snow", "night", 1, None, "paper cut",
    ),
    "an orange fox on the left, a blue umbrella on the right, rain, watercolor": Scene(
        (Placed("fox", "orange", 0.27, 0.6, 0.2, "left"), Placed("umbrella", "blue", 0.73, 0.6, 0.2, "right")),
        None, "meadow", "day", 1, "rain", "watercolour",
    ),
    "three pink mushrooms on a meadow, crayon": Scene(
        tuple(Placed("mushroom", "pink", x, 0.6, 0.13) for x in (0.2, 0.5, 0.8)),
        None, "meadow", "day", 1, None, "crayon",
    ),
    "a white lighthouse by the sea, sunset, pixel art": Scene(
        (Placed("lighthouse", "white", 0.5, 0.6, 0.26),), None, "sea", "sunset", 1, None, "pixel art"
    ),
    "雪地里的红色小房子,夜晚,上方黄色月亮,剪纸": Scene(
        (Placed("moon", "yellow", 0.5, 0.25, 0.2, "top"), Placed("house", "red", 0.5, 0.7, 0.18, "bottom")),
        None, "snow", "night", 1, None, "paper cut",
    ),
    "左边黑猫,右边红灯笼,街道,夜晚,水墨": Scene(
        (Placed("cat", "black", 0.27, 0.6, 0.2, "left"), Placed("lantern", "red", 0.73, 0.6, 0.2, "right")),
        None, "street", "night", 1, None, "ink",
    ),
    "黄色热气球在山里,日落,水彩": Scene(
        (Placed("balloon", "yellow", 0.5, 0.35, 0.26),), None, "mountains", "sunset", 1, None, "watercolour"
    ),
    "海上的紫色鲸鱼和白色小船,绘本": Scene(
        (Placed("whale", "purple", 0.27, 0.6, 0.2, "left"), Placed("boat", "white", 0.73, 0.6, 0.2, "right")),
        None, "sea", "day", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("prompt", FIRST)
def test_the_first_prompts_are_said_of_their_scenes(prompt: str) -> None:
    language = "zh" if re.search(r"[\u4e00-\u9fff]", prompt) else "en"
    form = "tags" if prompt.startswith("左边") else "sentence"
    rng, mood, scene = np.random.default_rng(8), Mood(language, form, False, False), FIRST[prompt]
    assert any(caption(scene, rng, mood) == prompt for _ in range(60_000))
