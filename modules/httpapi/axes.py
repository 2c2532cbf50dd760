"""What an X/Y/Z plot can go along, over HTTP: every axis with the values that are known beforehand."""

from fastapi import APIRouter

from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json
from modules.planning.axes import AXES
from modules.planning.sheets import choices_of


def router(studio: Studio) -> APIRouter:
    """The one route."""
    made = APIRouter(prefix="/api/v1", tags=["scripts"])

    @made.get("/axes")
    def axes() -> Json:
        """Every axis: its ``kind`` of values, the part that it ``needs``, and its ``choices`` where it has some."""
        known = choices_of(studio.checkpoints, studio.phrases)
        rows = [
            {"name": row.name, "kind": row.kind, "needs": row.needs,
             "choices": known[row.library]() if row.library in known else list(row.choices)}
            for row in AXES
        ]  # fmt: skip
        return Json({"axes": rows})

    return made
