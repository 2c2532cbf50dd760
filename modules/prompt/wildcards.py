"""Chance in prompts: ``{a|b}`` picks one, ``{2$$a|b|c}`` picks two, ``__name__`` picks a line of a list."""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from modules.core import limits
from modules.core.errors import BadValue

DEPTH: Final = 8  # lists that name lists that name lists
_NAME: Final = re.compile(r"__(?=[^\s_])([\w./*-]{1,100}?)__(?!_)")
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
            raise _too_long(field)
    raise _too_deep(field)


def combinations(
    text: str, lines: Callable[[str], Sequence[str] | None], most: int, *, field: str = "prompt"
) -> tuple[Expanded, ...]:
    """Every text that ``expand`` could give, in the order in which it is written, at most ``most`` of them.

    Options of weight 0 are left out; of ``2$$a|b|c`` every selection is made, in the order of the options. Raises as
    ``expand``.
    """
    _refuse_depth(text, field)
    found: list[Expanded] = []
    waiting = [_Begun("", ((text, 0),), ())]  # the last is gone on with, so that texts come in order
    while waiting and len(found) < most:
        begun = waiting.pop()
        if not begun.rest:
            found.append(Expanded(begun.done, begun.missing))
            continue
        following = list(itertools.islice(_grown(begun, lines, field), most - len(found)))
        waiting += reversed(following)
    return tuple(found)


def is_chance(text: str) -> bool:
    """Whether something of the text would be picked: a list by name, or braces with a ``|``."""
    return bool(_NAME.search(text)) or _first_brace(text) is not None


class _Begun(NamedTuple):
    """A combination so far: what is done, pieces still to be looked at with their depth, and lists not found."""

    done: str
    rest: tuple[tuple[str, int], ...]
    missing: tuple[str, ...]


def _grown(begun: _Begun, lines: Callable[[str], Sequence[str] | None], field: str) -> Iterator[_Begun]:
    """The combination with the first thing in its rest chosen, once for each choice there is."""
    (piece, depth), *rest = begun.rest
    name, brace = _NAME.search(piece), _first_brace(piece)
    if brace is not None and (name is None or brace[0] < name.start()):
        start, end, options = brace
        chosen, inner = _selections(options), depth
    elif name is not None:
        start, end, inner = name.start(), name.end(), depth + 1
        chosen = iter(lines(name[1]) or ())
        if not (first := next(chosen, None)):
            done = begun.done + piece[:end]
            yield _Begun(done, ((piece[end:], depth), *rest), tuple(dict.fromkeys((*begun.missing, name[1]))))
            return
        if inner > DEPTH:
            raise _too_deep(field)
        chosen = itertools.chain((first,), chosen)
    else:
        yield _Begun(begun.done + piece, tuple(rest), begun.missing)
        return
    done, after = begun.done + piece[:start], ((piece[end:], depth), *rest)
    left = len(done) + sum(len(other) for other, _ in after)
    for option in chosen:
        if left + len(option) > limits.PROMPT_CHARACTERS:
            raise _too_long(field)
        yield _Begun(done, ((option, inner), *after), begun.missing)


def _first_brace(text: str) -> tuple[int, int, list[str]] | None:
    """(start, end, options) of the first outermost braces with a bar of their own; None where there are none."""
    found: list[tuple[int, int, list[str]]] = []
    stack: list[_Place] = []
    for match in _SPECIAL.finditer(text):
        char = match[0]
        if char == "{":
            stack.append(_Place(match.start()))
        elif not stack:
            continue
        elif char == "}":
            place = stack.pop()
            if place.bars:
                edges = [place.start, *place.bars, match.start()]
                options = [text[one + 1 : other] for one, other in itertools.pairwise(edges)]
                found.append((place.start, match.end(), options))
            if not stack and found:
                break
        elif char == "|" and not stack[-1].brackets:
            stack[-1].bars.append(match.start())
        else:
            stack[-1].brackets = max(0, stack[-1].brackets + (char == "[") - (char == "]"))
    return min(found, default=None, key=lambda one: one[0])


class _Place:
    """An open brace by its place, and the places of its bars."""

    __slots__ = ("bars", "brackets", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.bars: list[int] = []
        self.brackets = 0


def _selections(options: list[str]) -> Iterator[str]:
    """What can be chosen of the options of one pair of braces."""
    count = _counted(options)
    possible = [text for text, weight in map(_weigh, count.options) if weight] or [
        text for text, _ in map(_weigh, count.options)
    ]
    for wanted in range(min(count.least, len(possible)), min(count.most, len(possible)) + 1):
        yield from (count.joint.join(some) for some in itertools.combinations(possible, wanted))


def _refuse_depth(text: str, field: str) -> None:
    open_braces = 0
    for match in _SPECIAL.finditer(text):
        open_braces = max(0, open_braces + (match[0] == "{") - (match[0] == "}"))
        if open_braces > limits.PROMPT_NESTING:
            raise _too_nested(field)


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
                raise _too_nested(field)
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


class _Counted(NamedTuple):
    """The options of one pair of braces, how many are wanted, and what joins them."""

    options: list[str]
    least: int
    most: int
    joint: str


def _counted(options: list[str]) -> _Counted:
    """Read the ``1-3$$ and $$`` in front of the first option."""
    count = _COUNT.match(options[0])
    if not count:
        return _Counted(options, 1, 1, ", ")
    least = int(count[1])
    first, joint = options[0][count.end() :], ", "
    separator, mark, rest = first.partition("$$")
    if mark:
        joint, first = separator, rest
    return _Counted([first, *options[1:]], least, max(least, int(count[2] or least)), joint)


def _choose(brace: _Brace, draw: Callable[[], float]) -> str:
    options = [*brace.options, "".join(brace.text)]
    if len(options) == 1:
        return "{" + options[0] + "}"
    options, least, most, joint = _counted(options)
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


def _too_deep(field: str) -> BadValue:
    return BadValue(
        f"The wildcards name one another more than {DEPTH} levels deep.",
        "See whether a list names itself.",
        code="wildcard_too_deep", field=field, high=DEPTH,
    )  # fmt: skip


def _too_long(field: str) -> BadValue:
    return BadValue(
        f"With its wildcards the prompt has more than {limits.PROMPT_CHARACTERS} characters.",
        "Use fewer or shorter lists.",
        code="prompt_too_long", field=field, high=limits.PROMPT_CHARACTERS,
    )  # fmt: skip


def _too_nested(field: str) -> BadValue:
    return BadValue(
        f"More than {limits.PROMPT_NESTING} braces are open at once in the prompt.",
        "Close some, or write \\{ for braces that are only text.",
        code="prompt_too_deep", field=field, high=limits.PROMPT_NESTING,
    )  # fmt: skip
