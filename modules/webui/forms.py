"""The form's values: what they mean as a request, what changes when one of them does, and where drafts are kept."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core import limits, strictjson
from modules.core.compat import NOISE, OWN, PRESETS, SWITCHES, preset_of
from modules.core.errors import WorkbenchError
from modules.core.geometry import Size
from modules.core.request import GenerationRequest, Hires, Inpaint, StartFrom
from modules.families.base import Defaults
from modules.library.database import Database
from modules.library.recall import Recall, overlay
from modules.webui import carried, parts, script_rows
from modules.webui.controls import QUALITIES, SHAPES, Control, Form
from modules.webui.entries import number, seed_of, whole

Values = dict[str, Any]

AREA_SLACK = 0.18  # a shape may have this much more or fewer pixels than the family's own size, to hit its ratio
RATIO_SLACK = 0.1
RATIO_WEIGHT = 8.0  # how much more a wrong ratio costs than a wrong area
SIDE_MULTIPLE = 16
_NO_PICTURE = "0" * 64  # stands where only the fields beside it are asked for
BEST_HIRES = Hires(scale=2.0, steps=0, denoise_strength=0.5)


@dataclass(frozen=True)
class Preset:
    """What one word of Quality stands for."""

    steps: int
    hires: bool


def presets(defaults: Defaults) -> dict[str, Preset]:
    """Draft, Good and Best of one family: steps, and for Best a second pass at twice the size."""
    return {word: Preset(defaults.steps[word], word == "best") for word in QUALITIES}  # type: ignore[index]


def size_of(shape: str, defaults: Defaults) -> Size:
    """The size of that shape with about as many pixels as the family likes, sides multiples of 16.

    The ratio comes first: 4:3 of 256 x 256 is 320 x 240, exactly 4:3, not the nearer 296 x 224.
    """
    wide, high = SHAPES[shape]
    area, ratio = defaults.size.pixels, wide / high
    reach = 2 * math.isqrt(int(area * ratio)) + limits.SIDE[0]
    found = []
    for width in range(limits.SIDE[0], min(reach, limits.SIDE[1]) + 1, SIDE_MULTIPLE):
        height = max(limits.SIDE[0], round(width / ratio / SIDE_MULTIPLE) * SIDE_MULTIPLE)
        off_area, off_ratio = abs(math.log(width * height / area)), abs(math.log(width / height / ratio))
        is_far = off_area > AREA_SLACK or off_ratio > RATIO_SLACK  # taken only where nothing is near
        found.append((is_far, off_area + off_ratio * RATIO_WEIGHT, width, height))
    _, _, width, height = min(found)
    return Size(width=width, height=height)


def start(form: Form, defaults: Defaults, prompt: str) -> Values:
    """The values of a form that nobody touched yet."""
    size = size_of("1:1", defaults)
    return {
        **form.defaults(),
        "prompt": prompt,
        "width": size.width,
        "height": size.height,
        "steps": presets(defaults)["good"].steps,
        "cfg_scale": defaults.cfg_scale,
        "sampler": defaults.sampler,
        "schedule": defaults.schedule,
        "hires_scale": BEST_HIRES.scale,
        "hires_denoise": BEST_HIRES.denoise_strength,
    }


def change(values: Mapping[str, Any], patch: Mapping[str, Any], old: Defaults, new: Defaults, form: Form) -> Values:
    """The values after ``patch``: a shape brings its size, a quality its steps, a model its family's own of both.

    ``old`` and ``new`` are the defaults of the model before and after. ``shape`` and ``quality`` are None where size
    or steps were set by hand. Names that the form does not have are left out.
    """
    names = {row.name for row in form.controls}
    made = {**values, **{name: value for name, value in patch.items() if name in names}}
    if old != new and "width" not in patch and values.get("shape"):
        patch = {"shape": values["shape"], **patch}
    if old != new and "steps" not in patch and values.get("quality"):
        patch = {"quality": values["quality"], **patch}
    if patch.get("shape") in SHAPES:
        size = size_of(patch["shape"], new)
        made |= {"width": size.width, "height": size.height}
    if patch.get("quality") in QUALITIES:
        preset = presets(new)[patch["quality"]]
        made |= {"steps": preset.steps, "hires": preset.hires, "sampler": new.sampler, "schedule": new.schedule}
        if preset.hires:
            made |= {
                "hires_scale": BEST_HIRES.scale,
                "hires_steps": BEST_HIRES.steps,
                "hires_denoise": BEST_HIRES.denoise_strength,
            }
    if patch.get("compat") in NOISE and "noise" not in patch:
        made["noise"] = NOISE[patch["compat"]]
    return derive(made, new)


def derive(values: Values, defaults: Defaults) -> Values:
    """Say which shape and which quality the values amount to; None where to none."""
    size = (values.get("width"), values.get("height"))
    shapes = [name for name in SHAPES if (found := size_of(name, defaults)) and (found.width, found.height) == size]
    qualities = [word for word, preset in presets(defaults).items() if _matches(values, preset, defaults)]
    return {**values, "shape": shapes[0] if shapes else None, "quality": qualities[0] if qualities else None}


def _matches(values: Mapping[str, Any], preset: Preset, defaults: Defaults) -> bool:
    if preset.hires and (values.get("hires_scale"), values.get("hires_denoise")) != (
        BEST_HIRES.scale,
        BEST_HIRES.denoise_strength,
    ):
        return False
    return (
        values.get("steps") == preset.steps
        and values.get("hires") == preset.hires
        and values.get("sampler") == defaults.sampler
        and values.get("schedule") == defaults.schedule
    )


def request_of(values: Mapping[str, Any], form: Form) -> GenerationRequest:
    """The request that these values ask for, a random seed made concrete; raises BadValue naming the field."""
    data: dict[str, Any] = {
        "prompt": values["prompt"] or "",
        "negative_prompt": values["negative_prompt"] or "",
        "styles": styles_of(values["styles"]),
        "combinations": values["chance"] == "all",
        "size": {"width": whole(values, "width", form), "height": whole(values, "height", form)},
        "seed": seed_of(values["seed"]),
        "count": whole(values, "count", form),
        "sampling": {
            "sampler": values["sampler"] or "",
            "schedule": values["schedule"] or "",
            "steps": whole(values, "steps", form),
            "cfg_scale": number(values, "cfg_scale", form),
        },
        "model": {"checkpoint": values["checkpoint"] or ""},
        "clip_skip": whole(values, "clip_skip", form),
        "noise": values["noise"],
        "emphasis": values["emphasis"],
        "compat": switches_of(values["compat"], values["compat_own"]),
        "extensions": _extensions(values, form),
    }
    if values["hires"]:
        data["hires"] = {
            "scale": number(values, "hires_scale", form),
            "steps": whole(values, "hires_steps", form),
            "denoise_strength": number(values, "hires_denoise", form),
        }
    data = overlay(data, parts.fields_of(values, form))
    if script := script_rows.script_of(values, whole(values, "script_margin", form)):
        data["script"] = script
    return GenerationRequest.from_data(carried.laid_over(data, values["carried"]))


def values_of(request: GenerationRequest, form: Form, defaults: Defaults) -> Values:
    """The values that would ask for this request again, its seed included; the other way round of ``request_of``."""
    made: Values = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "styles": strictjson.dumps(list(request.styles)),
        "chance": "all" if request.combinations else "",
        "seed": str(request.seed),
        "count": min(request.count, int(form.named("count").high or 1)),
        "checkpoint": request.model.checkpoint,
        "sampler": request.sampling.sampler,
        "schedule": request.sampling.schedule,
        "steps": request.sampling.steps,
        "cfg_scale": request.sampling.cfg_scale,
        "width": request.size.width,
        "height": request.size.height,
        "hires": request.hires is not None,
        "clip_skip": request.clip_skip,
        "noise": request.noise,
        "emphasis": request.emphasis,
        "compat": (preset := preset_of(request.compat)),
        "carried": carried.of(request, form),
        "compat_own": strictjson.dumps(list(request.compat) if preset == OWN else []),
    }
    if request.hires:
        made |= {
            "hires_scale": request.hires.scale,
            "hires_steps": request.hires.steps,
            "hires_denoise": request.hires.denoise_strength,
        }
    made |= parts.values_of(request) | script_rows.values_of(request)
    for fold in form.folds:
        if fold.name.startswith("extensions."):
            said = request.extensions.get(fold.name.removeprefix("extensions."))
            made[fold.name] = said is not None
            made |= {f"{fold.name}.{name}": value for name, value in (said or {}).items()}
    known = {row.name for row in form.controls}
    return derive({name: value for name, value in made.items() if name in known}, defaults)


def values_saying(fields: Mapping[str, Any], form: Form, defaults: Defaults) -> Values:
    """The values of just those controls whose fields of a request are given, by dotted path; raises BadValue."""
    base = GenerationRequest(seed=0)
    if any(path.startswith("start.") for path in fields):
        masked = any(path.startswith("start.inpaint.") for path in fields)
        inpaint = Inpaint(mask=_NO_PICTURE) if masked else None
        base = base.model_copy(update={"start": StartFrom(picture=_NO_PICTURE, inpaint=inpaint)})
    values = values_of(Recall(fields).apply(base), form, defaults)
    return {row.name: values[row.name] for row in form.controls if row.name in values and _is_said(row, fields)}


def _is_said(row: Control, fields: Mapping[str, Any]) -> bool:
    place = "extensions" if row.name.startswith("extensions.") else row.field
    return bool(place) and any(
        place == path or place.startswith(path + ".") or path.startswith(place + ".") for path in fields
    )


def switches_of(preset: Any, own: Any) -> list[str]:
    """The rules of other programs that a choice means; of one's own mixture those in the ``own`` JSON list."""
    if preset != OWN:
        return list(PRESETS.get(str(preset), ()))
    return [name for name in styles_of(own) if name in SWITCHES]


def styles_of(text: Any) -> list[str]:
    """The names in the form's list of styles; none where it is no such list."""
    try:
        names = strictjson.loads(text or "[]")
    except WorkbenchError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def cleaned(stored: Mapping[str, Any], form: Form, fresh: Values) -> Values:
    """A stored draft over fresh values: what the form no longer has is dropped, what does not fit stays fresh."""
    made = dict(fresh)
    for row in form.controls:
        if row.name in stored and _fits(row, stored[row.name]):
            made[row.name] = stored[row.name]
    return made


def _fits(row: Control, value: Any) -> bool:
    if value is None:
        return row.kind in ("segments", "number")
    if row.kind == "toggle":
        return isinstance(value, bool)
    if row.kind in ("slider", "number"):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, str) or len(value) > limits.PROMPT_CHARACTERS:
        return False
    return not row.choices or value in row.choices


def _extensions(values: Mapping[str, Any], form: Form) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for fold in form.folds:
        if fold.name.startswith("extensions.") and values.get(fold.name):
            fields = [row for row in form.controls if row.fold == fold.name and row.name != fold.name]
            made[fold.name.removeprefix("extensions.")] = {
                row.name.removeprefix(fold.name + "."): _typed(row, values[row.name]) for row in fields
            }
    return made


def _typed(row: Control, value: Any) -> Any:
    """Gradio sends a slider's whole float as an int and the other way round."""
    if row.kind == "slider" and isinstance(row.default, float) and isinstance(value, int):
        return float(value)
    if row.kind == "slider" and isinstance(row.default, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE draft (workspace TEXT PRIMARY KEY, stored TEXT NOT NULL, changed_at REAL NOT NULL) STRICT"
    )


class Drafts:
    """What each workspace's form holds, in its own small SQLite file: a restart or a crash loses no typed word."""

    KEEP = 200
    _APPLICATION = 0x41744C66

    def __init__(self, path: Path) -> None:
        self._database = Database(path, (_create,), self._APPLICATION)
        self.notice = self._database.notice("form")

    def load(self, workspace: str) -> Values | None:
        """The stored values, or None for a workspace that nobody used yet."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT stored FROM draft WHERE workspace = ?", (workspace,)).fetchone()
        return strictjson.loads(row["stored"]) if row else None

    def save(self, workspace: str, values: Mapping[str, Any]) -> None:
        """Keep the values; the oldest workspaces beyond 200 are forgotten."""
        text = strictjson.dumps(dict(values))
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO draft VALUES (?, ?, ?) ON CONFLICT (workspace)"
                " DO UPDATE SET stored = excluded.stored, changed_at = excluded.changed_at",
                (workspace, text, time.time()),
            )
            connection.execute(
                "DELETE FROM draft WHERE workspace NOT IN"
                " (SELECT workspace FROM draft ORDER BY changed_at DESC LIMIT ?)",
                (self.KEEP,),
            )

    def close(self) -> None:
        self._database.close()
