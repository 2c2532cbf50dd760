"""Pictures inside JSON, as A1111's clients send them: base64 with or without a data: address in front."""

import base64
from collections.abc import Callable

from modules.core.errors import BadValue, WorkbenchError

Keep = Callable[[bytes], str]
"""Takes a picture's bytes in and answers their sha256; raises WorkbenchError for what is no picture."""


def decoded(text: str, field: str) -> bytes:
    """A picture's bytes; raises BadValue naming the field for an address or what is not base64."""
    if text.startswith(("http://", "https://")):
        raise BadValue("Pictures are not fetched from addresses.", "Send its bytes as base64.", field=field)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadValue(f"{field} is not base64.", "Send the picture's bytes as base64.", field=field) from None


def kept(text: str, field: str, keep: Keep) -> str:
    """The sha256 under which such a picture was taken in; raises WorkbenchError naming the field."""
    try:
        return keep(decoded(text, field))
    except WorkbenchError as problem:
        raise WorkbenchError(
            problem.message, problem.hint, code=problem.code, field=field, status=problem.status, **problem.facts
        ) from None
