"""One value of the form as typed, read as the number or the seed that a request wants."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

from modules.core import limits
from modules.core.errors import BadValue
from modules.webui.controls import Form


def seed_of(text: Any) -> int:
    """A seed as typed: nothing or -1 is a random one, made concrete here; raises BadValue."""
    written = str(text if text is not None else "").strip()
    if written in ("", "-1"):
        return secrets.randbelow(limits.SEED[1] + 1)
    low, high = limits.SEED
    try:
        seed = int(written)
    except ValueError:
        raise BadValue(
            f"seed: {written[:40]!r} is not a whole number.", "Leave it empty for a random one.", field="seed",
            value=written[:40], low=low, high=high, nearest="",
        ) from None  # fmt: skip
    if not low <= seed <= high:
        nearest = min(max(seed, low), high)
        raise BadValue(
            f"seed: {seed} is outside {low}-{high}.", f"Use {nearest}.", field="seed",
            value=seed, low=low, high=high, nearest=nearest,
        )  # fmt: skip
    return seed


def number(values: Mapping[str, Any], name: str, form: Form) -> float:
    """The number of a row; raises BadValue naming its field."""
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        row = form.named(name)
        raise BadValue(
            f"{row.field}: {value!r} is not a number.", f"Use {row.default}.", field=row.field,
            value=value if value is None else str(value), low=row.low, high=row.high, nearest=row.default,
        )  # fmt: skip
    return float(value)


def whole(values: Mapping[str, Any], name: str, form: Form) -> int:
    """The same as a whole number."""
    return round(number(values, name, form))
