"""The rows of a request's parts, both ways: which parts the values ask for, and the values that ask for them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.core import strictjson
from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.webui.controls import Form
from modules.webui.entries import number, seed_of, whole
from modules.webui.rows import Control
from modules.webui.start_rows import START_ROWS
from modules.webui.walk_rows import AUTOMATIC, WALK_ROWS

_ROWS = (*START_ROWS, *WALK_ROWS)
_SWITCHES = {"start.inpaint": "start_inpaint", "start.inpaint.soft": "soft"}  # rows that stand for a whole part
_ASKING = {  # what a request without the part leaves in the rows that ask for it
    "start": ("start_picture", "start_frame", "start_inpaint", "start_mask"),
    "start.inpaint": ("start_inpaint", "start_mask"),
    "start.inpaint.soft": ("soft",),
    "refiner": ("refiner_checkpoint",),
    "variation": ("variation_seed", "variation_strength"),
    "seed_resize": ("seed_width", "seed_height"),
}


def fields_of(values: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The fields by dotted path that the values ask for, those of absent parts left out; raises BadValue."""
    known = {row.name for row in form.controls}
    made: dict[str, Any] = {}
    for row in _ROWS:
        if row.name in known and row.field not in _SWITCHES and all(_asked(part, values) for part in _above(row.field)):
            made[row.field] = _field(row, values, form)
    return made


def values_of(request: GenerationRequest) -> dict[str, Any]:
    """The values of these rows that ask for the request's parts again; an absent part is not asked for any more."""
    made: dict[str, Any] = {}
    data = request.model_dump(mode="json")
    for row in _ROWS:
        found: Any = data
        for step in row.field.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        owner = row.field.rpartition(".")[0]
        if row.field in _SWITCHES:
            made[row.name] = _switch(row, found is not None)
        elif not owner or _has(data, owner):
            made[row.name] = _value(row, found)
    for part, names in _ASKING.items():
        if not _has(data, part):
            made |= {row.name: row.default for row in _ROWS if row.name in names}
    return made


def _above(path: str) -> list[str]:
    """The parts that a field lies in, outermost first."""
    steps = path.split(".")
    return [".".join(steps[:length]) for length in range(1, len(steps))]


def _asked(part: str, values: Mapping[str, Any]) -> bool:
    """Whether the values ask for a part; a part without a condition is always there."""
    if part == "variation":
        return bool(_text(values["variation_seed"])) or bool(values["variation_strength"])
    if part == "seed_resize":
        return bool(values["seed_width"] or values["seed_height"])
    row = {"start": "start_picture", "refiner": "refiner_checkpoint", "hires": "hires", **_SWITCHES}.get(part)
    return row is None or bool(_text(values[row]) if isinstance(values[row], str) else values[row])


def _field(row: Control, values: Mapping[str, Any], form: Form) -> Any:
    value = values[row.name]
    if row.name == "start_frame":
        return _frame(value)
    if row.name == "start_mask":
        return value or None
    if row.name == "variation_seed":
        return seed_of(value)
    if row.name == "discard_penultimate":
        return {"yes": True, "no": False}.get(value)
    if row.kind not in ("number", "slider"):
        return _text(value) if isinstance(value, str) and row.lines == (1, 1) else value
    if row.optional and value is None:
        return None
    return whole(values, row.name, form) if float(row.step or 0).is_integer() else number(values, row.name, form)


def _value(row: Control, found: Any) -> Any:
    if row.name == "start_frame":
        return "" if found is None else strictjson.dumps([found[side] for side in ("left", "top", "width", "height")])
    if row.name == "discard_penultimate":
        return AUTOMATIC[0] if found is None else AUTOMATIC[1] if found else AUTOMATIC[2]
    if row.kind in ("text", "hidden"):
        return "" if found is None else str(found)
    return found


def _switch(row: Control, is_on: bool) -> Any:
    return is_on if row.kind == "toggle" else "on" if is_on else ""


def _has(data: Mapping[str, Any], part: str) -> bool:
    found: Any = data
    for step in part.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found is not None


def _frame(text: Any) -> dict[str, int] | None:
    if not text:
        return None
    try:
        sides = strictjson.loads(text)
    except WorkbenchError:
        sides = None
    if not isinstance(sides, list) or len(sides) != 4 or not all(type(side) is int for side in sides):
        raise BadValue("The frame is not four whole numbers.", "Draw it anew.", field="start.frame")
    return dict(zip(("left", "top", "width", "height"), sides, strict=True))


def _text(value: Any) -> str:
    return str(value if value is not None else "").strip()
