"""The prompts of the first start: cards that fill the form and make a picture, the visitor's language first."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

SHOWN = 6
_FILE = Path(__file__).parent / "words" / "first.toml"
_PICTURES = Path(__file__).parent / "static" / "first"


@functools.cache
def cards(language: str) -> list[dict[str, Any]]:
    """Six cards: four in the visitor's language, then two of the other; ``picture`` only where one was made."""
    rows = tomllib.loads(_FILE.read_text("utf-8"))["card"]
    own = [row for row in rows if row["language"] == language]
    other = [row for row in rows if row["language"] != language]
    return [
        {**row, "picture": f"first/{row['name']}.webp" if (_PICTURES / f"{row['name']}.webp").exists() else None}
        for row in (*own, *other)
    ][:SHOWN]
