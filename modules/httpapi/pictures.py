"""The gallery over HTTP: pages of pictures, one picture with its whole recipe, trash and back."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from modules.core.part import Part
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, checked_id, read, takes
from modules.library.index import PAGE_MOST
from modules.library.pictures import Picture

IDS_MOST = 1_000
QUERY_CHARACTERS = 1_000


class Ids(Part):
    """Pictures by id."""

    ids: Annotated[tuple[str, ...], Field(max_length=IDS_MOST)]


def row(picture: Picture) -> dict[str, Any]:
    """What a tile of the gallery shows."""
    return {
        "id": picture.id, "width": picture.width, "height": picture.height, "seed": picture.seed,
        "created_at": picture.created_at, "prompt": picture.prompt, "job": picture.job, "picture": picture.picture,
        "state": picture.state, "new": picture.new, "trashed": picture.trashed,
    }  # fmt: skip


def whole(picture: Picture, discretion: Discretion) -> dict[str, Any]:
    """The row, the recipe, the infotext and what happened while it was made."""
    request = picture.request
    return {
        **row(picture),
        "size_bytes": picture.size_bytes,
        "request": request.model_dump(mode="json") if request else None,
        "infotext": picture.infotext,
        "facts": discretion.data(picture.facts),
    }


def router(studio: Studio) -> APIRouter:
    """The routes of the gallery."""
    made = APIRouter(prefix="/api/v1/images", tags=["pictures"])
    discretion = Discretion(studio.settings)
    gallery = studio.gallery

    @made.get("")
    def images(
        before: Annotated[str | None, Query(max_length=32)] = None,
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS)] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_MOST)] = 60,
        trashed: bool = False,
    ) -> Json:
        """Pictures, the newest first; ``next`` is the ``before`` of the following page, null at the end."""
        page = gallery.page(limit, before, q, trashed=trashed)
        return Json({"items": [row(picture) for picture in page.items], "next": page.next})

    @made.get("/count")
    def count(q: Annotated[str, Query(max_length=QUERY_CHARACTERS)] = "", trashed: bool = False) -> Json:
        """How many pictures match."""
        return Json({"count": gallery.count(q, trashed=trashed)})

    @made.get("/{id}")
    def image(id: str) -> Json:
        """One picture with its recipe, infotext, and what it was made from."""
        found = gallery.get(checked_id(id))
        edges = [{"parent": edge.parent, "child": edge.child, "role": edge.role} for edge in gallery.edges(id)]
        return Json({**whole(found, discretion), "edges": edges})

    @made.post("/trash", openapi_extra=takes(Ids))
    def trash(raw: Raw) -> Json:
        """Move pictures to the trash; answers those that are there now."""
        return Json({"ids": gallery.trash(_ids(raw))})

    @made.post("/restore", openapi_extra=takes(Ids))
    def restore(raw: Raw) -> Json:
        """Bring pictures back from the trash; answers those that are back."""
        return Json({"ids": gallery.restore(_ids(raw))})

    @made.post("/seen", openapi_extra=takes(Ids))
    def seen(raw: Raw) -> Json:
        """Somebody looked at these: they are no longer new."""
        ids = _ids(raw)
        gallery.seen(ids)
        return Json({"ids": ids})

    @made.post("/purge", openapi_extra=takes(Ids))
    def purge(raw: Raw) -> Json:
        """Delete pictures of the trash for good; an empty list deletes none."""
        return Json({"purged": gallery.purge(_ids(raw))})

    return made


def _ids(raw: bytes) -> Sequence[str]:
    return [checked_id(id) for id in read(Ids, raw).ids]
