"""JSON from strangers: no NaN, no duplicate keys, no bottomless nesting, no thousand-digit numbers."""

import json
import math
from typing import Any, cast

from modules.core import limits
from modules.core.errors import WorkbenchError


def loads(text: str | bytes) -> Any:
    """Parse one JSON document.

    Raises WorkbenchError with status 400 for text that is not JSON or breaks a bound, and with status 422 naming the
    key for NaN, infinities, floats that overflow (``1e999``) and halves of surrogate pairs.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise _not_json("it is not UTF-8") from None
    try:
        value = json.loads(decoded, object_pairs_hook=_unique, parse_constant=_Unreal, parse_int=_integer)
        _refuse_unreal(value, "")
    except json.JSONDecodeError as problem:
        raise _not_json(f"{problem.msg} at line {problem.lineno}, column {problem.colno}") from None
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    return value


def dumps(value: Any) -> str:
    """Compact JSON that never contains NaN (raises ValueError) and keeps every script readable."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class _Unreal:
    """Stands for NaN or an infinity until its key is known."""

    def __init__(self, word: str) -> None:
        self.word = word


def _not_json(why: str) -> WorkbenchError:
    return WorkbenchError(f"The body is not usable JSON: {why}.", "Send one JSON object.", code="bad_json", status=400)


def _integer(digits: str) -> int:
    if len(digits) > limits.JSON_DIGITS:
        raise _not_json(f"a number has more than {limits.JSON_DIGITS} digits")
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _not_json(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_unreal(value: Any, path: str) -> None:
    if isinstance(value, _Unreal) or (isinstance(value, float) and not math.isfinite(value)):
        raise WorkbenchError(
            f"{path or 'The value'} is not a finite number.",
            "Send a plain number.",
            code="bad_value",
            field=path or None,
            status=422,
        )
    if isinstance(value, str) and not _is_text(value):
        raise WorkbenchError(
            f"{path or 'The value'} holds half of a surrogate pair, which is no character.",
            "Remove it.",
            code="bad_value",
            field=path or None,
            status=422,
        )
    if isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            _refuse_unreal(key if not _is_text(key) else "", path)
            _refuse_unreal(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[Any], value)):
            _refuse_unreal(inner, f"{path}.{index}" if path else str(index))
