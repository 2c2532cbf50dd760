"""What people keep to write with, over HTTP: styles to list, keep and remove, and the names of wildcard lists."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from modules.core import limits
from modules.core.part import Part
from modules.core.request import Prompt
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Discretion, Json, Raw, read, takes
from modules.prompt.styles import Style

Name = Annotated[str, Field(max_length=limits.STYLE_NAME)]


class NewStyle(Part):
    """A style as it shall be, in place of the one named ``instead_of`` where that is given."""

    name: Name
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    instead_of: Name = ""


class StyleName(Part):
    """One style by its name."""

    name: Name


def router(studio: Studio) -> APIRouter:
    """The routes of styles and wildcards."""
    made = APIRouter(prefix="/api/v1", tags=["phrases"])
    discretion = Discretion(studio.settings)
    phrases = studio.phrases

    def listed() -> Json:
        rows = [
            {**vars_of(shelved.style), "own": shelved.is_own} for shelved in phrases.shelved().values()
        ]  # fmt: skip
        problems = [discretion.data(problem.as_dict()) for problem in phrases.problems()]
        return Json({"styles": rows, "problems": problems})

    @made.get("/styles")
    def styles() -> Json:
        """Every style; ``own`` ones can be changed here, ``problems`` name files that could not be read."""
        return listed()

    @made.post("/styles", openapi_extra=takes(NewStyle))
    def keep(raw: Raw) -> Json:
        """Add a style, or change the one named ``instead_of``; answers the list."""
        given = read(NewStyle, raw)
        phrases.keep(Style(given.name, given.prompt, given.negative_prompt), given.instead_of)
        return listed()

    @made.post("/styles/remove", openapi_extra=takes(StyleName))
    def remove(raw: Raw) -> Json:
        """Take a style out of the program's own file; answers the list."""
        phrases.remove(read(StyleName, raw).name)
        return listed()

    @made.get("/wildcards")
    def wildcards() -> Json:
        """The names of all wildcard lists."""
        return Json({"wildcards": phrases.lists()})

    return made


def vars_of(style: Style) -> dict[str, Any]:
    """A style as plain data, under the columns' names."""
    return {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
