"""The tree of a prompt: AND, schedules, alternation, brackets that fit or do not, bounds."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.prompt.dialect import A1111, NATIVE, dialect_of
from modules.prompt.emphasis import runs
from modules.prompt.grammar import Alternated, Scheduled, Span, When, at, parse, timeline, variants
from tests.effort import effort


def by_call(text: str, calls: int = 10, **options) -> list[tuple[float, str]]:
    (part,) = parse(text, dialect=A1111).parts
    return [(variant.end, variant.text) for variant in variants(part, calls, **options)]


def shown(text: str, calls: int) -> list[str]:
    """The text of each denoiser call: the first variant whose end is not before the call."""
    listed = by_call(text, calls)
    return [next(said for end, said in listed if call <= end) for call in range(calls)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", [(10, "test")]),
        ("", [(10, "")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3 ]", [(3, "a "), (10, "a b")]),
        ("a [b::3]", [(3, "a b"), (10, "a ")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("[a:1:2]", [(2, "a"), (10, "1")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a unbalanced] b", [(10, "a unbalanced] b")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:+5.e-1] c", [(5, "a  c"), (10, "a b c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a (b: 3]", [(10, "[a (b: 3]")]),  # a group may not cut through another
        ("[ [a:b:3]", [(3, "[ a"), (10, "[ b")]),  # what is finished inside an open bracket stays
        ("([a:b:3]] x", [(3, "(a] x"), (10, "(b] x")]),
        ("[a:b:c]", [(10, "[a:b:c]")]),  # no number
        ("[[a:b:c]:3]", [(10, "[[a:b:c]:3]")]),  # and what holds it is no group either
        ("[(a:b:c):3]", [(10, "[(a:b:c):3]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        (r"[a\:b:c:3]", [(3, r"a\:b"), (10, "c")]),
        (r"\[a:b:3]", [(10, r"\[a:b:3]")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:3] | c", [(10, "[a:b:3] | c")]),  # a bar without brackets makes everything literal
        ("[a:b:3] (c|d)", [(10, "[a:b:3] (c|d)")]),
        ("[a:b:3] [c|d:2]", [(10, "[a:b:3] [c|d:2]")]),
        ("[a:b:3] [c|d", [(10, "[a:b:3] [c|d")]),
        ("[a:b:3] \\", [(10, "[a:b:3] \\")]),
        (r"[a:b:3] c\|d", [(3, r"a c\|d"), (10, r"b c\|d")]),
        ("[a:b:3][c:d:5]", [(3, "ac"), (5, "bc"), (10, "bd")]),
        ("[a:b:3] :5", [(3, "a"), (10, "b")]),  # a number at the very end weighs the part, even without AND
    ],
)
def test_schedules(text, expected):
    assert by_call(text) == expected


def test_the_switching_call_still_shows_the_first_text():
    assert shown("[a:b:10]", 20) == ["a"] * 11 + ["b"] * 9
    assert shown("[a:b:0.5]", 20) == ["a"] * 11 + ["b"] * 9


def test_alternation_counts_calls_from_the_second():
    assert shown("[a|b]", 5) == ["a", "a", "b", "a", "b"]
    assert shown("[fe|]male", 4) == ["female", "female", "male", "female"]
    assert [text for _, text in by_call("[fe|||]male", 5)] == ["female", "male", "male", "male", "female"]
    assert by_call("[a|(b:1.1)]", 2) == [(1, "a"), (2, "(b:1.1)")]
    assert [text for _, text in by_call("[a|[b:c:2]]", 4)] == ["a", "b", "a", "c"]
    assert [text for _, text in by_call("[x|y][1|2|3]", 6)] == ["x1", "y2", "x3", "y1", "x2", "y3"]


def test_hires_pass_owns_fractions_above_one_and_later_steps():
    later = {"first_pass_calls": 10}
    assert by_call("a [b:.5] c", 10, **later) == [(10, "a b c")]
    assert by_call("a [b:1.5] c", 10, **later) == [(5, "a  c"), (10, "a b c")]
    assert by_call("a [b:14] c", 10, **later) == [(4, "a  c"), (10, "a b c")]
    assert by_call("a [b:1.5] c", 10) == [(10, "a  c")]


def test_old_timeline_reads_numbers_below_one_as_fractions():
    assert by_call("[a:b:2.0]", 10, old_timeline=True) == [(2, "a"), (10, "b")]
    assert by_call("[a:b:2.0]", 10) == [(10, "a")]
    assert by_call("[a:b:.2]", 10, old_timeline=True, first_pass_calls=10) == [(2, "a"), (10, "b")]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", [("a", 1.0, 0)]),
        ("a AND b", [("a", 1.0, 0), (" b", 1.0, 5)]),
        ("a AND b :0.6 AND c", [("a", 1.0, 0), (" b", 0.6, 5), (" c", 1.0, 16)]),
        ("a:-2 AND b:+.5 ", [("a", -2.0, 0), (" b", 0.5, 8)]),
        ("a AND b:1e5", [("a", 1.0, 0), (" b:1e5", 1.0, 5)]),
        ("a AND b:99", [("a", 1.0, 0), (" b", 10.0, 5)]),
        ("a ANDROID b", [("a ANDROID b", 1.0, 0)]),
        ("AND", [("", 1.0, 0), ("", 1.0, 3)]),
        ("[a AND b:3]", [("[a", 1.0, 0), (" b:3]", 1.0, 6)]),
    ],
)
def test_and_parts(text, parts):
    assert [(part.text, part.weight, part.start) for part in parse(text, dialect=A1111).parts] == parts


def test_a_lone_ratio_is_text_in_our_reading_only():
    assert [(p.text, p.weight) for p in parse("a ratio of 16:9").parts] == [("a ratio of 16:9", 1.0)]
    assert [(p.text, p.weight) for p in parse("a ratio of 16:9", dialect=A1111).parts] == [("a ratio of 16", 9.0)]
    assert [p.weight for p in parse("a :2 AND b").parts] == [2.0, 1.0]


def test_negative_prompts_are_never_split():
    (part,) = parse("a AND b :2", composable=False).parts
    assert (part.text, part.weight) == ("a AND b :2", 1.0)


def test_a_stray_bar_is_text_in_our_reading():
    (part,) = parse("a | [b:c:0.5]").parts
    assert [variant.text for variant in timeline(part, 10)] == ["a | b", "a | c"]


def test_tree():
    (part,) = parse("a [b:c [d|e]:0.5]").parts
    alternated = Alternated(((Span(8, 9),), (Span(10, 11),)))
    assert part.nodes == (Span(0, 2), Scheduled((Span(3, 4),), (Span(5, 7), alternated), When(0.5, True)))


def test_timeline_switches_at_the_same_moment_whatever_the_steps():
    (part,) = parse("[a:b:0.25] [c:d:15]").parts
    assert [(v.end, v.text) for v in timeline(part, 20)] == [(0.25, "a c"), (0.75, "b c"), (1.0, "b d")]
    assert at(part, 0.2499, 20).text == "a c"
    assert at(part, 0.25, 20).text == "b c"


def test_timeline_alternates_by_step_from_the_first():
    (part,) = parse("[a|b|c]").parts
    assert [v.text for v in timeline(part, 4)] == ["a", "b", "c", "a"]
    assert [at(part, step / 4, 4).text for step in range(4)] == ["a", "b", "c", "a"]


def test_timeline_of_the_hires_pass():
    (part,) = parse("[a:b:1.5] [c:d:25] [e:f:0.5]").parts
    first = [(v.end, v.text) for v in timeline(part, 20, hires_steps=10)]
    second = [(v.end, v.text) for v in timeline(part, 20, hires_steps=10, second_pass=True)]
    assert first == [(0.5, "a c e"), (1.0, "a c f")]
    assert second == [(1.5, "a c f"), (2.0, "b d f")]


def test_dialects_by_name():
    assert dialect_of(()) is NATIVE
    assert dialect_of(("a1111",)) is A1111


def test_bounds_name_the_field():
    with pytest.raises(BadValue) as caught:
        parse("a" * 20_001, field="negative_prompt")
    assert (caught.value.code, caught.value.field) == ("prompt_too_long", "negative_prompt")
    with pytest.raises(BadValue) as caught:
        parse("([" * 32 + "(")
    assert caught.value.code == "prompt_too_deep"
    assert caught.value.hint
    parse("([" * 32)
    parse("a" * 20_000)
    parse("(a)" * 5_000)


def test_sixty_four_nested_schedules():
    text = "x"
    for step in range(64):
        text = f"[{text}:{step}]"
    (part,) = parse(text).parts
    assert variants(part, 100)[-1].text == "x"


WORDS = [*"ab1.5 :|[]()\\,\n猫", "[", ":", "]", " AND ", "BREAK", "[a:b:3]", "[a|b]"]
PROMPTS = st.lists(st.sampled_from(WORDS), max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(PROMPTS, st.sampled_from([NATIVE, A1111]), st.integers(1, 7))
def test_any_text_parses_and_spans_point_into_it(text, dialect, calls):
    prompt = parse(text, dialect=dialect)
    for part in prompt.parts:
        assert prompt.text[part.start :].startswith(part.text)
        listed = variants(part, calls)
        assert listed[-1].end == calls
        assert [v.end for v in listed] == sorted({v.end for v in listed})
        for variant in (*listed, *timeline(part, calls)):
            assert variant.text == "".join(part.text[span.start : span.end] for span in variant.spans)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab ,()猫\n"), max_size=40))
def test_text_without_schedules_is_kept_byte_for_byte(text):
    (part,) = parse(text, composable=False).parts
    assert variants(part, 3)[0].text == text


@settings(max_examples=200, deadline=None)
@given(PROMPTS, st.integers(1, 6), st.integers(1, 4))
def test_timeline_agrees_with_at(text, steps, sample):
    for part in parse(text).parts:
        start = 0.0
        for variant in timeline(part, steps):
            moment = start + (variant.end - start) * sample / 5
            assert at(part, moment, steps).text == variant.text
            start = variant.end


HOSTILE = [
    "()",
    "(",
    ":",
    "|",
    "\\",
    " ",
    "[a:b:3]",
    "[a|b]",
    "[a:",
    "[a|",
    "a AND b :1 ",
    "[a:b:c]",
    "(]",
    "[)",
    "a:1 ",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("dialect", [NATIVE, A1111])
def test_hostile_text_is_read_in_linear_time(piece, dialect):
    text = (piece * 20_000)[:20_000]
    with effort(5.0), suppress(BadValue):  # 0.02 s on a quiet machine; quadratic reading takes many seconds
        for part in parse(text, dialect=dialect).parts:
            runs(at(part, 0.5, 20).text, dialect=dialect)
