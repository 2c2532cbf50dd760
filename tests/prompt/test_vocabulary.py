"""Words that a small model was not taught: named in both languages, and never mere grammar."""

import pytest

from modules.prompt.vocabulary import MOST, unknown_words
from tests.effort import effort

WORLD = {
    "things": [
        {"name": "fox", "en": ["fox", "foxes"], "zh": ["狐狸"]},
        {"name": "house", "en": ["house", "cottage"], "zh": ["房子", "小屋"]},
        {"name": "balloon", "en": ["hot air balloon"], "zh": ["热气球"]},
    ],
    "colours": [{"name": "red", "en": ["red"], "zh": ["红", "红色"]}],
    "places": [{"name": "snow", "en": ["snow"], "zh": ["雪地"]}],
    "backgrounds": ["blue"],
}


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a small red house in the snow", ()),
        ("two red houses, a cottage and a fox's hot air balloon", ()),
        ("a red dragon and a castle", ("dragon", "castle")),
        ("Dragon, DRAGON, (dragon:1.3)", ("dragon",)),
        ("masterpiece, best quality, red fox on a blue background", ()),
        ("fox AND house BREAK snow <lora:dragon:0.8> # dragon", ()),
        ("雪地里的红色小房子", ()),
        ("一条龙和一只狐狸", ("龙",)),
        ("左边红色热气球，右边恐龙", ("恐龙",)),
        ("一只 orange 狐狸", ("orange",)),
        ("", ()),
    ],
)
def test_what_was_not_taught_is_named_once_in_order(text, unknown):
    assert unknown_words(text, WORLD) == unknown


def test_at_most_a_few_are_named():
    assert len(unknown_words("alpha bravo charlie delta echo foxtrot golf hotel india juliet", WORLD)) == MOST


@pytest.mark.parametrize("vocabulary", [{}, {"a": 3}, {"a": [3, None, {"en": 4}]}, {"a": {"b": ["red"]}}])
def test_a_strange_vocabulary_breaks_nothing(vocabulary):
    assert unknown_words("red 红", vocabulary) in (("red", "红"), ())


def test_long_texts_take_no_time():
    with effort(10.0):  # 0.02 s when nothing else runs
        unknown_words("fox 龙 " * 4_000, WORLD)
