"""What the routes share: raw bodies, strict reading, JSON answers, and the error's one shape without any path in it."""

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from modules.core import strictjson
from modules.core.errors import NotFound, WorkbenchError
from modules.core.part import Part
from modules.core.request import validated
from modules.core.settings import CHECKOUT, Settings
from modules.httpapi.answers import problem

P = TypeVar("P", bound=Part)
CLIENT_HEADER = "atelier-client"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
# What is left of an absolute path after the known folders were cut off: its last part.
_ABSOLUTE = re.compile(
    r"(?:[A-Za-z]:[\\/]|/(?:home|root|mnt|var|usr|opt|tmp|srv|work|private|Users|Volumes)/)[^\s'\":,;]*"
)


class Json(JSONResponse):
    """An answer that nobody keeps, in JSON that is never NaN."""

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        return strictjson.dumps(content).encode("utf-8", "backslashreplace")


async def _raw(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_raw)]


def read(kind: type[P], raw: bytes) -> P:
    """The body as ``kind``; raises 400 for what is not JSON and 422 naming the field for what does not fit."""
    return validated(kind, strictjson.loads(raw))


def takes(kind: type[Part]) -> dict[str, Any]:
    """The OpenAPI words for a route that reads its body with ``read``."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def checked_id(id: str) -> str:
    """An id as it stands in an address; raises NotFound for anything that no room would have given."""
    if not _ID.fullmatch(id):
        raise NotFound("There is nothing of that id.", "Look at the list for the ids there are.")
    return id


def client_of(request: Request, default: str = "api") -> str:
    """Whose job it is, for turns in the queue: programs may name themselves in the header Atelier-Client."""
    return request.headers.get(CLIENT_HEADER, "").strip() or default


def request_id(request: Request) -> str:
    """The id that the gate gave this request."""
    return getattr(request.state, "request_id", "")


class Discretion:
    """Cuts folders of this computer out of texts: names of files may be told, where they lie may not."""

    def __init__(self, settings: Settings) -> None:
        roots = {
            settings.data, *settings.model_folders, settings.outputs, CHECKOUT, Path.home(), Path(sys.prefix),
            Path(tempfile.gettempdir()),
        }  # fmt: skip
        known = sorted((str(root).rstrip("/\\") for root in roots if len(root.parts) > 1), key=len, reverse=True)
        self._roots = re.compile("|".join(re.escape(root) + r"[/\\]?" for root in known))

    def text(self, text: str) -> str:
        """The text with every path shortened to what lies below a known folder, or to its last part."""
        return _ABSOLUTE.sub(lambda found: re.split(r"[\\/]", found[0])[-1], self._roots.sub("", text))

    def data(self, value: Any) -> Any:
        """The same for every string in plain data."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.data(inner) for key, inner in value.items()}
        return [self.data(inner) for inner in value] if isinstance(value, list | tuple) else value


def error_body(error: WorkbenchError, id: str, discretion: Discretion) -> dict[str, Any]:
    """{code, message, hint, field, request_id}, and ``facts`` where there are some."""
    body = problem(error.code, error.message, error.hint, id, error.field)
    return discretion.data({**body, **({"facts": error.facts} if error.facts else {})})


Dialect = Callable[[WorkbenchError, str], Any]
