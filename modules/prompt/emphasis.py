"""Brackets become weights: ``(x)``, ``[x]``, ``(x:1.5)``, escapes and BREAK, as runs of text that carry one weight."""

import math
import re
from bisect import insort
from typing import Final, NamedTuple

from modules.core import limits
from modules.core.errors import BadValue
from modules.prompt.dialect import NATIVE, Dialect

ROUND: Final = 1.1
SQUARE: Final = 1 / 1.1
_LARGEST_FACTOR: Final = 1e4  # 64 nested factors of it stay finite

_TOKEN: Final = re.compile(
    r"\\[()\[\]\\]|\\|[()\[\]]|:\s*+(?P<number>[+-]?+[.\d]++)\s*+\)|[^\\()\[\]:]++|:",
)
_BREAK: Final = re.compile(r"\bBREAK\b")


class Run(NamedTuple):
    """Adjacent text of one weight; ``("BREAK", -1.0)`` asks for a new chunk.

    ``spans`` are (start, end) offsets into the text that was read: the pieces of which ``text`` is made.
    """

    text: str
    weight: float
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def is_break(self) -> bool:
        return self.text == "BREAK" and self.weight == -1.0


def runs(text: str, *, dialect: Dialect = NATIVE) -> tuple[Run, ...]:
    """Read the emphasis of one flattened text: at least one run, weights within +-10.

    ``(x)`` multiplies by 1.1, ``[x]`` by 1/1.1, ``(x:n)`` by n. Round and square brackets are matched apart from each
    other; open ones reach to the end of the text, closers without an opener are text, a number that is none (``nan``,
    ``1.2.3``) is text. Linear in the length, since at most 64 brackets are open at once: raises BadValue beyond, which
    cannot happen for a text that ``grammar.parse`` let through.
    """
    pieces = _Pieces()
    for match in _TOKEN.finditer(text):
        token, start = match[0], match.start()
        if token[0] == "\\":
            pieces.add(start + 1, match.end())
        elif token in ("(", "["):
            pieces.open(token)
        elif match["number"] is not None and (factor := _factor(match["number"])) is not None and pieces.has_open("("):
            pieces.close("(", factor)
        elif token == ")" and pieces.has_open("("):
            pieces.close("(", ROUND)
        elif token == "]" and pieces.has_open("["):
            pieces.close("[", SQUARE)
        elif token[0] == ":" and token[-1] == ")" and pieces.has_open("("):
            pieces.add(start, match.end() - 1)  # a number that is none: text, and a bracket that closes
            pieces.close("(", ROUND)
        else:
            _add_text(pieces, text, start, match.end())
    return _merge(text, pieces, dialect)


def too_deep(field: str) -> BadValue:
    """The error for a prompt with too many open brackets."""
    return BadValue(
        f"More than {limits.PROMPT_NESTING} brackets are open at once in the prompt.",
        "Close some, or write \\( and \\[ for brackets that are only text.",
        code="prompt_too_deep", field=field, high=limits.PROMPT_NESTING,
    )  # fmt: skip


def _factor(number: str) -> float | None:
    try:
        return min(max(float(number), -_LARGEST_FACTOR), _LARGEST_FACTOR)
    except ValueError:
        return None


class _Pieces:
    """Pieces of text in order, and which factors apply from where to where.

    A factor's rank is the order in which its bracket closes: factors are multiplied in that order, so that equal
    nesting gives the same float, and runs merge, exactly where A1111's do.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.breaks: set[int] = set()  # indexes of the spans that are the word BREAK
        self.starts: dict[int, list[tuple[int, float]]] = {}
        self.ends: dict[int, int] = {}
        self._open: dict[str, list[int]] = {"(": [], "[": []}
        self._rank = 0

    def add(self, start: int, end: int) -> None:
        self.spans.append((start, end))

    def add_break(self, start: int, end: int) -> None:
        self.breaks.add(len(self.spans))
        self.spans.append((start, end))

    def open(self, kind: str) -> None:
        self._open[kind].append(len(self.spans))
        if len(self._open["("]) + len(self._open["["]) > limits.PROMPT_NESTING:
            raise too_deep("prompt")

    def has_open(self, kind: str) -> bool:
        return bool(self._open[kind])

    def close(self, kind: str, factor: float) -> None:
        self._apply(self._open[kind].pop(), factor)

    def close_all(self) -> None:
        for kind, factor in (("(", ROUND), ("[", SQUARE)):
            for start in self._open[kind]:
                self._apply(start, factor)

    def _apply(self, start: int, factor: float) -> None:
        end = len(self.spans)
        if start < end:
            self.starts.setdefault(start, []).append((self._rank, factor))
            self.ends[end] = self.ends.get(end, 0) + 1
            self._rank += 1


def _add_text(pieces: _Pieces, text: str, start: int, end: int) -> None:
    """Text without brackets: split at BREAK, which eats the space around it."""
    for match in _BREAK.finditer(text, start, end):
        before = text[start : match.start()].rstrip()
        pieces.add(start, start + len(before))
        pieces.add_break(*match.span())
        start = end - len(text[match.end() : end].lstrip())
    pieces.add(start, end)


def _merge(text: str, pieces: _Pieces, dialect: Dialect) -> tuple[Run, ...]:
    pieces.close_all()
    active: list[tuple[int, float]] = []  # by rank, so that the next to end comes first
    weight, after_break = 1.0, False
    found: list[tuple[float, list[tuple[int, int]]]] = []
    for index, span in enumerate(pieces.spans):
        if index in pieces.ends or index in pieces.starts:
            del active[: pieces.ends.get(index, 0)]
            for item in pieces.starts.get(index, ()):
                insort(active, item)
            weight = math.prod((factor for _, factor in active), start=1.0)
        own, is_break = weight, index in pieces.breaks
        if is_break:
            own = -1.0 if dialect.break_inside_emphasis else -weight
        if found and found[-1][0] == own and not (is_break and own == -1.0) and not after_break:
            found[-1][1].append(span)
        else:
            found.append((own, [span]))
        after_break = is_break and own == -1.0
    if not found:
        return (Run("", 1.0),)
    return tuple(_run(text, weight, spans) for weight, spans in found)


def _run(text: str, weight: float, spans: list[tuple[int, int]]) -> Run:
    weight = min(max(weight, -limits.PROMPT_WEIGHT), limits.PROMPT_WEIGHT)
    spans = [span for span in spans if span[0] < span[1]]
    return Run("".join(text[start:end] for start, end in spans), weight, tuple(spans))
