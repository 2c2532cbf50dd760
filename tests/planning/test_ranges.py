"""Values along an axis: commas and quotes, and ranges of numbers."""

import contextlib
import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.planning.ranges import MOST, numbers, split

VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("1, 2,3", [1, 2, 3]), ("1-5", [1, 2, 3, 4, 5]), ("1-5 (+2)", [1, 3, 5]), ("1-6 (+2)", [1, 3, 5]),
        ("10-1 (-3)", [10, 7, 4, 1]), ("5-1", [5, 4, 3, 2, 1]), ("1-10 [5]", [1, 3, 5, 7, 10]), ("7-9[1]", [7]),
        ("1-3, 10", [1, 2, 3, 10]), ("-3--1", [-3, -2, -1]), ("-1", [-1]), ('"4"', [4]), ("1\n2", [1, 2]),
    ],
)  # fmt: skip
def test_ranges_of_whole_numbers(text, made):
    assert numbers(text, whole=True) == made


def test_ranges_of_numbers():
    assert numbers("0-1 (+0.1)", whole=False) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert numbers("0.5-2 [4]", whole=False) == [0.5, 1.0, 1.5, 2.0]
    assert numbers("1-0.5 (-0.25), 7.5", whole=False) == [1, 0.75, 0.5, 7.5]


@pytest.mark.parametrize("text", ["a", "1-", "1.5", "1-5 (0)", "1-5 (-1)", "1-9999999", "1-5 [401]", "1-5 [0]", "nan",
                                  "inf", "1e400", "9" * 30 + "-" + "9" * 31, "1-401"])  # fmt: skip
def test_what_is_no_whole_number_or_too_much_is_refused(text):
    with pytest.raises(BadValue):
        numbers(text, whole=True)


@settings(deadline=None)
@given(st.integers(-1000, 1000), st.integers(0, MOST - 1), st.integers(1, 50))
def test_a_range_by_steps_is_the_languages_own(start, count, step):
    end = start + count * step
    assert numbers(f"{start}-{end} (+{step})", whole=True) == list(range(start, end + 1, step))
    assert numbers(f"{end}-{start} (-{step})", whole=True) == list(range(end, start - 1, -step))


@settings(deadline=None)
@given(st.floats(-1000, 1000), st.floats(-1000, 1000), st.integers(2, MOST))
def test_so_many_evenly_have_both_ends(start, end, count):
    written = [f"{number:.6f}" for number in (start, end)]
    made = numbers(f"{written[0]}-{written[1]} [{count}]", whole=False)
    assert (len(made), made[0], made[-1]) == (count, float(written[0]), pytest.approx(float(written[1])))


@settings(deadline=None)
@given(st.lists(VALUES, max_size=20))
def test_what_is_written_with_quotes_is_read_again(values):
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(values)
    assert split(line.getvalue()) == values


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    for read in (split, lambda text: numbers(text, whole=True), lambda text: numbers(text, whole=False)):
        with contextlib.suppress(BadValue):
            assert len(read(text)) <= max(MOST, len(text))
