"""Everything said while running: one frozen class an event, the same in the worker, the queue, the API and the page."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from modules.core.part import Part

Phase = Literal["loading", "reading", "steps", "decoding", "saving", "merging"]


class Event(Part):
    """Something that happened, to a job or (``job`` None) to the whole program.

    ``seq`` numbers all events of one data folder and never falls, also across restarts; 0 until the queue gave it.
    ``durable`` events are rows of the queue's database, committed before anybody hears of them; the others (steps,
    previews) live in a ring in memory.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    durable: ClassVar[bool] = True

    seq: int = 0
    job: str | None = None
    at: float = 0.0  # seconds since 1970, for display only: order is seq's


class Queued(Event):
    """The job is committed; nothing that was acknowledged is lost after this."""

    type: Literal["queued"] = "queued"
    workspace: str = ""
    client: str = ""
    position: float = 0.0
    summary: dict[str, JsonValue] = Field(default_factory=dict)  # what a card shows: prompt, count, size


class Started(Event):
    """A worker took the job; ``attempt`` 2 means that the engine stopped once and the job is made again."""

    type: Literal["started"] = "started"
    attempt: int = 1
    done: int = 0  # pictures finished before this attempt


class PhaseChanged(Event):
    """The job entered a phase of one picture; ``estimate_s`` is learnt from earlier jobs, None when unknown."""

    type: Literal["phase"] = "phase"
    durable: ClassVar[bool] = False
    phase: Phase
    picture: int = 0
    estimate_s: float | None = None
    detail: str = ""  # the model's name while loading


class StepFinished(Event):
    """One denoiser call is done: the unit of progress. Of a merge, so many MiB of the result are written."""

    type: Literal["step"] = "step"
    durable: ClassVar[bool] = False
    picture: int
    call: int
    calls: int | None = None  # None: an adaptive sampler does not know
    progress: float = 0.0  # of this job, 0-1
    eta_s: float | None = None


class Preview(Event):
    """A small JPEG of the picture as it stands; only the newest of a job is kept."""

    type: Literal["preview"] = "preview"
    durable: ClassVar[bool] = False
    picture: int
    width: int
    height: int
    jpeg: bytes


class ImageMade(Event):
    """From the worker to the collector only: finished pixels, 8-bit RGB, row by row."""

    type: Literal["image_made"] = "image_made"
    durable: ClassVar[bool] = False
    picture: int
    seed: int
    width: int
    height: int
    pixels: bytes = Field(repr=False)
    facts: dict[str, JsonValue] = Field(default_factory=dict)  # what infotext needs beyond the request: model, hash


class ImageFinished(Event):
    """A picture is a file, whole and synced; ``image`` is its id in the gallery."""

    type: Literal["image"] = "image"
    picture: int
    seed: int
    image: str
    width: int
    height: int
    elapsed_s: float = 0.0


class Warned(Event):
    """Something went otherwise than asked, and the job goes on."""

    type: Literal["warned"] = "warned"
    code: str
    message: str
    hint: str = ""
    picture: int | None = None
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class Retried(Event):
    """The engine stopped; ``done`` of ``count`` pictures are kept and the rest are made again with the same seeds."""

    type: Literal["retried"] = "retried"
    done: int
    count: int
    reason: str = ""


class Finished(Event):
    """All pictures of the job are files."""

    type: Literal["finished"] = "finished"
    done: int
    elapsed_s: float = 0.0


class Failed(Event):
    """The job ended without all its pictures; ``code`` "set_aside" after it stopped the engine twice."""

    type: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str = ""
    done: int = 0
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class CancelledEvent(Event):
    """The job was stopped by its owner; finished pictures are kept."""

    type: Literal["cancelled"] = "cancelled"
    done: int = 0
    count: int = 0


class QueueChanged(Event):
    """Order, priority or pause changed."""

    type: Literal["queue"] = "queue"
    paused: bool
    reason: str = ""
    order: tuple[str, ...] = ()


class HeldPart(Part):
    """One part of a loaded model: its bytes, and whether they lie on the device, wait in memory, or pass through it."""

    part: str
    bytes: int
    place: Literal["device", "memory", "passing"]


class HeldModel(Part):
    """One loaded model: its checkpoint's name, the profile of its numbers, its bytes and its parts."""

    name: str
    numerics: str
    bytes: int
    parts: tuple[HeldPart, ...]


class EngineChanged(Event):
    """What the engine is doing.

    ``model`` names the checkpoint that was used last, ``held`` all that are loaded (the last one used is last);
    ``free_bytes`` of ``total_bytes`` are left on the device, 0 of 0 where it is the computer's own memory.
    """

    type: Literal["engine"] = "engine"
    durable: ClassVar[bool] = False
    state: Literal["starting", "ready", "loading", "working", "stopped"]
    model: str = ""
    device: str = ""
    estimate_s: float | None = None
    held: tuple[HeldModel, ...] = ()
    free_bytes: int = 0
    total_bytes: int = 0


class GalleryChanged(Event):
    """Pictures were moved to the trash, restored, or found on disk."""

    type: Literal["gallery"] = "gallery"
    images: tuple[str, ...] = ()
    change: Literal["trashed", "restored", "found", "rebuilt"]


class FormAnswered(Event):
    """A form's answer for one workspace: rejected with a field's error, or filled with values to show."""

    type: Literal["form"] = "form"
    durable: ClassVar[bool] = False
    workspace: str
    error: dict[str, JsonValue] | None = None
    values: dict[str, JsonValue] | None = None
    accepted: str | None = None  # the job's id


class PageChanged(Event):
    """The page was rebuilt (an extension was switched): older pages ask for a reload."""

    type: Literal["page"] = "page"
    build: int
    durable: ClassVar[bool] = False


ENDINGS = ("finished", "failed", "cancelled")

AnyEvent = Annotated[
    Queued | Started | PhaseChanged | StepFinished | Preview | ImageMade | ImageFinished | Warned | Retried
    | Finished | Failed | CancelledEvent | QueueChanged | EngineChanged | GalleryChanged | FormAnswered | PageChanged,
    Field(discriminator="type"),
]  # fmt: skip

_any: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def from_data(data: dict[str, Any]) -> AnyEvent:
    """Rebuild an event from ``model_dump()`` (bytes stay bytes: the wire between processes is msgpack)."""
    return _any.validate_python(data, strict=False)


def from_json(text: str | bytes) -> AnyEvent:
    """Rebuild an event from its JSON row."""
    return _any.validate_json(text, strict=False)
