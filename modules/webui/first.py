"""The prompts of the first start: cards that fill the form and make a picture, the visitor's language first."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.prompt.vocabulary import unknown_words

SHOWN = 6
OTHER = 2  # of them in the other language
_FILE = Path(__file__).parent / "words" / "first.toml"
_PICTURES = Path(__file__).parent / "static" / "first"


@functools.cache
def _rows() -> list[dict[str, Any]]:
    return tomllib.loads(_FILE.read_text("utf-8"))["card"]


def cards(language: str, vocabulary: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Six cards: four in the visitor's language, then two of the other; ``picture`` only where one was made.

    ``vocabulary`` is what the checkpoint says it was taught: prompts with words that are strange to it come last.
    """
    rows = _rows()
    if vocabulary:
        rows = sorted(rows, key=lambda row: len(unknown_words(row["prompt"], vocabulary)))
    own = [row for row in rows if row["language"] == language][: SHOWN - OTHER]
    other = [row for row in rows if row["language"] != language][:OTHER]
    return [{**row, "picture": _picture(row["name"])} for row in (*own, *other)]


def _picture(name: str) -> str | None:
    return f"first/{name}.webp" if (_PICTURES / f"{name}.webp").exists() else None
