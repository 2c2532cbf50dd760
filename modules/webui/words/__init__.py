"""Every text that people see, in each language: en.toml and zh.toml with the same keys, and the look-up."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")


@functools.cache
def table(language: str) -> Mapping[str, str]:
    """All texts of one language under dotted keys ("stage.stopped")."""
    found: dict[str, str] = {}
    _flatten(tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text("utf-8")), "", found)
    return found


def say(language: str, key: str, **facts: Any) -> str:
    """One text with its braces filled; raises KeyError for a key that no language has."""
    text = table(language)[key]
    for name, value in facts.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def choose(accepted: str) -> str:
    """The best language for an Accept-Language header; English where none fits."""
    ranked = []
    for part in accepted.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), tag.lower().split("-")[0]))
        except ValueError:
            continue
    for _, tag in sorted(ranked):
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]


def _flatten(branch: Mapping[str, Any], path: str, found: dict[str, str]) -> None:
    for name, value in branch.items():
        key = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            _flatten(value, key, found)
        else:
            found[key] = value
