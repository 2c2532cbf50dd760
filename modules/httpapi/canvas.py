"""What lies on a workspace's canvas, over HTTP: read it, and save it as what came of the revision that was read."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from modules.core.canvas import Document
from modules.core.part import Part
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json, Raw, read, takes

Workspace = Annotated[str, Query(max_length=64)]


class Drawn(Part):
    """A canvas, and the ``revision`` that it was made from."""

    revision: Annotated[int, Field(ge=0)]
    document: Document


def router(studio: Studio) -> APIRouter:
    """The routes of canvases."""
    made = APIRouter(prefix="/api/v1", tags=["canvas"])

    @made.get("/canvas")
    def canvas(workspace: Workspace = "") -> Json:
        """The workspace's canvas and its revision; an empty one of revision 0 where there is none yet."""
        kept = studio.canvases.load(workspace)
        return Json({"revision": kept.revision, "document": kept.document.model_dump(mode="json")})

    @made.put("/canvas", openapi_extra=takes(Drawn))
    def keep(raw: Raw, workspace: Workspace = "") -> Json:
        """Save the canvas; 409 where another tab saved it since that revision."""
        given = read(Drawn, raw)
        return Json({"revision": studio.canvases.save(workspace, given.revision, given.document)})

    return made
