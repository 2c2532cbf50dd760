"""What a picture or a text says about how it was made, over HTTP: field by field, to take or to leave."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field

from modules.core import limits
from modules.core.compat import expanded, preset_of
from modules.core.errors import WorkbenchError
from modules.core.part import Part
from modules.core.request import GenerationRequest
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, read, takes
from modules.library import reading
from modules.library.reading import Told
from modules.library.recall import Recall, flat
from modules.planning import wording
from modules.prompt import styles

# Rows in the order of the form: a name that the page has words for, and what of a request belongs to it. A path that
# ends in a point means all below it.
ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt", "styles", "combinations", "prompt_template"),
    "negative_prompt": ("negative_prompt", "negative_prompt_template"),
    "model": ("model.",),
    "vae": ("vae",),
    "seed": ("seed",),
    "variation": ("variation", "variation.", "seed_resize", "ensd"),
    "size": ("size.",),
    "sampler": ("sampling.sampler", "sampling.schedule"),
    "steps": ("sampling.steps",),
    "cfg_scale": ("sampling.cfg_scale",),
    "sampling": ("sampling.",),
    "hires": ("hires", "hires."),
    "refiner": ("refiner", "refiner."),
    "start": ("start", "start."),
    "clip_skip": ("clip_skip",),
    "noise": ("noise",),
    "emphasis": ("emphasis",),
    "compat": ("compat",),
    "tiling": ("tiling",),
    "extensions": ("extensions",),
}  # fmt: skip
ALWAYS: Final = {"prompt", "seed", "size", "sampler", "steps", "cfg_scale"}  # rows that are shown whatever they say
_LEFT_OUT: Final = {"version", "count", "prompts", "negative_prompts", "model.sha256", "start.picture",
                    "start.inpaint.mask"}  # fmt: skip


class Pasted(Part):
    """A text that somebody pasted."""

    text: Annotated[str, Field(max_length=limits.INFOTEXT_READ_BYTES)]


def router(studio: Studio) -> APIRouter:
    """The routes."""
    made = APIRouter(prefix="/api/v1", tags=["pictures"])
    discretion = Discretion(studio.settings)

    @made.get("/blobs/{sha256}/settings")
    def settings(sha256: str) -> Json:
        """The settings that an uploaded picture carries, whoever made it; ``rows`` is empty where it carries none."""
        path = studio.blobs.get(sha256)
        size = studio.blobs.size(sha256)
        told = reading.from_file(path)
        return Json({"sha256": sha256, "width": size.width, "height": size.height, **shown(told, studio, discretion)})

    @made.post("/infotext", openapi_extra=takes(Pasted))
    def pasted(raw: Raw) -> Json:
        """The same of a text: an infotext, or another program's JSON."""
        return Json(shown(reading.from_text(read(Pasted, raw).text), studio, discretion))

    return made


def shown(told: Told, studio: Studio, discretion: Discretion) -> dict[str, Any]:
    """What was found as rows of fields, each row to take or to leave.

    A row has ``values`` ([{field, value}], of which those that are no default are ``said``) and may have ``missing``,
    names that are not here; that of ``compat`` has the preset's ``word``. ``rest`` holds fields that mean "as usual":
    taken, they put back what the form has changed.
    """
    recall = _resolved(told, studio)
    fields = {path: value for path, value in recall.fields.items() if path not in _LEFT_OUT}
    plain = flat(GenerationRequest(seed=0).model_dump(mode="json"))
    fields, missing = _present(fields, recall.model_hash, studio)
    rows: list[dict[str, Any]] = []
    left = dict(fields)
    for name, paths in ROWS.items():
        own = [path for path in left if _belongs(path, paths)]
        values = [{"field": path, "value": left[path], "said": not _is_usual(path, left[path], plain)} for path in own]
        if name == "compat" and values:
            values[0]["word"] = preset_of(expanded(values[0]["value"]))
        if any(value["said"] for value in values) or (name in ALWAYS and own) or name in missing:
            rows.append({"name": name, "values": values, "missing": missing.get(name, [])})
            left = {path: value for path, value in left.items() if path not in own}
    warnings = [discretion.data(one.as_dict()) for one in (*told.warnings, *recall.warnings)]
    return {
        "program": told.program, "infotext": told.infotext, "rows": rows, "rest": left,
        "unknown": dict(recall.unknown), "warnings": warnings,
    }  # fmt: skip


def _resolved(told: Told, studio: Studio) -> Recall:
    """All fields, the words as they were typed where that would give the same words again."""
    if told.request is not None:
        request, seed = told.request.at(0), told.seed if told.seed is not None else told.request.seed
        typed = wording.typed(request, studio.phrases, seed).model_copy(update={"seed": seed})
        fields = flat(typed.model_dump(mode="json"))
        return Recall(fields, model_hash=(request.model.sha256 or "")[:10])
    recall = told.recall or Recall({})
    try:
        request = recall.apply(GenerationRequest(seed=0))
    except WorkbenchError as problem:
        return Recall(recall.fields, recall.unknown, (*recall.warnings, problem), recall.model_hash, recall.made_by)
    if not request.is_worded():
        words = _with_styles(request, studio)
        return Recall({**recall.fields, **words}, recall.unknown, recall.warnings, recall.model_hash, recall.made_by)
    typed = wording.typed(request, studio.phrases, request.seed)
    names = ("prompt", "negative_prompt", "styles", "combinations", "prompt_template", "negative_prompt_template")
    words = {name: value for name, value in typed.model_dump(mode="json").items() if name in names}
    return Recall({**recall.fields, **words}, recall.unknown, recall.warnings, recall.model_hash, recall.made_by)


def _with_styles(request: GenerationRequest, studio: Studio) -> dict[str, Any]:
    """Styles that are here and stand in the prompts as text become styles again, if that says the same words."""
    known = studio.phrases.styles()
    prompt, negative, names = styles.extract(request.prompt, request.negative_prompt, known.values())
    try:
        again = styles.apply(prompt, negative, [known[name] for name in names])
    except WorkbenchError:
        return {}
    if not names or again != (request.prompt, request.negative_prompt):
        return {}
    return {"prompt": prompt, "negative_prompt": negative, "styles": list(names)}


def _present(fields: dict[str, Any], model_hash: str, studio: Studio) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The fields with names as the library has them, and by row the names that are not here."""
    missing: dict[str, list[str]] = {}
    made = dict(fields)
    for path, row in (("model.checkpoint", "model"), ("hires.checkpoint", "hires"), ("refiner.checkpoint", "refiner")):
        name = made.get(path)
        if not name:
            continue
        wanted = [model_hash, name] if path == "model.checkpoint" and len(model_hash) >= 8 else [name]
        found = next((known for word in wanted if (known := _checkpoint(word, studio))), None)
        if found is None:
            missing.setdefault(row, []).append(str(name))
            del made[path]
        else:
            made[path] = found
    extensions = made.get("extensions") or {}
    active = {row.name for row in studio.extensions.active()}
    if off := [name for name in extensions if name not in active]:
        missing["extensions"] = off
        made["extensions"] = {name: value for name, value in extensions.items() if name in active}
    return made, missing


def _checkpoint(word: str, studio: Studio) -> str | None:
    try:
        return studio.checkpoints.find(word).name
    except WorkbenchError:
        return None


def _belongs(path: str, paths: tuple[str, ...]) -> bool:
    return any(path == one or (one.endswith(".") and path.startswith(one)) for one in paths)


def _is_usual(path: str, value: Any, plain: Mapping[str, Any]) -> bool:
    """Whether a field says no more than silence does."""
    usual = plain.get(path)
    return value in (None, "", [], {}) or value == usual or (isinstance(usual, tuple) and list(usual) == value)
