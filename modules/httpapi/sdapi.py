"""A1111's HTTP dialect over our queue: clients of /sdapi/v1 find what they know, and nothing is pretended."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from modules.core import strictjson
from modules.core.errors import BadValue, NotFound, WorkbenchError
from modules.core.events import ENDINGS
from modules.httpapi import sdextras, sdlists, sdoptions, sdresult, sdselectable
from modules.httpapi.sdlists import title
from modules.httpapi.sdoptions import CHECKPOINT, FORMAT
from modules.httpapi.sdpayload import ImageToImage, Payload, TextToImage
from modules.httpapi.sdpictures import decoded
from modules.httpapi.sdrequest import Translation, translate
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json, Raw, client_of
from modules.jobs.job import Job
from modules.library.pictures import Picture

CLIENT = "sdapi"
LOOK_AGAIN_S = 5.0


class Dialect:
    """What the routes share: the studio and the options that live as long as the program runs."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.calls: dict[str, tuple[str, ...]] = {}  # a running call's jobs, by the id of each of them
        self.present: dict[str, Any] = {}  # options that clients changed, in A1111's words

    def options(self) -> dict[str, Any]:
        """The options that mean something here, under A1111's names."""
        settings = self.studio.settings
        shown, short = self.checkpoint(settings.checkpoint)
        return {
            FORMAT: "jpg" if settings.image_format == "jpeg" else settings.image_format,
            "jpeg_quality": settings.image_quality, "webp_lossless": False, "enable_pnginfo": True,
            "samples_save": True, "return_grid": False, "grid_save": False, CHECKPOINT: shown,
            "sd_checkpoint_hash": short, "live_previews_enable": settings.previews,
            **{name: option.default for name, option in sdoptions.OPTIONS.items()}, **self.present,
        }  # fmt: skip

    def checkpoint(self, name: str) -> tuple[str, str]:
        """(title, short hash) of a checkpoint; two empty texts where there is none."""
        with contextlib.suppress(WorkbenchError):
            found = self.studio.checkpoints.find(name)
            return title(found), found.short_hash
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
        kept = {name: value for name, value in given.items() if name in sdoptions.OPTIONS and value is not None}
        sdoptions.check(kept)
        if changes:
            self.studio.change_settings(changes)
        self.present |= kept


@dataclass(frozen=True)
class Asked:
    """One call: what was sent, what it means, and the jobs that make it."""

    payload: Payload
    translation: Translation
    jobs: tuple[Job, ...]


def router(studio: Studio) -> APIRouter:
    """The routes of the dialect."""
    made = APIRouter(prefix="/sdapi/v1", tags=["sdapi"])
    dialect = Dialect(studio)
    _add_making(made, dialect)
    _add_options(made, dialect)
    _add_reading(made)
    made.include_router(sdlists.router(studio))
    made.include_router(sdextras.router())
    return made


def _add_making(made: APIRouter, dialect: Dialect) -> None:
    studio = dialect.studio

    async def make(kind: type[Payload], request: Request, raw: bytes) -> Json:
        subscription = studio.bus.subscribe(None)
        with subscription:
            asked = await run_in_threadpool(_submit, dialect, kind, raw, client_of(request, ""))
            jobs = [job.id for job in asked.jobs]
            try:
                await _until_ended(studio, subscription, jobs, request)
            finally:
                for job in jobs:
                    dialect.calls.pop(job, None)
        return Json(await run_in_threadpool(_answer, dialect, asked))

    @made.post("/txt2img")
    async def txt2img(request: Request, raw: Raw) -> Json:
        """Make pictures and wait for them. A client that leaves takes its job along."""
        return await make(TextToImage, request, raw)

    @made.post("/img2img")
    async def img2img(request: Request, raw: Raw) -> Json:
        """Make pictures from pictures (whole, or only what a mask covers) and wait for them."""
        return await make(ImageToImage, request, raw)

    @made.post("/interrupt")
    def interrupt() -> Json:
        """Stop the running call, if it came through this dialect; its finished pictures are answered."""
        for job in _running(studio):
            for one in dialect.calls.get(job.id, (job.id,)):
                studio.queue.cancel(one)
        return Json({})

    @made.post("/skip")
    def skip() -> Json:
        """Leave out the picture that is being made, if its job came through this dialect."""
        for job in _running(studio):
            studio.queue.skip(job.id)
        return Json(None)

    @made.post("/unload-checkpoint")
    def unload() -> Json:
        """Let every loaded model go once no job runs."""
        studio.engine.free()
        return Json({})

    @made.post("/reload-checkpoint")
    def reload() -> Json:
        """Nothing to do: the next job loads what it needs."""
        return Json({})

    @made.get("/progress")
    def progress(skip_current_image: Annotated[bool, Query()] = False) -> Json:
        """How far the running job is, with the newest preview as a base64 JPEG."""
        snapshot = studio.bus.snapshot()
        count, kind = 0, "txt2img"
        if snapshot["running"]:
            with contextlib.suppress(NotFound):
                job = studio.queue.job(snapshot["running"]["job"])
                count, kind = len(job.pictures), "img2img" if getattr(job.request, "start", None) else "txt2img"
        return Json(sdresult.progress(snapshot, count, kind, not skip_current_image))


def _add_reading(made: APIRouter) -> None:
    @made.post("/png-info")
    def png_info(raw: Raw) -> Json:
        """Read the generation data inside a picture (base64, or a data: URI)."""
        given = _object(raw)
        text, items = sdresult.text_of(decoded(_text(given, "image") if "image" in given else "", "image"))
        return Json({"info": text, "items": items, "parameters": sdresult.parsed(text) if text else {}})

    @made.post("/interrogate")
    def interrogate() -> Json:
        """Nothing here describes pictures: always 501."""
        raise WorkbenchError(
            "No model is here that describes pictures.", "Describe it yourself, or read what it says with png-info.",
            code="no_interrogation", field="model", status=501,
        )  # fmt: skip


def _submit(dialect: Dialect, kind: type[Payload], raw: bytes, client: str) -> Asked:
    studio = dialect.studio
    payload = kind.from_json(raw)
    present = {**dialect.present, CHECKPOINT: studio.settings.checkpoint}
    translation = translate(payload, present, studio)
    if payload.override_settings and payload.override_settings_restore_afterwards is False:
        dialect.change(payload.override_settings)
    owner = f"{CLIENT}:{client}" if client else CLIENT
    jobs = tuple(
        studio.queue.submit(request, client=owner, workspace=CLIENT) for request in translation.requests
    )  # fmt: skip
    dialect.calls |= {job.id: tuple(one.id for one in jobs) for job in jobs if len(jobs) > 1}
    return Asked(payload, translation, jobs)


async def _until_ended(studio: Studio, subscription: Any, jobs: list[str], request: Request) -> None:
    """Wait for the jobs' end; when the client leaves, they are cancelled and nobody is answered."""
    open_jobs = set(jobs)
    left = asyncio.ensure_future(_disconnected(request.receive))
    closing: asyncio.Event | None = getattr(request.state, "closing", None)
    over = [left, *([asyncio.ensure_future(closing.wait())] if closing else [])]
    heard: asyncio.Future[Any] = asyncio.ensure_future(subscription.next())
    try:
        while True:
            await asyncio.wait([heard, *over], timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                for job in jobs:
                    await run_in_threadpool(studio.queue.cancel, job)
                raise WorkbenchError("The client left.", "", code="client_left", status=499)
            if any(task.done() for task in over):
                raise WorkbenchError(
                    "The program is stopping; the job is kept and goes on at the next start.", "Ask again later.",
                    code="stopping", status=503,
                )  # fmt: skip
            events, missed = heard.result() if heard.done() else ([], True)
            open_jobs -= {event.job for event in events if event.type in ENDINGS}
            if missed:
                found = [await run_in_threadpool(studio.queue.job, job) for job in open_jobs]
                open_jobs -= {job.id for job in found if job.has_ended}
            if not open_jobs:
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
    """The pictures that were made; raises a job's error where it failed."""
    studio, payload, translation = dialect.studio, asked.payload, asked.translation
    jobs = [studio.queue.job(job.id) for job in asked.jobs]
    failed = next((job for job in jobs if job.state == "failed"), None)
    if failed is not None:
        error = failed.error or {}
        raise WorkbenchError(
            error.get("message", "The job failed."), error.get("hint", ""), code=error.get("code", "failed"), status=500
        )
    cells = [studio.gallery.get(image) for job in jobs for _, image in job.images]
    sheets = [one for job in jobs if job.pictured.sheet for one in studio.gallery.of_job(job.id)
              if one.picture == len(job.pictured.sheet.cells)]  # fmt: skip
    pictures = [*sheets, *(cells if sdselectable.wants_cells(payload) or not sheets else ())]
    format = str(translation.overrides.get(FORMAT) or dialect.options()[FORMAT])
    quality = studio.settings.image_quality
    images = [
        sdresult.encoded(studio.gallery.path(picture.id), format, quality, picture.infotext)
        for picture in pictures
        if payload.send_images
    ]
    facts = [str(picture.facts.get("sha256") or "") for picture in pictures]
    model = translation.request.model.checkpoint
    info = sdresult.info(translation, pictures, payload.batch_size or 1, (model, (facts or [""])[0][:10]),
                         first=min(len(sheets), len(pictures) - 1) if pictures else 0)  # fmt: skip
    if not payload.save_images:
        _put_aside(studio, [*sheets, *cells])
    return {"images": images, "parameters": payload.echo(), "info": info}


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
        """Change the options that mean something here; others are ignored."""
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
