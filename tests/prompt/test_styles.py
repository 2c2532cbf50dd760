"""Styles: tables read and written, put into prompts and found in them again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.prompt.styles import Style, apply, extract, from_csv, merged, to_csv

INK = Style("ink", "{prompt}, ink wash", "photo")
BIG = Style("big", "huge", "")


def test_reads_tables_of_several_ages():
    text = '\ufeffname,prompt,negative_prompt\nink,"{prompt}, ink wash",photo\n,skipped,\nbig,huge\n'
    assert from_csv(text) == (INK, BIG)
    assert from_csv("name,text\r\nbig,huge\r\n") == (BIG,)
    assert from_csv('name,prompt,negative_prompt\na,"two\nlines, ""quoted""",\n') == (
        Style("a", 'two\nlines, "quoted"'),
    )


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", 'name,prompt\na,"open', "name\n" + "a" * 5_000_000])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(BadValue) as caught:
        from_csv(text, file="mine.csv")
    assert caught.value.code == "bad_styles"
    assert "mine.csv" in caught.value.message


def test_a_later_file_wins():
    assert merged([(INK, BIG), (Style("big", "vast"),)]) == {"ink": INK, "big": Style("big", "vast")}


def test_apply():
    assert apply("a cat", "", [INK, BIG]) == ("a cat, ink wash, huge", "photo")
    assert apply("", "blurry", [BIG, INK]) == ("huge, ink wash", "blurry, photo")
    assert apply(" a cat ", "b", [Style("none")]) == (" a cat ", "b")
    assert apply("a", "", [Style("twice", "{prompt} and {prompt}")]) == ("a and a", "")


def test_doubling_styles_are_stopped():
    with pytest.raises(BadValue) as caught:
        apply("a cat", "", [Style("twice", "{prompt}{prompt}")] * 40)
    assert caught.value.code == "prompt_too_long"
    assert len(apply("a" * 19_000, "", [Style("x", "{prompt}" + "b" * 990)])[0]) == 19_990


def test_extract():
    assert extract("a cat,  ink wash, huge", "photo", [INK, BIG]) == ("a cat", "", ("ink", "big"))
    assert extract("a cat, ink wash", "", [INK]) == ("a cat, ink wash", "", ())  # its other half is missing
    assert extract("hugely", "", [BIG]) == ("hugely", "", ())
    assert extract("huge", "", [BIG]) == ("", "", ("big",))


WORDS = st.text(st.sampled_from("ab 猫"), min_size=1, max_size=8).map(lambda text: " ".join(text.split()) or "a")


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, st.lists(st.builds(Style, WORDS, WORDS, WORDS), max_size=3, unique_by=lambda style: style.name))
def test_what_is_applied_can_be_extracted(prompt, negative, styles):
    whole = apply(prompt, negative, styles)
    rest, other, names = extract(*whole, styles)
    assert len(names) == len(styles)
    assert (rest, other) == (prompt, negative)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(Style, st.text(min_size=1), st.text(), st.text()), max_size=5))
def test_tables_round_trip(styles):
    assert from_csv(to_csv(styles)) == tuple(styles)
