"""Merging checkpoints over HTTP: ask what a merge would be, queue it, look at it."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import Field, JsonValue

from modules.core.errors import NotFound
from modules.core.merging import MergeRequest
from modules.core.part import Part
from modules.httpapi import jobs
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, checked_id, client_of, read, takes
from modules.planning.merging import plan


class MergeSubmission(Part):
    """What POST /api/v1/merges takes: the merge, the form it comes from, and how soon it is wanted."""

    request: dict[str, JsonValue]  # checked as a MergeRequest by itself, so that fields are named without prefix
    workspace: Annotated[str, Field(max_length=64)] = ""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


def router(studio: Studio) -> APIRouter:
    """The routes of merges; a merge is cancelled, moved and waited for as every job."""
    made = APIRouter(prefix="/api/v1", tags=["merges"])
    discretion = Discretion(studio.settings)

    @made.post("/merges", status_code=201, openapi_extra=takes(MergeSubmission))
    def submit(
        request: Request, raw: Raw, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> Json:
        """Queue a merge. Answered after it is stored; the same Idempotency-Key gives the same job."""
        submission = read(MergeSubmission, raw)
        wanted = MergeRequest.from_data(submission.request)
        plan(wanted, studio.checkpoints)
        job = studio.queue.submit(
            wanted, client=client_of(request), workspace=submission.workspace, priority=submission.priority,
            key=idempotency_key,
        )  # fmt: skip
        return Json(jobs.shown(job, discretion), 201, {"location": f"/api/v1/merges/{job.id}"})

    @made.post("/merges/plan", openapi_extra=takes(MergeRequest))
    def outlook(raw: Raw) -> Json:
        """What a merge would be, without making it: size, time, the family's blocks; or what stands in its way."""
        found = plan(read(MergeRequest, raw), studio.checkpoints)
        return Json(
            {
                "family": found.family, "blocks": found.blocks, "size_bytes": found.size_bytes,
                "tensors": len(found.tensors), "estimate_s": studio.estimate_merge(found.size_bytes),
                "remarks": [remark.model_dump(mode="json") for remark in found.remarks],
            }
        )  # fmt: skip

    @made.get("/merges/{id}")
    def one(id: str) -> Json:
        """One merge: a job, whose ``request`` is the merge's."""
        job = studio.queue.job(checked_id(id))
        if not isinstance(job.request, MergeRequest):
            raise NotFound("This job is no merge.", "Look at /api/v1/jobs.")
        return Json(jobs.shown(job, discretion))

    return made
