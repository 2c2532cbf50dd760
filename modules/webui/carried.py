"""What a request says beyond the form's controls: carried along as chips, each of which can be taken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modules.core import strictjson
from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest
from modules.library.recall import flat, overlay
from modules.webui.controls import Form

# What is never carried: said by the form in other words, or a matter of one job and one file.
_NEVER: Final = frozenset({
    "version", "count", "prompts", "negative_prompts", "prompt_template", "negative_prompt_template", "model.sha256",
    "hires", "hires.prompts", "hires.negative_prompts", "hires.prompt_template", "hires.negative_prompt_template",
    "hires.sha256", "refiner.sha256", "extensions",
})  # fmt: skip
_PLAIN: Final = flat(GenerationRequest.from_data({"seed": 0, "hires": {}}).model_dump(mode="json"))


def of(request: GenerationRequest, form: Form) -> str:
    """The fields that no control of this form shows and that are not as usual, by dotted path, as JSON."""
    said = flat(request.model_dump(mode="json"))
    return strictjson.dumps({path: value for path, value in said.items() if _is_carried(path, value, form)})


def read(text: Any) -> dict[str, Any]:
    """The fields that a form carries; none where its text is no such JSON."""
    try:
        found = strictjson.loads(text or "{}")
    except WorkbenchError:
        return {}
    return found if isinstance(found, dict) else {}


def laid_over(data: dict[str, Any], text: Any) -> dict[str, Any]:
    """A request's data with what the form carries; what belongs to a hires pass only where there is one."""
    fields = read(text)
    has_hires = bool(data.get("hires"))
    return overlay(data, {path: one for path, one in fields.items() if has_hires or not path.startswith("hires.")})


def after(text: Any, fields: Mapping[str, Any], form: Form) -> str:
    """What is carried once these fields of a request were taken: they replace what is said of the same."""
    kept = {path: one for path, one in read(text).items() if not any(_same_place(path, other) for other in fields)}
    taken = {path: one for path, one in fields.items() if _is_carried(path, one, form)}
    if "start.picture" not in {**kept, **taken}:  # what is said of a picture to start from needs one
        kept, taken = ({path: one for path, one in rows.items() if not path.startswith("start.")}
                       for rows in (kept, taken))  # fmt: skip
    return strictjson.dumps({**kept, **taken})


def _is_carried(path: str, value: Any, form: Form) -> bool:
    if path in _NEVER or path.partition(".")[0] in ("script", "sheet") or value is None or value == _PLAIN.get(path):
        return False
    return not any(
        row.field == path
        or row.field.startswith(path + ".")
        or (row.kind == "hidden" and row.field and path.startswith(row.field + "."))
        for row in form.controls
    )


def _same_place(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")
