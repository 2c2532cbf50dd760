"""Looking up texts: braces, fold titles, and the language a browser asks for."""

import pytest

from modules.webui import words
from modules.webui.controls import Form
from modules.webui.titles import fold_title, number

FORM = Form.build()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en", "en"), ("fr,zh;q=0.3,en;q=0.2", "zh"), ("", "en"), ("fr", "en"),
     (";;q=x,zh", "zh"), ("en;q=0.1,zh-TW;q=0.9", "zh")],
)  # fmt: skip
def test_the_best_language_is_chosen(accepted, language):
    assert words.choose(accepted) == language


def test_braces_are_filled_and_a_value_with_braces_stays_text():
    assert words.say("en", "info.seed", seed="{n}") == "seed {n}"


def title(name, **values):
    fold = next(fold for fold in FORM.folds if fold.name == name)
    return fold_title(fold, "X", {**FORM.defaults(), **values}, FORM, "en")


def test_titles_say_their_values():
    assert title("sampling") == "X · DPM++ 2M, 20 steps, CFG 7"
    assert title("hires") == "X · off"
    assert title("hires", hires=True, hires_scale=1.5) == "X · 1.5×, 0.7"
    assert title("compatibility") == "X · native"
    assert title("compatibility", clip_skip=2) == "X · Atelier, clip skip 2, noise NV (the same everywhere)"


@pytest.mark.parametrize(("value", "shown"), [(7.0, "7"), (7.25, "7.25"), (0.333333, "0.33"), (3, "3"), (None, "")])
def test_numbers_are_short(value, shown):
    assert number(value) == shown
