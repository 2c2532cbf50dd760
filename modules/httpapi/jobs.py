"""The queue over HTTP: submit, look, cancel, skip, reorder, pause; and the program's present state."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field, JsonValue

from modules.core import limits
from modules.core.errors import BadValue
from modules.core.part import Part
from modules.core.request import GenerationRequest
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, checked_id, client_of, read, takes
from modules.jobs import notes
from modules.jobs.job import Job, State
from modules.planning.check import check
from modules.planning.sheets import choices_of, word

JOBS_MOST = 500
VERBS = {
    "cancel": "Stop a job at whatever stage it is; finished pictures are kept.",
    "skip": "Leave out the picture that is being made.",
    "front": "Put a waiting job first.",
    "again": "Make the pictures that an ended job left unmade: answers a new job.",
}
AnyRequest = dict[str, JsonValue]  # checked as a GenerationRequest by itself, so that fields are named without prefix


class Submission(Part):
    """What POST /api/v1/jobs takes: the request, the form it comes from, and how soon it is wanted."""

    request: AnyRequest
    workspace: Annotated[str, Field(max_length=64)] = ""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class Place(Part):
    """Where a waiting job goes: before another one, or (null) behind all."""

    before: str | None = None


class Pause(Part):
    """Why the queue pauses: a word for programs."""

    reason: Annotated[str, Field(max_length=200)] = ""


def concrete(data: dict[str, Any]) -> GenerationRequest:
    """A request from parsed JSON; a seed that is missing or -1 is drawn now, so that what is stored decides all."""
    given = dict(data)
    seed = given.get("seed", -1)
    if seed == -1 and not isinstance(seed, bool | float):
        given["seed"] = secrets.randbelow(limits.SEED[1] + 1)
    return GenerationRequest.from_data(given)


def compiled_dry(studio: Studio, request: GenerationRequest) -> None:
    """Raise the first thing that stands in the way of a request."""
    for problem in check(request, studio.checkpoints, studio.blobs):
        raise problem.as_error()
    studio.extensions.make(request.extensions)


def shown(job: Job, discretion: Discretion) -> dict[str, Any]:
    """A job as plain data."""
    return {
        "id": job.id, "state": job.state, "client": job.client, "workspace": job.workspace,
        "priority": job.priority, "attempt": job.attempt, "request": job.request.model_dump(mode="json"),
        "pictures": list(job.pictures), "skipped": list(job.skipped),
        "images": [{"picture": picture, "image": image} for picture, image in job.images],
        "error": discretion.data(job.error),
        "created_at": job.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
        "estimate_s": job.estimate_s,
    }  # fmt: skip


def router(studio: Studio) -> APIRouter:
    """The routes of the queue."""
    made = APIRouter(prefix="/api/v1", tags=["queue"])
    _add_jobs(made, studio)
    _add_queue(made, studio)
    return made


def _add_jobs(made: APIRouter, studio: Studio) -> None:
    discretion = Discretion(studio.settings)

    def one(job: Job) -> dict[str, Any]:
        return shown(job, discretion)

    @made.post("/jobs", status_code=201, openapi_extra=takes(Submission))
    def submit(
        request: Request, raw: Raw, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> Json:
        """Queue a request. Answered after it is stored; the same Idempotency-Key gives the same job."""
        submission = read(Submission, raw)
        worded = word(concrete(submission.request), studio.phrases, choices_of(studio.checkpoints, studio.phrases))
        compiled_dry(studio, worded.request)
        job = studio.queue.submit(
            worded.request, client=client_of(request), workspace=submission.workspace, priority=submission.priority,
            key=idempotency_key,
        )  # fmt: skip
        notes.tell(studio.bus, job, worded.notes)
        return Json(one(job), 201, {"location": f"/api/v1/jobs/{job.id}"})

    @made.get("/jobs")
    def jobs(
        state: Annotated[str, Query(max_length=100)] = "",
        workspace: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=JOBS_MOST)] = 100,
    ) -> Json:
        """Jobs, the newest first; ``state`` names one or several, separated by commas."""
        states: list[State] = [_state(word.strip()) for word in state.split(",") if word.strip()]
        found = studio.queue.jobs(states=states, workspace=workspace, limit=limit)
        return Json({"jobs": [one(job) for job in found], "counts": studio.queue.counts()})

    @made.get("/jobs/{id}")
    def job(id: str) -> Json:
        """One job."""
        return Json(one(studio.queue.job(checked_id(id))))

    @made.post("/jobs/{id}/move", openapi_extra=takes(Place))
    def move(id: str, raw: Raw) -> Json:
        """Put a waiting job before another one."""
        before = read(Place, raw).before
        return Json(one(studio.queue.move(checked_id(id), checked_id(before) if before is not None else None)))

    for verb, about in VERBS.items():
        made.add_api_route(f"/jobs/{{id}}/{verb}", _act(studio, verb, one), methods=["POST"], description=about)


def _state(word: str) -> State:
    known: dict[str, State] = {state: state for state in get_args(State)}
    if word not in known:
        raise BadValue(f"There is no state {word!r}.", f"There are {', '.join(known)}.", field="state")
    return known[word]


def _act(studio: Studio, verb: str, one: Callable[[Job], dict[str, Any]]) -> Callable[[str], Json]:
    def act(id: str) -> Json:
        return Json(one(getattr(studio.queue, verb)(checked_id(id))))

    act.__name__ = verb
    return act


def _add_queue(made: APIRouter, studio: Studio) -> None:
    @made.post("/queue/pause", openapi_extra=takes(Pause))
    def pause(raw: Raw) -> Json:
        """Start no further job; the running one goes on. The body may be empty."""
        studio.queue.pause(read(Pause, raw).reason if raw else "")
        return Json({"paused": True})

    @made.post("/queue/resume")
    def resume() -> Json:
        """Go on."""
        studio.queue.resume()
        return Json({"paused": False})

    @made.get("/state")
    def state() -> Json:
        """The present: the running job with its latest step and preview, the waiting ones, the engine, and ``seq``.

        Read the events after ``seq`` and nothing is missed.
        """
        return Json(studio.bus.snapshot())
