"""A1111's HTTP dialect over our queue: clients of /sdapi/v1 find what they know, and nothing is pretended."""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from modules.core import strictjson
from modules.core.errors import BadValue, NotFound, WorkbenchError
from modules.core.events import ENDINGS
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.extend.api import Control
from modules.httpapi import sdresult
from modules.httpapi.sdrequest import CHECKPOINT, CLIP_SKIP, FORMAT, Payload, Translation, translate
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json, Raw, client_of
from modules.jobs.job import Job
from modules.library.pictures import Picture

CLIENT = "sdapi"
LOOK_AGAIN_S = 5.0
# Things that this version does not have: clients ask for the lists and find them empty.
EMPTY_LISTS = (
    "sd-vae", "loras", "hypernetworks", "face-restorers", "upscalers", "realesrgan-models", "prompt-styles",
    "extensions",
)  # fmt: skip


class Dialect:
    """What the routes share: the studio and the options that live as long as the program runs."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.clip_skip = 1

    def options(self) -> dict[str, Any]:
        """The options that mean something here, under A1111's names."""
        settings = self.studio.settings
        title, short = self.checkpoint(settings.checkpoint)
        return {
            FORMAT: "jpg" if settings.image_format == "jpeg" else settings.image_format,
            "jpeg_quality": settings.image_quality, "webp_lossless": False, "enable_pnginfo": True,
            "samples_save": True, "return_grid": False, "grid_save": False, CHECKPOINT: title,
            "sd_checkpoint_hash": short, "sd_vae": "Automatic", CLIP_SKIP: self.clip_skip, "randn_source": "NV",
            "eta_noise_seed_delta": 0, "live_previews_enable": settings.previews,
        }  # fmt: skip

    def checkpoint(self, name: str) -> tuple[str, str]:
        """(title, short hash) of a checkpoint; two empty texts where there is none."""
        with contextlib.suppress(WorkbenchError):
            found = self.studio.checkpoints.find(name)
            return _title(found), found.short_hash
        return "", ""

    def change(self, given: dict[str, Any]) -> None:
        """Take the options that mean something here; others are ignored, as clients send all they know."""
        changes: dict[str, Any] = {}
        if CHECKPOINT in given:
            changes["checkpoint"] = self.studio.checkpoints.find(_text(given, CHECKPOINT)).name
        if FORMAT in given:
            format = sdresult.FORMATS.get(_text(given, FORMAT).lower())
            if format is None:
                raise BadValue(f"{FORMAT} can be png, jpg or webp.", "Use png.", field=FORMAT)
            changes["image_format"] = format
        if "jpeg_quality" in given:
            changes["image_quality"] = _between(given, "jpeg_quality", 1, 100)
        skip = _between(given, CLIP_SKIP, 1, 12) if CLIP_SKIP in given else self.clip_skip
        if changes:
            self.studio.change_settings(changes)
        self.clip_skip = skip


@dataclass(frozen=True)
class Asked:
    """One txt2img call: what was sent, what it means, and the job that makes it."""

    payload: Payload
    translation: Translation
    job: Job


def router(studio: Studio) -> APIRouter:
    """The routes of the dialect."""
    made = APIRouter(prefix="/sdapi/v1", tags=["sdapi"])
    dialect = Dialect(studio)
    _add_making(made, dialect)
    _add_options(made, dialect)
    _add_lists(made, dialect)
    _add_about(made, dialect)
    return made


def _add_making(made: APIRouter, dialect: Dialect) -> None:
    studio = dialect.studio

    @made.post("/txt2img")
    async def txt2img(request: Request, raw: Raw) -> Json:
        """Make pictures and wait for them. A client that leaves takes its job along."""
        subscription = studio.bus.subscribe(None)
        with subscription:
            asked = await run_in_threadpool(_submit, dialect, raw, client_of(request, ""))
            await _until_ended(studio, subscription, asked.job.id, request)
        return Json(await run_in_threadpool(_answer, dialect, asked))

    @made.post("/interrupt")
    def interrupt() -> Json:
        """Stop the running job, if it came through this dialect; its finished pictures are answered."""
        for job in _running(studio):
            studio.queue.cancel(job.id)
        return Json({})

    @made.post("/skip")
    def skip() -> Json:
        """Leave out the picture that is being made, if its job came through this dialect."""
        for job in _running(studio):
            studio.queue.skip(job.id)
        return Json(None)

    @made.get("/progress")
    def progress(skip_current_image: Annotated[bool, Query()] = False) -> Json:
        """How far the running job is, with the newest preview as a base64 JPEG."""
        snapshot = studio.bus.snapshot()
        count = 0
        if snapshot["running"]:
            with contextlib.suppress(NotFound):
                count = len(studio.queue.job(snapshot["running"]["job"]).pictures)
        return Json(sdresult.progress(snapshot, count, not skip_current_image))

    @made.post("/png-info")
    def png_info(raw: Raw) -> Json:
        """Read the generation data inside a picture (base64, or a data: URI)."""
        text = sdresult.text_of(_picture(_object(raw)))
        return Json({"info": text, "items": {}, "parameters": sdresult.parsed(text) if text else {}})


def _submit(dialect: Dialect, raw: bytes, client: str) -> Asked:
    studio = dialect.studio
    payload = Payload.from_json(raw)
    present = {CLIP_SKIP: dialect.clip_skip, CHECKPOINT: studio.settings.checkpoint}
    translation = translate(payload, present, studio.checkpoints, studio.extensions)
    if payload.override_settings and payload.override_settings_restore_afterwards is False:
        dialect.change(payload.override_settings)
    job = studio.queue.submit(
        translation.request, client=f"{CLIENT}:{client}" if client else CLIENT, workspace=CLIENT
    )  # fmt: skip
    return Asked(payload, translation, job)


async def _until_ended(studio: Studio, subscription: Any, job: str, request: Request) -> None:
    """Wait for the job's end; when the client leaves, the job is cancelled and nobody is answered."""
    left = asyncio.ensure_future(_disconnected(request.receive))
    closing: asyncio.Event | None = getattr(request.state, "closing", None)
    over = [left, *([asyncio.ensure_future(closing.wait())] if closing else [])]
    heard: asyncio.Future[Any] = asyncio.ensure_future(subscription.next())
    try:
        while True:
            await asyncio.wait([heard, *over], timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                await run_in_threadpool(studio.queue.cancel, job)
                raise WorkbenchError("The client left.", "", code="client_left", status=499)
            if any(task.done() for task in over):
                raise WorkbenchError(
                    "The program is stopping; the job is kept and goes on at the next start.", "Ask again later.",
                    code="stopping", status=503,
                )  # fmt: skip
            events, missed = heard.result() if heard.done() else ([], True)
            if any(event.job == job and event.type in ENDINGS for event in events):
                return
            if missed and (await run_in_threadpool(studio.queue.job, job)).has_ended:
                return
            if heard.done():
                heard = asyncio.ensure_future(subscription.next())
    finally:
        for task in (*over, heard):
            task.cancel()


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer(dialect: Dialect, asked: Asked) -> dict[str, Any]:
    """The pictures that were made; raises the job's error where it failed."""
    studio, payload = dialect.studio, asked.payload
    job = studio.queue.job(asked.job.id)
    if job.state == "failed":
        error = job.error or {}
        raise WorkbenchError(
            error.get("message", "The job failed."), error.get("hint", ""), code=error.get("code", "failed"), status=500
        )
    pictures = [studio.gallery.get(image) for _, image in job.images]
    format = str(asked.translation.overrides.get(FORMAT) or dialect.options()[FORMAT])
    quality = studio.settings.image_quality
    images = [
        sdresult.encoded(studio.gallery.path(picture.id), format, quality, picture.infotext)
        for picture in pictures
        if payload.send_images
    ]
    facts = [str(picture.facts.get("sha256") or "") for picture in pictures]
    model = asked.translation.request.model.checkpoint
    info = sdresult.info(asked.translation, pictures, payload.batch_size or 1, (model, (facts or [""])[0][:10]))
    if not payload.save_images:
        _put_aside(studio, pictures)
    return {"images": images, "parameters": payload.model_dump(), "info": info}


def _put_aside(studio: Studio, pictures: list[Picture]) -> None:
    """A1111 keeps no file unless asked to: ours go to the trash, from where they can be brought back."""
    studio.gallery.trash([picture.id for picture in pictures])


def _running(studio: Studio) -> list[Job]:
    return [job for job in studio.queue.jobs(states=("running",)) if job.client.partition(":")[0] == CLIENT]


def _add_options(made: APIRouter, dialect: Dialect) -> None:
    @made.get("/options")
    def options() -> Json:
        """The options that mean something here."""
        return Json(dialect.options())

    @made.post("/options")
    def change(raw: Raw) -> Json:
        """Change sd_model_checkpoint, samples_format, jpeg_quality or CLIP_stop_at_last_layers; others are ignored."""
        dialect.change(_object(raw))
        return Json(None)

    @made.get("/cmd-flags")
    def flags() -> Json:
        """How the program was started, without any folder."""
        settings = dialect.studio.settings
        return Json(
            {"api": True, "api_server_stop": False, "listen": not settings.is_local(), "port": settings.port,
             "device_id": None, "nowebui": False}
        )  # fmt: skip


def _add_lists(made: APIRouter, dialect: Dialect) -> None:
    studio = dialect.studio

    @made.get("/samplers")
    def samplers() -> Json:
        """The samplers."""
        return Json([{"name": row.name, "aliases": list(row.aliases), "options": {}} for row in SAMPLERS])

    @made.get("/schedulers")
    def schedulers() -> Json:
        """The schedules."""
        rows = [{"name": row.id, "label": row.name, "aliases": None, "default_rho": -1, "need_inner_model": False}
                for row in SCHEDULES]  # fmt: skip
        return Json(rows)

    @made.get("/sd-models")
    def models() -> Json:
        """The checkpoints that can be used; ``filename`` is a name, never a path."""
        rows = [
            {"title": _title(one), "model_name": one.name, "hash": one.short_hash or None, "sha256": one.sha256,
             "filename": one.path.name, "config": None}
            for one in studio.checkpoints.list() if not one.problem
        ]  # fmt: skip
        return Json(rows)

    @made.post("/refresh-checkpoints")
    def refresh() -> Json:
        """Look at the model folders now."""
        studio.checkpoints.refresh()
        return Json(None)

    for name in EMPTY_LISTS:
        made.add_api_route(f"/{name}", _empty(name), methods=["GET"], description=f"This version has no {name}.")

    @made.get("/latent-upscale-modes")
    def modes() -> Json:
        """How latents are enlarged."""
        return Json([{"name": "Latent"}])

    @made.get("/embeddings")
    def embeddings() -> Json:
        """This version has no embeddings."""
        return Json({"loaded": {}, "skipped": {}})


def _empty(name: str) -> Callable[[], Json]:
    def nothing() -> Json:
        return Json([])

    nothing.__name__ = name.replace("-", "_")
    return nothing


def _add_about(made: APIRouter, dialect: Dialect) -> None:
    studio = dialect.studio

    @made.get("/scripts")
    def scripts() -> Json:
        """The titles of the extensions that act on pictures, in lower case."""
        return Json({"txt2img": [row.title.lower() for row in _acting(studio)], "img2img": []})

    @made.get("/script-info")
    def script_info() -> Json:
        """The same with their fields, in the order in which ``alwayson_scripts`` gives their values."""
        rows = [{"name": row.title.lower(), "is_alwayson": True, "is_img2img": False,
                 "args": [_argument(control) for control in row.controls()]} for row in _acting(studio)]  # fmt: skip
        return Json(rows)

    @made.get("/memory")
    def memory() -> Json:
        """The computer's memory in bytes; the device's is known to the engine only."""
        ram = psutil.virtual_memory()
        return Json(
            {"ram": {"free": ram.available, "used": ram.total - ram.available, "total": ram.total},
             "cuda": {"error": "not measured by this process"}}
        )  # fmt: skip


def _acting(studio: Studio) -> list[Any]:
    return [row for row in studio.extensions.active() if row.acts_on_pictures()]


def _argument(control: Control) -> dict[str, Any]:
    return {"label": control.label, "value": control.default, "minimum": control.low, "maximum": control.high,
            "step": control.step, "choices": list(control.choices) or None}  # fmt: skip


def _title(checkpoint: Any) -> str:
    return f"{checkpoint.name} [{checkpoint.short_hash}]" if checkpoint.short_hash else checkpoint.name


def _object(raw: bytes) -> dict[str, Any]:
    given = strictjson.loads(raw)
    if not isinstance(given, dict):
        raise BadValue("The body is no object.", "Send one JSON object.")
    return given


def _text(given: dict[str, Any], name: str) -> str:
    if not isinstance(given[name], str):
        raise BadValue(f"{name} is no text.", "Send a text.", field=name)
    return given[name]


def _between(given: dict[str, Any], name: str, low: int, high: int) -> int:
    value = given[name]
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if not whole or not low <= value <= high:
        raise BadValue(
            f"{name} is no whole number from {low} to {high}.", f"Use {low}.", field=name, low=low, high=high
        )
    return int(value)


def _picture(given: dict[str, Any]) -> bytes:
    text = _text(given, "image") if "image" in given else ""
    if text.startswith(("http://", "https://")):
        raise BadValue("Pictures are not fetched from addresses.", "Send its bytes as base64.", field="image")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadValue("image is not base64.", "Send the picture's bytes as base64.", field="image") from None
