"""Chance in prompts: what is picked, that it repeats, and that it ends."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.prompt.wildcards import Expanded, combinations, expand, from_text, is_chance
from tests.effort import effort

LISTS = {
    "colour": ("red", "blue"),
    "places/wet": ("sea", "rain"),
    "thing": ("{cat|fox}", "__colour__ house"),
    "loop": ("__loop__",),
    "grow": ("__grow__ " * 500,),
    "my_list-2": ("x",),
    "empty": (),
}


def picked(text: str, tries: int = 300) -> Counter:
    return Counter(expand(text, LISTS.get, seed).text for seed in range(tries))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", {"plain"}),
        ("{a|b}", {"a", "b"}),
        ("x {a|} y", {"x a y", "x  y"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{2$$a|b|c}", {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{9$$a|b}", {"a, b", "b, a"}),
        ("{0$$a|b}", {""}),
        ("{0::a|b}", {"b"}),
        ("{0::a|0::b}", {"a", "b"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("[a|b]", {"[a|b]"}),
        ("{a}", {"{a}"}),
        ("{prompt}", {"{prompt}"}),
        (r"\{a|b\}", {r"\{a|b\}"}),
        ("{a|b", {"{a|b"}),
        ("a|b}", {"a|b}"}),
        ("__colour__", {"red", "blue"}),
        ("__places/wet__ __my_list-2__", {"sea x", "rain x"}),
        ("__thing__", {"cat", "fox", "red house", "blue house"}),
        ("{__colour__|x}", {"red", "blue", "x"}),
        ("___ a__b __ c__", {"___ a__b __ c__"}),
    ],
)
def test_picks(text, expected):
    assert set(picked(text)) == expected


def test_shares():
    found = picked("{3::a|b}", 2_000)
    assert found["a"] / 2_000 == pytest.approx(0.75, abs=0.04)


def test_a_seed_means_one_text_everywhere():
    text = "{a|b|c} __colour__ {2$$1|2|3|4}"
    assert [expand(text, LISTS.get, seed).text for seed in range(4)] == GOLDEN
    assert expand(text, LISTS.get, 3) == expand(text, LISTS.get, 3)


GOLDEN = ["c red 4, 2", "a red 4, 3", "c red 4, 1", "a blue 3, 2"]


def test_missing_lists_stay_and_are_named():
    assert expand("__nope__ __colour__ __empty__", LISTS.get, 0) == Expanded(
        "__nope__ blue __empty__", ("nope", "empty")
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("__loop__", "wildcard_too_deep"),
        ("__grow__", "prompt_too_long"),
        ("{" * 65, "prompt_too_deep"),
    ],
)
def test_endless_lists_end(text, code):
    with pytest.raises(BadValue) as caught:
        expand(text, LISTS.get, 0, field="negative_prompt")
    assert (caught.value.code, caught.value.field) == (code, "negative_prompt")


def test_eight_levels_are_allowed():
    chain = {str(level): (f"__{level + 1}__",) for level in range(8)} | {"7": ("end",), "8": ("end",)}
    assert expand("__0__", chain.get, 0).text == "end"


@pytest.mark.parametrize("piece", ["__", "_", "__a", "{a|b}", "{a|", "|", "__a__", "1$$", "{1-", "||", "1::|", "\\"])
def test_hostile_text_is_read_in_linear_time(piece):
    with effort(5.0), suppress(BadValue):
        expand((piece * 20_000)[:20_000], {}.get, 0)
        expand("{99$$" + (piece * 20_000)[:19_990] + "|}", {}.get, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*"ab{}|[]\\$2:_-", "__colour__", "__thing__", "$$"]), max_size=40).map("".join),
    st.integers(),
)
def test_any_text_is_expanded(text, seed):
    expand(text, LISTS.get, seed)


def test_lists_from_text():
    assert from_text("\ufeffred\r\n\n # no\n blue # yes \n") == ("red", "blue # yes")


def all_of(text: str, most: int = 64) -> list[str]:
    return [found.text for found in combinations(text, LISTS.get, most)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ["plain"]),
        ("{a|b} {1|2}", ["a 1", "a 2", "b 1", "b 2"]),
        ("{a|{b|c} d}", ["a", "b d", "c d"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{1-2$$+$$a|b}", ["a", "b", "a+b"]),
        ("{0::a|3::b}", ["b"]),
        ("{[a|b]|c}", ["[a|b]", "c"]),
        ("{ {a|b} }", ["{ a }", "{ b }"]),
        ("__thing__", ["cat", "fox", "red house", "blue house"]),
        ("__nope__ {a|b}", ["__nope__ a", "__nope__ b"]),
    ],
)
def test_every_combination_in_order(text, expected):
    assert all_of(text) == expected
    assert set(expected) >= {expand(text, LISTS.get, seed).text for seed in range(30)} or "$$" in text


def test_combinations_are_bounded_and_end():
    assert len(all_of("{a|b|c|d}" * 30)) == 64
    assert combinations("__nope__ {a|b}", LISTS.get, 9)[1].missing == ("nope",)
    for text, code in (
        ("__loop__", "wildcard_too_deep"),
        ("{" * 65, "prompt_too_deep"),
        ("__grow__", "prompt_too_long"),
    ):
        with pytest.raises(BadValue) as caught:
            all_of(text)
        assert caught.value.code == code


def test_what_is_chance():
    assert all(map(is_chance, ("{a|b}", "x __y__", "{ {a|b} }")))
    assert not any(map(is_chance, ("{a}", "[a|b]", r"\{a|b\}", "{[a|b]}", "a__b")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*"ab{}|[]\\$2:_-", "__colour__", "$$"]), max_size=30).map("".join))
def test_any_text_has_combinations(text):
    assert 1 <= len(all_of(text, 10)) <= 10
