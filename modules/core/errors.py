"""Every error that reaches a person: a code for programs, a message that says what and which, a hint what to do."""

from typing import Any


class WorkbenchError(Exception):
    """An error that a person can act on.

    ``code`` is stable and machine-readable, ``message`` says what and which, ``hint`` says what to do, ``field`` names
    the request's field (dotted, as in ``sampling.steps``) where there is one, ``status`` is the HTTP status and
    ``facts`` fills translated messages (page words are looked up by code, with these facts in their braces).
    """

    code = "error"
    status = 400

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str | None = None,
        field: str | None = None,
        status: int | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.field = field
        self.status = status or type(self).status
        self.facts = facts

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, the same in the API, in events and in the queue's rows."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.field:
            shown["field"] = self.field
        if self.facts:
            shown["facts"] = self.facts
        return shown


class BadValue(WorkbenchError):
    """A field holds something that it cannot; ``facts`` may carry low, high and nearest."""

    code = "bad_value"
    status = 422


class NotFound(WorkbenchError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"
    status = 404


class Busy(WorkbenchError):
    """A bound is reached: try again later."""

    code = "busy"
    status = 429


class DiskFull(WorkbenchError):
    """Nothing was acknowledged, because nothing could be written."""

    code = "disk_full"
    status = 507


class ModelError(WorkbenchError):
    """A model file cannot be used: missing, cut short, damaged, or of a family nobody knows."""

    code = "model"
    status = 422


class OutOfMemory(WorkbenchError):
    """The device or the computer has no room left; ``hint`` offers a smaller plan."""

    code = "out_of_memory"
    status = 507


class NotFinite(WorkbenchError):
    """The network answered with NaN or infinity even in 32 bit."""

    code = "not_finite"
    status = 500


class ExtensionFailed(WorkbenchError):
    """An extension raised in a hook; the picture is made without it."""

    code = "extension_failed"
    status = 500

    def __init__(self, name: str, hook: str, cause: str) -> None:
        super().__init__(
            f"Extension {name!r} failed in {hook}: {cause}",
            "The picture is made without it. Switch the extension off, or report this to its author.",
            extension=name,
            hook=hook,
        )
        self.name = name
        self.hook = hook


class Cancelled(Exception):
    """Raised inside the engine where a job or a picture is stopped; never shown as an error."""
