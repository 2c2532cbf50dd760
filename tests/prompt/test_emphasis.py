"""Brackets as weights: every rule, and bounds that hostile text meets."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.prompt.dialect import A1111, NATIVE
from modules.prompt.emphasis import ROUND, Run, runs


def pairs(text: str, dialect=A1111) -> list[tuple[str, float]]:
    return [(run.text, run.weight) for run in runs(text, dialect=dialect)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("", 1.0)]),
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("((x))", [("x", 1.1 * 1.1)]),
        ("[x]", [("x", 1 / 1.1)]),
        ("(x:1.5)", [("x", 1.5)]),
        ("(x: 1.5 )", [("x", 1.5)]),
        ("(x:+.5)", [("x", 0.5)]),
        ("(x:-1)", [("x", -1.0)]),
        ("(x:0)", [("x", 0.0)]),
        ("[x:1.5]", [("x:1.5", 1 / 1.1)]),  # numbers belong to round brackets
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[unbalanced", [("unbalanced", 1 / 1.1)]),
        ("a) b] c:1)", [("a) b] c:1)", 1.0)]),
        (r"\(literal\] \\ \[x\)", [(r"(literal] \ [x)", 1.0)]),
        (r"a\b", [("ab", 1.0)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("(a:1.1)(b)", [("ab", 1.1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.1 * (1 / 1.1)), (" c", 1 / 1.1)]),  # kinds may straddle
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        ),
        ("a BREAK b", [("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]),
        ("a  BREAK\n BREAK b", [("a", 1.0), ("BREAK", -1.0), ("", 1.0), ("BREAK", -1.0), ("b", 1.0)]),
        ("BREAKFAST or break", [("BREAKFAST or break", 1.0)]),
        ("(a BREAK b:1.5)", [("a", 1.5), ("BREAK", -1.5), ("b", 1.5)]),
        ("(a BREAK b:0)", [("aBREAKb", 0.0)]),  # as the word merges with its equals
        ("(x:1e308)", [("x:1e308", 1.1)]),
        ("(x:nan)", [("x:nan", 1.1)]),
        ("(x:inf)", [("x:inf", 1.1)]),
        ("(x:1.2.3)", [("x:1.2.3", 1.1)]),
        ("(x:99)", [("x", 10.0)]),
        ("(x:-99)", [("x", -10.0)]),
        ("((x:100):0.01)", [("x", 1.0)]),
    ],
)
def test_weights(text, expected):
    assert pairs(text) == expected


def test_break_inside_brackets_breaks_in_our_reading():
    assert pairs("(a BREAK b:1.5)", NATIVE) == [("a", 1.5), ("BREAK", -1.0), ("b", 1.5)]
    assert [run.is_break for run in runs("(a BREAK b:1.5)")] == [False, True, False]


def test_a_digit_flood_is_clamped():
    assert pairs(f"(x:{'9' * 5000})") == [("x", 10.0)]
    assert runs("(" * 64 + "x" + ":9999)" * 64)[0].weight == 10.0


def test_open_brackets_are_bounded():
    assert runs("[(" * 32 + "x")[0].text == "x"
    with pytest.raises(BadValue) as caught:
        runs("[(" * 32 + "(x")
    assert caught.value.code == "prompt_too_deep"


def test_spans_point_into_the_text():
    assert runs(r"a\(b (c)") == (Run("a(b ", 1.0, ((0, 1), (2, 3), (3, 5))), Run("c", 1.1, ((6, 7),)))


WORDS = [*"ab1.5 :|[]()\\,\n猫-", "BREAK", ":1.2)", ": -3 )"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60).map("".join), st.sampled_from([NATIVE, A1111]))
def test_any_text_has_finite_weights_and_true_spans(text, dialect):
    found = runs(text, dialect=dialect)
    assert found
    for run in found:
        assert -10 <= run.weight <= 10
        assert run.text == "BREAK" or run.text == "".join(text[start:end] for start, end in run.spans)
    for one, other in pairwise(found):
        assert one.weight != other.weight or "BREAK" in (one.text, other.text) or abs(one.weight) == 10


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("ab ,猫\n"), min_size=1, max_size=30), st.integers(0, 20))
def test_nesting_multiplies(text, depth):
    (run,) = runs("(" * depth + text + ")" * depth)
    assert run.text == text
    assert run.weight == pytest.approx(min(ROUND**depth, 10.0))
