"""What a picture says about how it was made, as fields of a request that are each known to be valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest

# Fields are checked one by one: what must stand around a field of a part, so that the part is whole.
_NO_PICTURE = "0" * 64
_AROUND: dict[str, Any] = {
    "start": {"picture": _NO_PICTURE}, "refiner": {"checkpoint": "x"}, "variation": {"seed": 0},
    "start.inpaint": {"mask": _NO_PICTURE},
}  # fmt: skip


@dataclass(frozen=True)
class Recall:
    """What a picture's text says.

    ``fields`` are the request's fields by dotted path (``sampling.steps``), each already valid; ``unknown`` the pairs
    that mean nothing here, as written; ``warnings`` name fields whose values could not be used. ``model_hash`` is the
    start of a checkpoint's sha256, ``made_by`` the program's name or version as written.
    """

    fields: Mapping[str, Any]
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[WorkbenchError, ...] = ()
    model_hash: str = ""
    made_by: str = ""

    def apply(self, base: GenerationRequest) -> GenerationRequest:
        """``base`` with the fields of this text; raises BadValue where they do not fit together.

        Fields of a starting picture need one: without it they are left out.
        """
        said = {path: value for path, value in self.fields.items() if not path.startswith("start.") or base.start}
        if base.start is None or base.start.inpaint is None:
            said = {path: value for path, value in said.items() if not path.startswith("start.inpaint.")}
        return GenerationRequest.from_data(overlay(base.model_dump(mode="json"), said))

    def only(self, paths: frozenset[str]) -> Recall:
        """The same with no other fields than these."""
        return replace(self, fields={path: value for path, value in self.fields.items() if path in paths})


class Gathering:
    """Takes fields one by one, each checked as the API checks it; what does not fit becomes a warning."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.warnings: list[WorkbenchError] = []

    def take(self, *names_and_values: Any) -> bool:
        """Fields that stand or fall together: path, value, path, value; whether they stand."""
        given = dict(zip(names_and_values[::2], names_and_values[1::2], strict=True))
        base: dict[str, Any] = {"seed": 0}
        for path, around in _AROUND.items():
            if any(name.startswith(path + ".") for name in given):
                base = overlay(base, {f"{path}.{name}": value for name, value in around.items()})
        try:
            GenerationRequest.from_data(overlay(base, given))
        except WorkbenchError as problem:
            self.warn(problem, next(iter(given)))
            return False
        self.fields |= given
        return True

    def warn(self, problem: WorkbenchError, path: str) -> None:
        """Remember a problem, naming a field."""
        self.warnings.append(
            BadValue(problem.message, problem.hint, code=problem.code, field=problem.field or path, **problem.facts)
        )


def overlay(data: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Put values at dotted paths into nested dicts, in place."""
    for path, value in fields.items():
        *parents, name = path.split(".")
        place = data
        for parent in parents:
            place[parent] = place.get(parent) or {}
            place = place[parent]
        place[name] = value
    return data


def flat(data: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested dicts as dotted paths; extensions, lists and a starting picture's frame stay whole."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        place = f"{path}{name}"
        if isinstance(value, dict) and place not in ("extensions", "start.frame", "seed_resize"):
            found |= flat(cast(dict[str, Any], value), place + ".")
        else:
            found[place] = value
    return found
