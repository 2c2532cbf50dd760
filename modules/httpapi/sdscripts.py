"""A1111's scripts as clients ask for them: our extensions by title, and what its own built-in ones are here."""

from collections.abc import Mapping
from typing import Any

from modules.core.errors import BadValue
from modules.core.request import SoftInpaint
from modules.extend.api import Control
from modules.extend.loader import Found, Registry
from modules.httpapi import sdoptions, sdselectable
from modules.httpapi.sdpayload import ImageToImage, Payload
from modules.library.infotextkeys import EXTENDED_MOST

SOFT = "Soft Inpainting"  # an always-on script there, part of inpainting here
_SKIPS = {"ngms": "s_min_uncond", "skip-early-cfg": "skip_early_cond"}  # extension -> the field that asks for it


def acting(registry: Registry) -> list[Found]:
    """The extensions that act on pictures, by title."""
    return [row for row in registry.active() if row.acts_on_pictures()]


def titles(registry: Registry) -> dict[str, list[str]]:
    """What can be named in ``script_name`` and ``alwayson_scripts``, for either kind of making."""
    own = [*(row["name"] for row in sdselectable.info(False)), *(row.title.lower() for row in acting(registry))]
    return {"txt2img": own, "img2img": sorted([*own, SOFT.lower()])}


def info(registry: Registry) -> list[dict[str, Any]]:
    """The same with their fields, in the order in which a call gives their values."""
    rows = [
        {"name": row.title.lower(), "is_alwayson": True, "is_img2img": is_img2img, "args": _arguments(row.controls())}
        for is_img2img in (False, True)
        for row in acting(registry)
    ]
    rows += [row for is_img2img in (False, True) for row in sdselectable.info(is_img2img)]
    return [*rows, {"name": SOFT.lower(), "is_alwayson": True, "is_img2img": True, "args": _soft_arguments()}]


def extensions(
    payload: Payload, options: Mapping[str, Any], registry: Registry
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Settings of our extensions as A1111 gives them, and what of it could not be honoured.

    Always-on scripts give values by place; negative guidance minimum sigma and skipping early CFG are fields and
    options there. Raises BadValue naming the field for a script that there is none of, or bad values.
    """
    found, warnings = _skips(payload, options, registry)
    known = {row.title.lower(): row for row in acting(registry)}
    for title, given in (payload.alwayson_scripts or {}).items():
        args = _values(title, given)
        if title.lower() == SOFT.lower() and isinstance(payload, ImageToImage):
            continue
        if title.lower() not in known:
            raise _unknown(title)
        row = known[title.lower()]
        names = [control.name for control in row.controls()]
        found[row.name] = dict(zip(names, args, strict=False))
    registry.make(found)
    return found, warnings


def soft_inpainting(payload: ImageToImage) -> dict[str, Any] | None:
    """The values of A1111's script of that name, whose first says whether it is on; None where it is off."""
    for title, given in (payload.alwayson_scripts or {}).items():
        if title.lower() == SOFT.lower():
            is_on, *values = _values(title, given) or [False]
            return dict(zip(SoftInpaint.model_fields, values, strict=False)) if is_on else None
    return None


def _skips(payload: Payload, options: Mapping[str, Any], registry: Registry) -> tuple[dict[str, Any], list[str]]:
    said = {name: sdoptions.read(name, options[name]) for name in sdoptions.SKIPS if name in options}
    if payload.s_min_uncond is not None:
        said["s_min_uncond"] = payload.s_min_uncond
    wanted: dict[str, dict[str, Any]] = {}
    if said.get("s_min_uncond", 0) > 0:
        below = min(float(said["s_min_uncond"]), EXTENDED_MOST["ngms"])
        wanted["ngms"] = {"below": below, "every_step": bool(said.get("s_min_uncond_all"))}
    if said.get("skip_early_cond", 0) > 0:
        wanted["skip-early-cfg"] = {"share": said["skip_early_cond"]}
    on = {row.name for row in registry.active()}
    off = [name for name in wanted if name not in on]
    warnings = [f"{_SKIPS[name]} was left out: the extension {name} is switched off." for name in off]
    return {name: settings for name, settings in wanted.items() if name in on}, warnings


def _values(title: str, given: Any) -> list[Any]:
    args = given.get("args", []) if isinstance(given, dict) else None
    if not isinstance(args, list):
        raise _unknown(title)
    return args


def _unknown(title: str) -> BadValue:
    return BadValue(
        f"There is no always-on script {title!r} with a list of args.", "GET /sdapi/v1/script-info names them.",
        field="alwayson_scripts",
    )  # fmt: skip


def _arguments(controls: tuple[Control, ...]) -> list[dict[str, Any]]:
    return [
        {"label": row.label, "value": row.default, "minimum": row.low, "maximum": row.high, "step": row.step,
         "choices": list(row.choices) or None}
        for row in controls
    ]  # fmt: skip


def _soft_arguments() -> list[dict[str, Any]]:
    plain = SoftInpaint()
    rows: list[tuple[str, Any]] = [("Soft inpainting", False)]
    rows += [(name.replace("_", " ").capitalize(), getattr(plain, name)) for name in SoftInpaint.model_fields]
    return [{"label": label, "value": value, "minimum": None, "maximum": None, "step": None, "choices": None}
            for label, value in rows]  # fmt: skip
