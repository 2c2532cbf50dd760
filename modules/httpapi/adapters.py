"""LoRAs and embeddings over HTTP: searched a window at a time, their pictures, and what a person says about them."""

import contextlib
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from modules.core import limits
from modules.core.errors import ModelError, NotFound, WorkbenchError
from modules.core.part import Part
from modules.httpapi import media
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, read, takes
from modules.library import thumbnails
from modules.library.adapter import Adapter, Kind
from modules.library.adaptercards import Card
from modules.library.adapternotes import Note, Notes
from modules.library.adaptersearch import search
from modules.library.checkpoints import Checkpoint
from modules.planning.adapters import refuse_other_family

Text = Annotated[str, Field(max_length=limits.NOTE_CHARACTERS)]
Short = Annotated[str, Query(max_length=200)]


class Said(Part):
    """What a person says about an adapter: only what is named changes, null leaves it to the file's cards again."""

    weight: Annotated[float, Field(ge=-limits.PROMPT_WEIGHT, le=limits.PROMPT_WEIGHT)] | None = None
    words: Text | None = None
    notes: Text | None = None
    favourite: bool = False


def router(studio: Studio) -> APIRouter:
    """The routes of LoRAs and embeddings."""
    made = APIRouter(prefix="/api/v1", tags=["adapters"])
    discretion = Discretion(studio.settings)
    notes = Notes(studio.settings.data)
    small = studio.settings.data / ".cache" / "previews"

    def row(one: Adapter, note: Note, checkpoint: Checkpoint | None) -> dict[str, Any]:
        shown = shown_row(one, note, checkpoint)
        return shown | {key: discretion.data(shown[key]) for key in ("problem", "incompatible") if shown[key]}

    @made.get("/adapters")
    def adapters(
        q: Short = "", kind: Kind | None = None, family: Short | None = None, checkpoint: Short | None = None,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=limits.ADAPTERS_LISTED)] = 60,
    ) -> Json:  # fmt: skip
        """LoRAs and embeddings that hold every word of ``q``, favourites first, and how many there are in all."""
        told = notes.all()
        found = search(studio.checkpoints.adapters, q, kind, family, told, offset, limit)
        chosen = None
        if checkpoint is not None:
            with contextlib.suppress(ModelError):
                chosen = studio.checkpoints.find(checkpoint)
        rows = [row(one, told.get((one.kind, one.name), Note()), chosen) for one in found.adapters]
        return Json({"adapters": rows, "total": found.total, "offset": offset})

    @made.get("/adapters/{kind}/{name:path}/preview")
    def preview(request: Request, kind: Kind, name: str) -> Response:
        """The picture beside an adapter, at most 448 pixels a side."""
        picture = named(studio, kind, name).preview
        if picture is None:
            raise NotFound(f"There is no picture of {name[:100]!r}.", "Put name.preview.png beside the file.")
        try:
            at = picture.stat()
            mark = hashlib.sha256(f"{picture}\n{at.st_size}\n{at.st_mtime_ns}".encode("utf-8", "replace")).hexdigest()
            drawn = thumbnails.place(small, mark[:32])
            return media.file_answer(request, drawn if drawn.is_file() else thumbnails.make(picture, drawn), None)
        except OSError as gone:
            raise NotFound(f"The picture of {name[:100]!r} is gone.", "Look again.") from gone

    @made.patch("/adapters/{kind}/{name:path}", openapi_extra=takes(Said))
    def say(kind: Kind, name: str, raw: Raw) -> Json:
        """Keep what a person says about an adapter in the data folder; answers it as it is listed."""
        given = read(Said, raw)
        one = named(studio, kind, name)
        note = notes.keep(one, {field: getattr(given, field) for field in given.model_fields_set})
        return Json(row(one, note, None))

    return made


def named(studio: Studio, kind: Kind, name: str) -> Adapter:
    """The listed adapter of exactly this name, usable or not; raises NotFound."""
    found = next((one for one in studio.checkpoints.adapters.list(kind) if one.name == name), None)
    if found is None:
        raise NotFound(f"There is nothing named {name[:100]!r} here.", "Search for it: it may be gone.")
    return found


def shown_row(one: Adapter, note: Note, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """An adapter as plain data, what a person said counted before what lies beside the file."""
    card = one.card or Card()
    picture = one.preview
    version = int(picture.stat().st_mtime) if picture and picture.is_file() else None
    return {
        "kind": one.kind, "name": one.name, "alias": one.alias, "title": card.title, "family": one.family,
        "size_bytes": one.size_bytes, "kinds": one.facts.kinds if one.facts else (),
        "words": card.activation if note.words is None else note.words,
        "weight": (card.weight or 1.0) if note.weight is None else note.weight,
        "notes": card.notes if note.notes is None else note.notes,
        "own": [name for name in ("weight", "words", "notes") if getattr(note, name) is not None],
        "favourite": note.favourite, "trained_words": card.words, "tags": one.facts.tags if one.facts else (),
        "preview": version, "sha256": one.sha256,
        "incompatible": _incompatible(one, checkpoint),
        "problem": one.problem.as_dict() if one.problem else None,
    }  # fmt: skip


def _incompatible(one: Adapter, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Why it cannot be used with the checkpoint, as far as the two families tell."""
    if checkpoint is not None:
        try:
            refuse_other_family(one, checkpoint)
        except WorkbenchError as reason:
            return reason.as_dict()
    return None
