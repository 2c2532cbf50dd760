"""Styles and wildcards become words: what was typed is kept as the template, what pictures are told as prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modules.core import limits
from modules.core.errors import BadValue
from modules.core.request import GenerationRequest, Hires
from modules.planning.check import Problem
from modules.prompt import styles, tags, wildcards
from modules.prompt.styles import Style

NEGATIVE = limits.SEED[1] + 1  # apart from the prompt's seeds: the two prompts pick on their own


class Phrases(Protocol):
    """What wording needs of the library; ``modules.planning.phrases.Phrases`` has it."""

    def styles(self) -> Mapping[str, Style]:
        """Every style by its name."""
        ...

    def lines(self, name: str, /) -> Sequence[str] | None:
        """A wildcard list's lines; None where there is none of that name."""
        ...


@dataclass(frozen=True)
class Worded:
    """The request with its words chosen, and ``notes`` about what there is none of: it is left as it stands."""

    request: GenerationRequest
    notes: tuple[Problem, ...] = ()


def word(request: GenerationRequest, phrases: Phrases) -> Worded:
    """Put the request's styles into its prompts and pick from its wildcards by each picture's seed.

    The hires pass's own prompts get the same styles, and pick by the same seeds: of equal words equal ones.
    A request that has a template already is worded and stays as it is. With ``combinations`` the prompt's first 64
    combinations are made, one a picture, whatever ``count`` says. Comments leave where something is put in or picked.
    Raises BadValue where the words outgrow a prompt or wildcards never end.
    """
    if request.is_worded():
        return Worded(request)
    known = phrases.styles()
    chosen = [known[name] for name in request.styles if name in known]
    notes = [_unknown_style(name) for name in request.styles if name not in known]
    hires = request.hires
    texts = request.prompt, request.negative_prompt, *((hires.prompt, hires.negative_prompt) if hires else ())
    changes = bool(chosen) or any(map(wildcards.is_chance, texts))
    if not changes:
        return Worded(request, tuple(notes))
    plain = [_uncommented(style) for style in chosen]
    prompt, negative = styles.apply(_plain(request.prompt), _plain(request.negative_prompt), plain)
    prompts, missing = _prompts(request, prompt, phrases)
    count = len(prompts)
    seeds = request.model_copy(update={"count": count}).seeds()
    others = [wildcards.expand(negative, phrases.lines, seed + NEGATIVE, field="negative_prompt") for seed in seeds]
    notes += [_no_list(name, "prompt") for name in missing]
    notes += [_no_list(name, "negative_prompt") for name in dict.fromkeys(n for one in others for n in one.missing)]
    later, unknown = _hires(hires, plain, seeds, phrases) if hires else (None, ())
    notes += [_no_list(name, "hires.prompt") for name in unknown]
    told = {"prompts": prompts, "negative_prompts": tuple(one.text for one in others)}
    made = {
        "prompt_template": request.prompt, "negative_prompt_template": request.negative_prompt, "count": count,
        **{name: texts if len(set(texts)) > 1 else () for name, texts in told.items()},
        "prompt": prompts[0], "negative_prompt": told["negative_prompts"][0], "hires": later,
    }  # fmt: skip
    return Worded(request.model_copy(update=made), tuple(notes))


def _hires(
    hires: Hires, chosen: Sequence[Style], seeds: Sequence[int], phrases: Phrases
) -> tuple[Hires, tuple[str, ...]]:
    """The hires pass with its own prompts worded, and the lists that there are none of; empty ones stay empty."""
    with_styles = styles.apply(_plain(hires.prompt), _plain(hires.negative_prompt), chosen)
    made: dict[str, Any] = {}
    missing: list[str] = []
    for name, text, offset in zip(("prompt", "negative_prompt"), with_styles, (0, NEGATIVE), strict=True):
        if not getattr(hires, name):
            continue
        found = [wildcards.expand(text, phrases.lines, seed + offset, field=f"hires.{name}") for seed in seeds]
        told = tuple(one.text for one in found)
        missing += [word for one in found for word in one.missing]
        made |= {
            name: told[0],
            f"{name}s": told if len(set(told)) > 1 else (),
            f"{name}_template": getattr(hires, name),
        }
    return hires.model_copy(update=made), tuple(dict.fromkeys(missing))


def typed(request: GenerationRequest, phrases: Phrases, seed: int) -> GenerationRequest:
    """The request of one picture, of ``seed``, as somebody typed it, where that would give the same words again.

    Otherwise (a list or a style changed since) its words themselves, without styles.
    """
    untyped: dict[str, Any] = {"prompt_template": None, "negative_prompt_template": None}
    hires = request.hires
    plain = request.model_copy(
        update={
            **untyped, "styles": (), "combinations": False,
            "hires": hires.model_copy(update=untyped) if hires else None,
        }
    )  # fmt: skip
    if request.prompt_template is None or request.negative_prompt_template is None:
        return plain
    template = request.model_copy(
        update={
            "prompt": request.prompt_template, "negative_prompt": request.negative_prompt_template,
            "combinations": False, **untyped, "hires": _as_typed(hires) if hires else None,
        }
    )  # fmt: skip
    try:
        again = word(template.model_copy(update={"seed": seed, "count": 1}), phrases).request
    except BadValue:
        return plain
    same = _told(again) == _told(request)
    return template if same else plain


def _as_typed(hires: Hires) -> Hires:
    templates = {"prompt": hires.prompt_template, "negative_prompt": hires.negative_prompt_template}
    typed = {name: text for name, text in templates.items() if text is not None}
    return hires.model_copy(update={**typed, "prompt_template": None, "negative_prompt_template": None})


def _told(request: GenerationRequest) -> tuple[str, ...]:
    hires = request.hires
    own = (hires.prompt, hires.negative_prompt) if hires else ()
    return (request.prompt, request.negative_prompt, *own)


def longest(prompt: str, negative_prompt: str, names: Sequence[str], phrases: Phrases) -> tuple[str, str]:
    """Both prompts with their styles, for counting; what wildcards will say is not known and stays."""
    known = phrases.styles()
    plain = [_uncommented(known[name]) for name in names if name in known]
    return styles.apply(_plain(prompt), _plain(negative_prompt), plain) if plain else (prompt, negative_prompt)


def _prompts(request: GenerationRequest, prompt: str, phrases: Phrases) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if request.combinations and wildcards.is_chance(prompt):
        found = wildcards.combinations(prompt, phrases.lines, limits.COMBINATIONS)
    else:
        found = tuple(wildcards.expand(prompt, phrases.lines, seed) for seed in request.seeds())
    return tuple(one.text for one in found), tuple(dict.fromkeys(name for one in found for name in one.missing))


def _plain(text: str) -> str:
    """The text without comments: those of one part must not swallow what is put behind it."""
    return tags.without_comments(text).text.strip() if "#" in text else text


def _uncommented(style: Style) -> Style:
    return Style(style.name, _plain(style.prompt), _plain(style.negative_prompt))


def _unknown_style(name: str) -> Problem:
    return Problem(
        field="styles", code="unknown_style", message=f"There is no style named {name[:100]!r}; it is left out.",
        hint="Choose it anew, or take it out.", facts={"name": name[:100]},
    )  # fmt: skip


def _no_list(name: str, field: str) -> Problem:
    return Problem(
        field=field, code="unknown_wildcard",
        message=f"There is no wildcard list named {name[:100]!r}; it stays in the prompt as it stands.",
        hint="Put a text file of that name into the wildcards folder.", facts={"name": name[:100]},
    )  # fmt: skip
