"""Values as people type them along an axis: text with commas and quotes, and ranges of numbers."""

import csv
import io
import math
import re

from modules.core import limits
from modules.core.errors import BadValue

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_SPAN = re.compile(rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*({_NUMBER})\s*\)|\[\s*(\d{{1,6}})\s*\])?\s*")
MOST = limits.PICTURES[1]


def split(text: str) -> list[str]:
    """The values between commas; one in double quotes may hold commas, and two quotes in it are one.

    Line ends are commas too. Empty values are left out.
    """
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error:
        raise BadValue("The values cannot be read.", "Separate them by commas.") from None
    found = [value.strip() for row in rows for value in row]
    return [value for value in found if value]


def numbers(text: str, *, whole: bool) -> list[float]:
    """Numbers between commas, each of which may be a range.

    ``1-5`` counts by one, ``1-5 (+2)`` by two, ``10-1 (-3)`` down, ``1-10 [5]`` are five evenly from end to end. With
    ``whole`` parts of a number are cut off. Raises BadValue naming what is no number, or more than 400 values.
    """
    found: list[float] = []
    for value in split(text):
        found += _one(value, whole)
        if len(found) > MOST:
            raise BadValue(f"{value[:40]!r} makes more than {MOST} values.", "Take larger steps.", high=MOST)
    return found


def _one(value: str, whole: bool) -> list[float]:
    span = _SPAN.fullmatch(value)
    if span is None:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (whole and not number.is_integer()):
            kind = "whole number" if whole else "number"
            raise BadValue(f"{value[:40]!r} is no {kind}.", "Write numbers or ranges, as 1, 3, 5-9 (+2).")
        return [number]
    start, end = float(span[1]), float(span[2])
    if max(abs(start), abs(end)) > 2**53:
        raise BadValue(f"{value[:40]!r} is too large for a range.", "Write the numbers one by one.")
    if span[4] is not None:
        made = _evenly(start, end, int(span[4]))
    else:
        made = _stepped(start, end, float(span[3]) if span[3] else math.copysign(1.0, end - start), value)
    return [float(int(number)) for number in made] if whole else made


def _evenly(start: float, end: float, count: int) -> list[float]:
    if count > MOST or count < 1:
        raise BadValue(f"A range has 1 to {MOST} values, not {count}.", f"Use [{MOST}] or less.", high=MOST)
    if count == 1:
        return [start]
    return [_tidy(start + (end - start) * index / (count - 1)) for index in range(count)]


def _stepped(start: float, end: float, step: float, written: str) -> list[float]:
    if step == 0 or (end - start) * step < 0:
        raise BadValue(f"{written[:40]!r} never gets to its end.", "Let the step lead from the first to the last.")
    count = math.floor((end - start) / step + 1e-6) + 1
    if count > MOST:
        raise BadValue(f"{written[:40]!r} makes more than {MOST} values.", "Take larger steps.", high=MOST)
    return [_tidy(start + index * step) for index in range(count)]


def _tidy(number: float) -> float:
    """Without the dust of binary fractions: 0.1 + 2 * 0.1 is 0.3."""
    return round(number, 9)
