"""What the program and the engine say to each other: msgpack of plain dicts; nothing that could run code."""

from dataclasses import asdict
from typing import Any, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from modules.core import limits
from modules.core.events import from_data
from modules.jobs.engine import Ended, Said, Skipped, Task

FRAME_BYTES = 3 * limits.IMAGE_PIXELS + limits.MIB


def run(task: Task) -> bytes:
    """Tell the engine to make a job."""
    return pack({"do": "run", **asdict(task)})


def order(verb: str, job: str = "") -> bytes:
    """Tell the engine to "cancel" or "skip" a job, to "free" its memory, or to "close"."""
    return pack({"do": verb, "job": job})


def pack(message: dict[str, Any]) -> bytes:
    """One frame."""
    return cast(bytes, msgpack.packb(message))  # pyright: ignore[reportUnknownMemberType]


def unpack(frame: bytes) -> dict[str, Any]:
    """The dict of one frame; raises ValueError for anything else."""
    try:
        message = cast(object, msgpack.unpackb(frame, max_bin_len=FRAME_BYTES))  # pyright: ignore[reportUnknownMemberType]
    except Exception as problem:  # msgpack has a dozen kinds of it
        raise ValueError(f"a frame that is no message: {problem}") from None
    if not isinstance(message, dict):
        raise ValueError("a frame that is no dict")
    return cast(dict[str, Any], message)


def task(message: dict[str, Any]) -> Task:
    """The job of a "run" message."""
    return Task(
        message["job"], message["request"], tuple(message["pictures"]), tuple(message["made"]), message["settings"]
    )


def said(message: dict[str, Any]) -> Said | None:
    """What the engine said, None for its pulse; raises ValueError for what no engine of ours says."""
    kind = message.pop("is", None)
    if kind == "event":
        return from_data(message)
    if kind == "ended" and message.get("outcome") in ("finished", "cancelled", "failed"):
        return Ended(str(message["job"]), message["outcome"], message.get("error"))
    if kind == "skipped":
        return Skipped(str(message["job"]), int(message["picture"]))
    if kind == "pulse":
        return None
    raise ValueError(f"a message of unknown kind {kind!r}")
