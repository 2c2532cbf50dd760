"""The program itself over HTTP: settings, models, extensions, and what a request would cost or stumble over."""

import contextlib
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from modules.core import limits, sampling, settings, strictjson
from modules.core.errors import BadValue, ModelError, WorkbenchError
from modules.core.part import Part
from modules.core.settings import Settings
from modules.httpapi.jobs import AnyRequest, concrete
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, read, takes
from modules.library.checkpoints import Checkpoint
from modules.library.choices import Prediction
from modules.planning import sheets, wording
from modules.planning.check import Problem, check, omissions
from modules.prompt import tokens, wildcards
from modules.prompt.dialect import dialect_of
from modules.prompt.vocabulary import unknown_words

START = "start"  # settings of this group are given at the start; folders among them are nobody's business here
FOLDERS = ("data_dir", "models_dir", "model_paths")


class Switch(Part):
    """Whether an extension is on."""

    enabled: bool


class Chosen(Part):
    """What a checkpoint predicts; null leaves it to the signs in its file."""

    prediction: Prediction | None


class Text(Part):
    """A prompt to count, as typed; ``negative`` ones take no AND."""

    text: Annotated[str, Field(max_length=limits.PROMPT_CHARACTERS)]
    negative: bool = False
    steps: Annotated[int, Field(ge=limits.STEPS[0], le=limits.STEPS[1])] = 20
    compat: tuple[str, ...] = ()
    checkpoint: Annotated[str, Field(max_length=1_000)] = ""
    styles: Annotated[tuple[str, ...], Field(max_length=limits.STYLES)] = ()


class Question(Part):
    """A request to look at without making it."""

    request: AnyRequest


def router(studio: Studio) -> APIRouter:
    """The routes of the program."""
    made = APIRouter(prefix="/api/v1", tags=["program"])
    _add_settings(made, studio)
    _add_extensions(made, studio)
    _add_models(made, studio)
    _add_questions(made, studio)
    return made


def _add_settings(made: APIRouter, studio: Studio) -> None:
    @made.get("/settings")
    def get_settings() -> Json:
        """Every setting with its value, default, help and choices; folders are left out."""
        return Json({"settings": [_setting(name, studio.settings) for name in settings.TABLE if name not in FOLDERS]})

    @made.patch("/settings")
    def change_settings(raw: Raw) -> Json:
        """Change preferences: {name: value}. What belongs to the start is changed at the start."""
        changes = read_changes(raw)
        checkpoint = changes.get("checkpoint")
        if checkpoint and isinstance(checkpoint, str):  # saving refuses what is no text
            studio.checkpoints.find(checkpoint)
        changed = studio.change_settings(changes)
        return Json({"settings": [_setting(name, changed) for name in changes]})


def read_changes(raw: bytes) -> dict[str, Any]:
    """Changed preferences from JSON; raises BadValue for a setting that only the start can give."""
    given = strictjson.loads(raw)
    if not isinstance(given, dict):
        raise BadValue("The body is no object.", "Send {name: value}.")
    for name in given:
        row = settings.TABLE.get(name)
        if row is None:
            raise BadValue(f"There is no setting named {name!r}.", "GET /api/v1/settings names them.", field=name)
        if row.metadata["group"] == START:
            flag = "--" + name.replace("_", "-")
            raise BadValue(f"{name} is chosen at the start.", f"Start the program with {flag}.", field=name)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _setting(name: str, values: Settings) -> dict[str, Any]:
    row = settings.TABLE[name]
    about = {key: row.metadata[key] for key in ("help", "choices", "group", "live")}
    return {"name": name, "value": getattr(values, name), "default": row.default, **about}


def _add_extensions(made: APIRouter, studio: Studio) -> None:
    discretion = Discretion(studio.settings)

    def shown(name: str) -> dict[str, Any]:
        found = studio.extensions.get(name)
        return {
            "name": found.name, "title": found.title, "about": found.about(), "builtin": found.builtin,
            "enabled": found.enabled, "active": found.active, "problem": discretion.text(found.problem),
            "controls": [vars(control) for control in found.controls()],
        }  # fmt: skip

    @made.get("/extensions")
    def extensions() -> Json:
        """Every extension found, with its fields; ``problem`` says why one could not be loaded."""
        return Json({"extensions": [shown(found.name) for found in studio.extensions.all()]})

    @made.post("/extensions/{name}", openapi_extra=takes(Switch))
    def switch(name: str, raw: Raw) -> Json:
        """Switch an extension on or off: from the next job and the next load of the page on."""
        studio.extensions.set_enabled(name, read(Switch, raw).enabled)
        studio.change_settings({"extensions_off": studio.extensions.names_off()})
        return Json(shown(name))


def _add_models(made: APIRouter, studio: Studio) -> None:
    discretion = Discretion(studio.settings)

    def shown(one: Checkpoint) -> dict[str, Any]:
        return {
            "name": one.name, "title": one.title or one.name, "family": one.family, "size_bytes": one.size_bytes,
            "sha256": one.sha256, "size": one.size.model_dump() if one.size else None,
            "vocabulary": one.vocabulary, "variant": one.variant, "prediction": one.prediction,
            "zero_snr": one.zero_snr, "is_chosen": one.is_chosen, "reasons": one.reasons,
            "problem": discretion.data(one.problem.as_dict()) if one.problem else None,
        }  # fmt: skip

    @made.get("/models")
    def models() -> Json:
        """Every checkpoint with what was decided about it and why; an unusable one says its ``problem``."""
        return Json({"models": [shown(one) for one in studio.checkpoints.list()]})

    @made.put("/models/{name:path}/prediction", openapi_extra=takes(Chosen))
    def choose_prediction(name: str, raw: Raw) -> Json:
        """Say what a checkpoint (by name or hash) predicts, against its file's signs; kept for the file's hash."""
        return Json(shown(studio.checkpoints.choose_prediction(name, read(Chosen, raw).prediction)))

    @made.get("/samplers")
    def samplers() -> Json:
        """The samplers by name, and the schedule that Automatic means for each."""
        return Json({"samplers": [vars(row) for row in sampling.SAMPLERS]})

    @made.get("/schedules")
    def schedules() -> Json:
        """The schedules by name."""
        return Json({"schedules": [vars(row) for row in sampling.SCHEDULES]})


def _vocabulary(studio: Studio, checkpoint: str) -> dict[str, Any] | None:
    """What the checkpoint was taught, where its file says so; None for one that says nothing or is not there."""
    with contextlib.suppress(ModelError):
        return studio.checkpoints.find(checkpoint).vocabulary
    return None


def _combinations(text: str, studio: Studio) -> int:
    """How many pictures "all combinations" would make of a prompt; 0 for one without chance or without end."""
    if not wildcards.is_chance(text):
        return 0
    with contextlib.suppress(WorkbenchError):
        return len(wildcards.combinations(text, studio.phrases.lines, limits.COMBINATIONS))
    return 0


def _add_questions(made: APIRouter, studio: Studio) -> None:
    discretion = Discretion(studio.settings)

    @made.post("/tokens", openapi_extra=takes(Text))
    def count(raw: Raw) -> Json:
        """How many tokens a prompt has, where its chunks of 75 end, and which words the checkpoint was not taught."""
        asked = read(Text, raw)
        prompts = ("", asked.text) if asked.negative else (asked.text, "")
        text = wording.longest(*prompts, asked.styles, studio.phrases)[asked.negative]
        found = tokens.count(text, composable=not asked.negative, steps=asked.steps, dialect=dialect_of(asked.compat))
        taught = _vocabulary(studio, asked.checkpoint)
        unknown = unknown_words(asked.text, taught) if taught else ()
        return Json(
            {"used": found.used, "capacity": found.capacity, "boundaries": found.boundaries, "unknown": unknown,
             "combinations": _combinations(text, studio)}
        )  # fmt: skip

    @made.post("/check", openapi_extra=takes(Question))
    def outlook(raw: Raw) -> Json:
        """All mistakes of a request at once, its pictures' size, and how long it may take (null: not known yet)."""
        request = concrete(read(Question, raw).request)
        found, noted = list[Problem](), tuple[Problem, ...]()
        try:
            worded = sheets.word(request, studio.phrases, sheets.choices_of(studio.checkpoints, studio.phrases))
            request = worded.request
            noted = (*worded.notes, *omissions(request, studio.checkpoints))
            found = check(request, studio.checkpoints, studio.blobs)
        except WorkbenchError as problem:
            found = [Problem.of(problem, "prompt")]
        problems, notes = ([discretion.data(one.model_dump(mode="json")) for one in rows] for rows in (found, noted))
        size = request.final_size()
        return Json(
            {
                "problems": problems,
                "notes": notes,
                "count": request.count,
                "width": size.width,
                "height": size.height,
                "estimate_s": None if problems else studio.estimate(request),
            }
        )
