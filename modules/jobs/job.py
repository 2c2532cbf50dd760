"""Job: one request in the queue, as everybody outside the queue sees it."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal, cast

from modules.core.errors import BadValue
from modules.core.merging import MergeRequest
from modules.core.request import GenerationRequest

Wanted = GenerationRequest | MergeRequest
"""What a job can be asked for: pictures, or a merge, which counts as one picture that is never made."""
State = Literal["queued", "running", "finished", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("finished", "failed", "cancelled")
SUMMARY_CHARACTERS = 200


@dataclass(frozen=True)
class Job:
    """One request, whose it is, and how far it came.

    ``pictures`` are the indexes that this job makes (all of the request's, or what an earlier job left unmade),
    ``images`` pairs of (picture, image id in the gallery); times are seconds since 1970, for display only.
    """

    id: str
    request: Wanted
    client: str
    workspace: str
    state: State
    attempt: int
    priority: int
    position: float
    pictures: tuple[int, ...]
    images: tuple[tuple[int, str], ...]
    skipped: tuple[int, ...]
    error: dict[str, Any] | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    estimate_s: float | None = None

    @property
    def unmade(self) -> tuple[int, ...]:
        """The pictures that are still to be made."""
        gone = {picture for picture, _ in self.images} | set(self.skipped)
        return tuple(picture for picture in self.pictures if picture not in gone)

    @property
    def pictured(self) -> GenerationRequest:
        """The request of a job that makes pictures; raises BadValue for a merge."""
        if isinstance(self.request, MergeRequest):
            raise BadValue("This job is a merge: it makes no pictures.", "Choose a job that does.")
        return self.request

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def summary(self) -> dict[str, Any]:
        """What a card shows, as plain JSON data."""
        return {**summary(self.request, len(self.pictures)), "id": self.id, "state": self.state, "client": self.client,
                "workspace": self.workspace, "done": len(self.images), "priority": self.priority,
                "estimate_s": self.estimate_s}  # fmt: skip


def summary(request: Wanted, count: int) -> dict[str, Any]:
    """The request in a card's words; a merge is told by the name of its result."""
    if isinstance(request, MergeRequest):
        return {
            "prompt": request.name,
            "kind": "merge",
            "count": count,
            "width": 0,
            "height": 0,
            "seed": 0,
            "model": "",
        }
    size = request.final_size()
    return {"prompt": request.prompt[:SUMMARY_CHARACTERS], "count": count, "width": size.width, "height": size.height,
            "seed": request.seed, "model": request.model.checkpoint}  # fmt: skip


def wanted_from(data: Any) -> Wanted:
    """A stored request; raises BadValue for one that a newer version stored."""
    is_merge = isinstance(data, dict) and cast(dict[str, Any], data).get("kind") == "merge"
    return MergeRequest.from_data(data) if is_merge else GenerationRequest.from_data(data)


def from_row(
    row: sqlite3.Row, images: list[tuple[int, str]], skipped: list[int], estimate_s: float | None = None
) -> Job:
    """A Job from its row; raises BadValue for a request that a newer version stored."""
    return Job(
        id=row["id"],
        request=wanted_from(json.loads(row["request"])),
        client=row["client"],
        workspace=row["workspace"],
        state=row["state"],
        attempt=row["attempt"],
        priority=row["priority"],
        position=row["position"],
        pictures=tuple(json.loads(row["pictures"])),
        images=tuple(images),
        skipped=tuple(skipped),
        error=json.loads(row["error"]) if row["error"] else None,
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        estimate_s=estimate_s,
    )
