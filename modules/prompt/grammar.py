"""The prompt language as a tree: AND parts, schedules ``[a:b:0.5]`` and alternations ``[a|b]``, read in linear time.

Emphasis is not part of the tree, because its brackets may straddle what schedules choose: a tree is first flattened
for one moment (``variants``, ``timeline``, ``at``), then ``modules.prompt.emphasis`` reads the brackets of that text.
Syntax never raises: what is no schedule and no alternation is text.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from modules.core import limits
from modules.core.errors import BadValue
from modules.prompt.dialect import NATIVE, Dialect
from modules.prompt.emphasis import too_deep

_SPECIAL: Final = re.compile(r"\\[^\n]|[\\()\[\]:|]")
_AND: Final = re.compile(r"\bAND\b")
_NUMBER: Final = re.compile(r"\s*+([+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+)\s*+")
_PART_WEIGHT: Final = re.compile(r"\s*+([-+]?+(?:\d++(?:\.\d*+)?+|\.\d++))")
_OPENER: Final = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Span:
    """Plain text: characters ``start`` up to ``end`` of the part's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class When:
    """When a schedule switches: a fraction of the pass (written with a point) or a step (written without).

    Fractions above 1 and steps beyond the first pass belong to the hires pass.
    """

    value: float
    is_fraction: bool


@dataclass(frozen=True, slots=True)
class Scheduled:
    """``[before:after:when]``: one text up to a moment, another from there on; either may be empty."""

    before: "Nodes"
    after: "Nodes"
    when: When


@dataclass(frozen=True, slots=True)
class Alternated:
    """``[a|b|c]``: one option a step, in turn."""

    options: tuple["Nodes", ...]


Node = Span | Scheduled | Alternated
Nodes = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class SubPrompt:
    """What stands between two ANDs: ``weight`` within +-10, ``start`` the offset of ``text`` in the whole prompt."""

    text: str
    weight: float
    start: int
    nodes: Nodes


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt: at least one part."""

    text: str
    parts: tuple[SubPrompt, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """The text of a part for a stretch of the walk.

    ``end`` is what the maker of the variant says (a call, or a moment); ``spans`` are the pieces of the part's text
    that make up ``text``, for whoever needs to point back into the source.
    """

    end: float
    text: str
    spans: tuple[Span, ...]


def parse(text: str, *, composable: bool = True, dialect: Dialect = NATIVE, field: str = "prompt") -> Prompt:
    """Parse a prompt whose comments and network tags are already removed (see ``modules.prompt.tags``).

    ``composable=False`` for negative prompts, which are never split at AND. ``field`` names the request's field in
    errors. Raises BadValue with the code ``prompt_too_long`` (20,000 characters) or ``prompt_too_deep`` (64 brackets
    open at once), and nothing else.
    """
    if len(text) > limits.PROMPT_CHARACTERS:
        raise BadValue(
            f"The prompt has {len(text)} characters; {limits.PROMPT_CHARACTERS} are allowed.",
            "Shorten it.",
            code="prompt_too_long", field=field, value=len(text), high=limits.PROMPT_CHARACTERS,
        )  # fmt: skip
    if not composable:
        return Prompt(text, (SubPrompt(text, 1.0, 0, _tree(text, dialect, field)),))
    cuts = [match.span() for match in _AND.finditer(text)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    weighted = bool(cuts) or not dialect.weight_needs_and
    parts: list[SubPrompt] = []
    for start, end in zip(starts, ends, strict=True):
        body, weight = _split_weight(text[start:end]) if weighted else (text[start:end], 1.0)
        parts.append(SubPrompt(body, weight, start, _tree(body, dialect, field)))
    return Prompt(text, tuple(parts))


def variants(
    part: SubPrompt, calls: int, *, first_pass_calls: int | None = None, old_timeline: bool = False
) -> tuple[Variant, ...]:
    """The part's texts over one pass by A1111's clock: each holds for calls (from 0) up to and including its ``end``.

    ``calls`` is the number of denoiser calls of the pass (steps, doubled for second-order samplers). For the hires
    pass, ``first_pass_calls`` says how many came before: fractions 1.0-2.0 and steps beyond them are then this pass's.
    ``old_timeline`` reads numbers below 1 as fractions and all others as steps, in every pass of ``calls``.
    As counting starts at 0 and ``end`` is included, ``[a:b:10]`` shows ``a`` for 11 calls, and ``[a|b]`` a, a, b, a.
    """
    later = first_pass_calls is not None and not old_timeline
    fraction_offset, step_offset = (1.0, float(first_pass_calls or 0)) if later else (0.0, 0.0)

    def switch(when: When) -> int:
        if when.value < 1 if old_timeline else when.is_fraction:
            call = (when.value - fraction_offset) * calls
        else:
            call = when.value - step_offset
        return int(min(max(call, -1.0), calls))

    switches, period = set[int](), 1
    for node in _specials(part.nodes):
        if isinstance(node, Scheduled):
            switches.add(switch(node.when))
        elif period < calls:
            period = math.lcm(period, len(node.options))
    ends = {calls} | ({*range(1, calls)} if period > 1 else {moment for moment in switches if moment >= 1})
    ordered, made = sorted(switches), dict[tuple[int, int], Variant]()

    def at_call(end: int) -> Variant:
        state = bisect_left(ordered, end), (end - 1) % period  # equal states show equal texts
        if state not in made:
            made[state] = _flatten(
                part,
                float(end),
                lambda node: node.before if end <= switch(node.when) else node.after,
                lambda node: node.options[(end - 1) % len(node.options)],
            )
        return replace(made[state], end=float(end))

    return tuple(at_call(end) for end in sorted(ends))


def timeline(part: SubPrompt, steps: int, *, hires_steps: int = 0, second_pass: bool = False) -> tuple[Variant, ...]:
    """The part's texts over one pass by our own clock: each holds while the progress is below its ``end``.

    Progress runs from 0 to 1 over the first pass and from 1 to 2 over the hires pass, so that a schedule means the
    same moment whatever the sampler calls. The last variant's ``end`` is the end of the pass.
    """
    first, last = (1.0, 2.0) if second_pass else (0.0, 1.0)
    pass_steps = hires_steps if second_pass else steps
    ends, alternates = {last}, False
    for node in _specials(part.nodes):
        if isinstance(node, Scheduled):
            moment = _moment(node.when, steps, hires_steps)
            if first < moment < last:
                ends.add(moment)
        else:
            alternates = True
    if alternates:
        ends.update(first + step / pass_steps for step in range(1, pass_steps))
    ordered = sorted(ends)
    found: list[Variant] = []
    for start, end in pairwise([first, *ordered]):
        found.append(replace(at(part, (start + end) / 2, steps, hires_steps=hires_steps), end=end))
    return tuple(found)


def at(part: SubPrompt, progress: float, steps: int, *, hires_steps: int = 0) -> Variant:
    """The part's text at one moment of our own clock (see ``timeline``); ``end`` is the progress asked for."""
    step = int(progress * steps) if progress < 1 else int((progress - 1) * hires_steps)
    return _flatten(
        part,
        progress,
        lambda node: node.before if progress < _moment(node.when, steps, hires_steps) else node.after,
        lambda node: node.options[step % len(node.options)],
    )


def _moment(when: When, steps: int, hires_steps: int) -> float:
    """A switch as progress: 0-1 in the first pass, 1-2 in the hires pass."""
    if when.is_fraction or not hires_steps:
        return when.value if when.is_fraction else when.value / steps
    return when.value / steps if when.value <= steps else 1.0 + (when.value - steps) / hires_steps


def _flatten(
    part: SubPrompt, end: float, schedule: Callable[[Scheduled], Nodes], alternate: Callable[[Alternated], Nodes]
) -> Variant:
    spans: list[Span] = []
    stack = [iter(part.nodes)]
    while stack:
        for node in stack[-1]:
            if isinstance(node, Span):
                spans.append(node)
            else:
                stack.append(iter(schedule(node) if isinstance(node, Scheduled) else alternate(node)))
                break
        else:
            stack.pop()
    text = part.text
    return Variant(end, "".join(text[span.start : span.end] for span in spans), tuple(spans))


def _specials(nodes: Nodes) -> Iterator[Scheduled | Alternated]:
    """Every schedule and alternation, nested ones included."""
    left = [nodes]
    while left:
        for node in left.pop():
            if isinstance(node, Scheduled):
                left += (node.before, node.after)
            elif isinstance(node, Alternated):
                left += node.options
            if not isinstance(node, Span):
                yield node


def _split_weight(text: str) -> tuple[str, float]:
    """``p :0.6`` -> ("p", 0.6): the weight of an AND part, and the text without it and without trailing space."""
    body = text.rstrip()
    colon = body.rfind(":")
    if colon >= 0 and (number := _PART_WEIGHT.fullmatch(body, colon + 1)):
        weight = min(max(float(number[1]), -limits.PROMPT_WEIGHT), limits.PROMPT_WEIGHT)
        return body[:colon].rstrip(), weight
    return body, 1.0


class _Frame:
    """An open bracket and what was found since: separators, finished nodes, and whether it can still be a group."""

    __slots__ = ("bars", "colons", "found", "is_sound", "kind", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind = kind
        self.start = start
        self.colons: list[int] = []
        self.bars: list[int] = []
        self.found: list[tuple[int, int, Node]] = []
        self.is_sound = True


def _tree(text: str, dialect: Dialect, field: str) -> Nodes:
    """One pass over the special characters with a stack of open brackets.

    A group holds only sound groups and text. A closer that does not fit makes every open bracket plain text, since
    none of them can be a group any more; what was finished inside them stays. In A1111's reading a ``|`` that belongs
    to no alternation, or a backslash before nothing or a line break, makes the whole text literal.
    """
    whole: Nodes = (Span(0, len(text)),)
    root = _Frame("", 0)
    stack = [root]
    depth = {"(": 0, "[": 0}
    is_literal = False
    for match in _SPECIAL.finditer(text):
        char, place = match[0], match.start()
        top = stack[-1]
        if char in depth:
            depth[char] += 1
            if sum(depth.values()) > limits.PROMPT_NESTING:
                raise too_deep(field)
            stack.append(_Frame(char, place))
        elif char == ":":
            top.colons.append(place)
        elif char == "|":
            top.bars.append(place)
        elif char == "\\":
            is_literal = True
        elif opener := _OPENER.get(char):
            depth[opener] = max(0, depth[opener] - 1)
            if top.kind == opener:
                stack.pop()
                is_literal |= _close(text, top, place, stack[-1])
            else:
                is_literal |= _give_up(stack)
    is_literal |= _give_up(stack) or bool(root.bars)
    if is_literal and not dialect.stray_bar_is_text:
        return whole
    return _fill(-1, len(text), root.found)


def _close(text: str, frame: _Frame, end: int, parent: _Frame) -> bool:
    """Turn a closed bracket into a node of its parent, or into text; says whether a ``|`` was left over."""
    node: Node | None = None
    if frame.kind == "(":
        frame.is_sound &= len(frame.colons) <= 1
    elif frame.is_sound and frame.bars and not frame.colons:
        node = Alternated(tuple(_fill(a, b, frame.found) for a, b in pairwise([frame.start, *frame.bars, end])))
    elif frame.is_sound and not frame.bars and len(frame.colons) in (1, 2) and (when := _when(text, frame, end)):
        *before, after, _ = pairwise([frame.start, *frame.colons, end])
        node = Scheduled(_fill(*before[0], frame.found) if before else (), _fill(*after, frame.found), when)
    elif frame.colons or frame.bars:
        frame.is_sound = False
    if node:
        parent.found.append((frame.start, end + 1, node))
        return False
    parent.found += frame.found
    parent.is_sound &= frame.is_sound
    return bool(frame.bars)


def _when(text: str, frame: _Frame, end: int) -> When | None:
    number = _NUMBER.fullmatch(text, frame.colons[-1] + 1, end)
    return When(float(number[1]), "." in number[1]) if number else None


def _give_up(stack: list[_Frame]) -> bool:
    """Close every open bracket as text; says whether a ``|`` was left over."""
    dead, stack[1:] = stack[1:], []
    for frame in dead:
        stack[0].found += frame.found
    return any(frame.bars for frame in dead)


def _fill(before: int, end: int, found: Sequence[tuple[int, int, Node]]) -> Nodes:
    """The nodes between two separators (both left out), with the text between them as spans."""
    nodes: list[Node] = []
    start = before + 1
    for index in range(bisect_left(found, start, key=lambda item: item[0]), len(found)):
        node_start, node_end, node = found[index]
        if node_start >= end:
            break
        if start < node_start:
            nodes.append(Span(start, node_start))
        nodes.append(node)
        start = node_end
    if start < end:
        nodes.append(Span(start, end))
    return tuple(nodes)
