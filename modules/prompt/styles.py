"""Styles: named pieces of prompt from CSV files, put into a prompt and recognised in one again."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from modules.core import limits
from modules.core.errors import BadValue

PLACE: Final = "{prompt}"
_COLUMNS: Final = ("name", "prompt", "negative_prompt")
_STYLES_MOST: Final = 5_000
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Style:
    """``prompt`` and ``negative_prompt`` are appended with ", ", or hold ``{prompt}`` where the prompt goes."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


def from_csv(text: str, *, file: str = "") -> tuple[Style, ...]:
    """Read one file's text: a heading with the columns name, prompt and negative_prompt, then a style a row.

    The old column ``text`` stands for ``prompt``; rows without a name are passed over. Several files are several calls,
    joined with ``merged``. Raises BadValue with the code ``bad_styles`` for a text that is no such table, naming
    ``file``.
    """
    if len(text) > limits.JSON_BODY_BYTES:
        raise _bad(file, "it is larger than 4 MiB")
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        if "name" not in (reader.fieldnames or ()):
            raise _bad(file, "its first line does not name the columns name, prompt and negative_prompt")
        found = [_style(row) for _, row in zip(range(_STYLES_MOST), reader, strict=False) if row["name"]]
    except csv.Error as problem:
        raise _bad(file, f"{problem} in line {reader.line_num}") from None
    return tuple(found)


def to_csv(styles: Iterable[Style]) -> str:
    """The file's text, which A1111 reads as well."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    writer.writerows((style.name, style.prompt, style.negative_prompt) for style in styles)
    return out.getvalue()


def merged(files: Iterable[Sequence[Style]]) -> dict[str, Style]:
    """The styles of several files by name; a later file's takes the place of an earlier one's."""
    return {style.name: style for file in files for style in file}


def apply(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str]:
    """Both prompts with the styles, one after the other.

    Raises BadValue with the code ``prompt_too_long`` as soon as a prompt outgrows 20,000 characters.
    """
    for style in styles:
        prompt = _put("prompt", prompt, style.prompt)
        negative_prompt = _put("negative_prompt", negative_prompt, style.negative_prompt)
    return prompt, negative_prompt


def extract(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str, tuple[str, ...]]:
    """Take styles out of prompts that hold them: both prompts without them, and the names in the order of applying.

    A style is recognised where both its texts are found, whatever the spacing; the last applied is taken out first.
    """
    known = [style for style in styles if style.prompt.strip() or style.negative_prompt.strip()]
    names: list[str] = []
    while True:
        for style in known:
            first, second = _take(prompt, style.prompt), _take(negative_prompt, style.negative_prompt)
            if first is not None and second is not None:
                prompt, negative_prompt = first, second
                names.append(style.name)
                known = [other for other in known if other is not style]
                break
        else:
            return prompt, negative_prompt, tuple(reversed(names))


def _style(row: dict[str, str | None]) -> Style:
    prompt = row.get("prompt") or row.get("text") or ""
    return Style(row["name"] or "", prompt, row.get("negative_prompt") or "")


def _put(field: str, prompt: str, style: str) -> str:
    # counted before it is made: doubling {prompt} in thirty styles would fill the memory
    length = len(prompt) * max(1, style.count(PLACE)) + len(style)
    if length > limits.PROMPT_CHARACTERS + len(PLACE) * style.count(PLACE) + 2:
        raise BadValue(
            f"With its styles the prompt has more than {limits.PROMPT_CHARACTERS} characters.",
            "Choose fewer styles, or shorten the prompt.",
            code="prompt_too_long", field=field, high=limits.PROMPT_CHARACTERS,
        )  # fmt: skip
    if PLACE in style:
        return style.replace(PLACE, prompt)
    return ", ".join(filter(None, (prompt.strip(), style.strip()))) if style.strip() else prompt


def _take(prompt: str, style: str) -> str | None:
    """The prompt without the style; None where it does not hold it."""
    if not style.strip():
        return prompt
    whole, left = _SPACES.sub(" ", prompt.strip()), _SPACES.sub(" ", style.strip())
    if PLACE in left:
        before, _, after = left.partition(PLACE)
        fits = len(whole) >= len(before) + len(after) and whole.startswith(before) and whole.endswith(after)
        return whole[len(before) : len(whole) - len(after)] if fits else None
    if whole == left:
        return ""
    return whole.removesuffix(", " + left) if whole.endswith(", " + left) else None


def _bad(file: str, why: str) -> BadValue:
    return BadValue(
        f"The styles {f'in {file} ' if file else ''}cannot be read: {why}.",
        "Save the file as CSV in UTF-8.",
        code="bad_styles", field="styles", file=file,
    )  # fmt: skip
