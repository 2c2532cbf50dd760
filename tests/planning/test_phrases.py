"""Styles and wildcard lists of a data folder: found, changed, kept, and never lost."""

import pytest

from modules.core.errors import BadValue, NotFound
from modules.planning.phrases import Phrases
from modules.prompt.styles import Style, from_csv

INK = Style("ink", "{prompt}, ink wash", "photo")


def test_styles_of_several_files_the_own_one_last(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "a.csv").write_text("name,prompt\nink,old\nbig,huge\n", "utf-8")
    (tmp_path / "styles" / "b.csv").write_text("no table", "utf-8")
    (tmp_path / "styles.csv").write_text("name,prompt\nink,new\n", "utf-8")
    phrases = Phrases(tmp_path)
    assert {name: style.prompt for name, style in phrases.styles().items()} == {"ink": "new", "big": "huge"}
    assert {name: one.is_own for name, one in phrases.shelved().items()} == {"ink": True, "big": False}
    (problem,) = phrases.problems()
    assert (problem.code, problem.facts["file"]) == ("bad_styles", "b.csv")


def test_a_style_is_added_renamed_edited_and_removed(tmp_path):
    phrases = Phrases(tmp_path)
    phrases.keep(INK)
    phrases.keep(Style("big", "huge"))
    phrases.keep(Style("ink 2", "wash"), instead_of="ink")
    assert from_csv((tmp_path / "styles.csv").read_text("utf-8")) == (Style("ink 2", "wash"), Style("big", "huge"))
    assert "{prompt}, ink wash" in (tmp_path / "styles.csv.bak").read_text("utf-8")
    phrases.remove("big")
    assert list(phrases.styles()) == ["ink 2"]


def test_what_cannot_be_kept_is_refused_and_nothing_is_lost(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "a.csv").write_text("name,prompt\nbig,huge\n", "utf-8")
    phrases = Phrases(tmp_path)
    phrases.keep(INK)
    for style, code in ((Style(" "), "bad_style"), (Style("a\nb"), "bad_style"), (INK, "style_exists"),
                        (Style("long", "a" * 20_001), "prompt_too_long")):  # fmt: skip
        with pytest.raises(BadValue) as caught:
            phrases.keep(style)
        assert caught.value.code == code
    with pytest.raises(NotFound):
        phrases.remove("nope")
    with pytest.raises(BadValue, match="styles folder"):
        phrases.remove("big")
    phrases.keep(Style("big", "vast"), instead_of="big")  # a changed one of another file is kept in our own
    assert phrases.styles()["big"].prompt == "vast"
    phrases.remove("big")
    assert phrases.styles()["big"].prompt == "huge"
    (tmp_path / "styles.csv").write_text("damaged", "utf-8")
    with pytest.raises(BadValue, match="cannot be read"):
        phrases.keep(Style("new"))
    assert (tmp_path / "styles.csv").read_text("utf-8") == "damaged"


def test_wildcard_lists_by_folder_name_and_star(tmp_path):
    (tmp_path / "wildcards" / "animals").mkdir(parents=True)
    (tmp_path / "wildcards" / "animals" / "cats.txt").write_text("tabby\n# no\nmanx\n", "utf-8")
    (tmp_path / "wildcards" / "animals" / "dogs.txt").write_text("poodle\n", "utf-8")
    (tmp_path / "secret.txt").write_text("no\n", "utf-8")
    phrases = Phrases(tmp_path)
    assert phrases.lists() == ["animals/cats", "animals/dogs"]
    assert phrases.lines("animals/cats") == ("tabby", "manx")
    assert phrases.lines("animals/*") == ("tabby", "manx", "poodle")
    assert phrases.lines("../secret") is None
    assert phrases.lines("animals/../../secret") is None
    (tmp_path / "wildcards" / "animals" / "cats.txt").write_text("persian\n", "utf-8")
    assert phrases.lines("animals/cats") == ("persian",)
