"""Chance in prompts: ``{a|b}`` picks one, ``{2$$a|b|c}`` picks two, ``__name__`` picks a line of a list."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from modules.core import limits
from modules.core.errors import BadValue

DEPTH: Final = 8  # lists that name lists that name lists
_NAME: Final = re.compile(r"__(?=[^\s_])([\w./-]{1,100}?)__(?!_)")
_SPECIAL: Final = re.compile(r"\\.|[{}|\[\]]", re.DOTALL)
_COUNT: Final = re.compile(r"\s*(\d{1,2})(?:-(\d{1,2}))?\$\$")
_SHARE: Final = re.compile(r"\s*(\d{1,6}(?:\.\d{0,6})?)::")


@dataclass(frozen=True, slots=True)
class Expanded:
    """The text with everything picked, and the names of lists that there are none of, left in it as they stand."""

    text: str
    missing: tuple[str, ...] = ()


def expand(text: str, lines: Callable[[str], Sequence[str] | None], seed: int, *, field: str = "prompt") -> Expanded:
    """Pick by ``seed``: the same seed, text and lists give the same result on every machine.

    ``lines`` gives a list's lines by name, None where there is none. Braces without a ``|`` and braces behind a
    backslash are text; ``2::a`` makes an option twice as likely; ``2$$`` picks so many different ones, ``1-3$$`` a
    number of them, joined with ", " or with what stands between two more ``$$``. Raises BadValue with the code
    ``wildcard_too_deep`` for lists that never end (8 levels), ``prompt_too_long`` or ``prompt_too_deep``.
    """
    draw = random.Random(seed).random  # Python promises this sequence for a seed, and of no other method
    missing: dict[str, None] = {}
    for _ in range(DEPTH + 1):
        text = _pick_braces(text, draw, field)
        parts = list(_pick_lines(text, lines, draw, missing))
        if all(is_final for is_final, _ in parts):
            return Expanded(text, tuple(missing))
        text = "".join(part for _, part in parts)
        if len(text) > limits.PROMPT_CHARACTERS:
            raise BadValue(
                f"With its wildcards the prompt has more than {limits.PROMPT_CHARACTERS} characters.",
                "Use fewer or shorter lists.",
                code="prompt_too_long", field=field, high=limits.PROMPT_CHARACTERS,
            )  # fmt: skip
    raise BadValue(
        f"The wildcards name one another more than {DEPTH} levels deep.",
        "See whether a list names itself.",
        code="wildcard_too_deep", field=field, high=DEPTH,
    )  # fmt: skip


def from_text(text: str) -> tuple[str, ...]:
    """A list's lines: trimmed, without empty ones and without comments (a ``#`` at the start)."""
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _pick_lines(
    text: str, lines: Callable[[str], Sequence[str] | None], draw: Callable[[], float], missing: dict[str, None]
) -> Iterator[tuple[bool, str]]:
    """(whether nothing was picked, text), piece by piece."""
    place = 0
    for match in _NAME.finditer(text):
        found = lines(match[1])
        if not found:
            missing[match[1]] = None
            continue
        yield True, text[place : match.start()]
        yield False, found[int(draw() * len(found))]
        place = match.end()
    yield True, text[place:]


class _Brace:
    """An open brace: where it stands, its options so far, and the text since the last bar."""

    __slots__ = ("brackets", "options", "text")

    def __init__(self) -> None:
        self.options: list[str] = []
        self.text: list[str] = []
        self.brackets = 0  # a bar inside [ ] belongs to an alternation


def _pick_braces(text: str, draw: Callable[[], float], field: str) -> str:
    """One pass with a stack of open braces; each is picked from when it closes."""
    stack = [_Brace()]
    place = 0
    for match in _SPECIAL.finditer(text):
        char, top = match[0], stack[-1]
        top.text.append(text[place : match.start()])
        place = match.end()
        if char == "{":
            stack.append(_Brace())
            if len(stack) > limits.PROMPT_NESTING + 1:
                raise BadValue(
                    f"More than {limits.PROMPT_NESTING} braces are open at once in the prompt.",
                    "Close some, or write \\{ for braces that are only text.",
                    code="prompt_too_deep", field=field, high=limits.PROMPT_NESTING,
                )  # fmt: skip
        elif char == "}" and len(stack) > 1:
            stack.pop()
            stack[-1].text.append(_choose(top, draw))
        elif char == "|" and len(stack) > 1 and not top.brackets:
            top.options.append("".join(top.text))
            top.text = []
        else:
            top.brackets = max(0, top.brackets + (char == "[") - (char == "]"))
            top.text.append(char)
    stack[-1].text.append(text[place:])
    while len(stack) > 1:  # never closed: text
        dead = stack.pop()
        stack[-1].text.append("{" + "|".join([*dead.options, "".join(dead.text)]))
    return "".join(stack[0].text)


def _choose(brace: _Brace, draw: Callable[[], float]) -> str:
    options = [*brace.options, "".join(brace.text)]
    if len(options) == 1:
        return "{" + options[0] + "}"
    least, most, joint = 1, 1, ", "
    if count := _COUNT.match(options[0]):
        least = int(count[1])
        most = max(least, int(count[2] or least))
        options[0] = options[0][count.end() :]
        separator, mark, rest = options[0].partition("$$")
        if mark:
            joint, options[0] = separator, rest
    weighted = [_weigh(option) for option in options]
    wanted = min(least + int(draw() * (most - least + 1)), len(weighted)) if most > least else min(most, len(weighted))
    picked: list[str] = []
    for _ in range(wanted):
        place = _place(weighted, draw)
        picked.append(weighted.pop(place)[0])
    return joint.join(picked)


def _weigh(option: str) -> tuple[str, float]:
    share = _SHARE.match(option)
    return (option[share.end() :], float(share[1])) if share else (option, 1.0)


def _place(weighted: Sequence[tuple[str, float]], draw: Callable[[], float]) -> int:
    """An index, drawn by weight; evenly where all weights are 0."""
    total = sum(weight for _, weight in weighted)
    left = draw() * total
    if not total:
        return int(draw() * len(weighted))
    for place, (_, weight) in enumerate(weighted):
        left -= weight
        if left < 0:
            return place
    return max(place for place, (_, weight) in enumerate(weighted) if weight)
