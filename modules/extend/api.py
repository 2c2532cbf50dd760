"""Everything an extension's author imports: Extension, its fields, hook, Tab.

An extension is one frozen dataclass in ``extensions/<name>/extension.py``: its fields are the form, the settings and
the metadata; its methods marked with ``@hook`` are the behaviour (``modules/extend/hooks.py`` lists them all)::

    @dataclass(frozen=True)
    class Louder(Extension):
        '''Multiply the guidance once more.'''
        title = "Louder"
        amount: float = slider(1.0, low=0.0, high=2.0)

        @hook
        def after_guidance(self, guided):
            guided.denoised = guided.uncond + self.amount * (guided.denoised - guided.uncond)
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pluggy

from modules.core.errors import BadValue

API_VERSION = 1

hook = pluggy.HookimplMarker("atelier")

Kind = Literal["slider", "choice", "toggle", "text"]


@dataclass(frozen=True)
class Control:
    """One field of an extension as the page draws it and the API checks it."""

    name: str
    kind: Kind
    default: Any
    label: str
    help: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tab:
    """A tab of the page: ``build`` is called inside Gradio's Blocks and draws what it likes."""

    title: str
    build: Callable[[], None]


class Extension:
    """Base of every extension; subclasses are frozen dataclasses.

    ``title`` is what people read, ``words`` translates title, about and labels (``{"zh": {"title": ..., "amount":
    ...}}``), ``resumable`` is False where state is kept inside the network.
    """

    title: ClassVar[str] = ""
    words: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    resumable: ClassVar[bool] = True

    @property
    def notes(self) -> dict[str, Any]:
        """Where an extension keeps what it must remember during one job; each job starts with an empty one."""
        return vars(self).setdefault("_notes", {})


def slider(
    default: float, *, low: float, high: float, step: float | None = None, label: str = "", help: str = ""
) -> Any:
    """A number between ``low`` and ``high``; whole numbers where the default is an int."""
    return _field("slider", default, label=label, help=help, low=low, high=high, step=step)


def choice(default: str, choices: tuple[str, ...], *, label: str = "", help: str = "") -> Any:
    """One of a few words."""
    return _field("choice", default, label=label, help=help, choices=choices)


def toggle(default: bool, *, label: str = "", help: str = "") -> Any:
    """Yes or no."""
    return _field("toggle", default, label=label, help=help)


def text(default: str = "", *, label: str = "", help: str = "") -> Any:
    """A line of text, at most 1,000 characters."""
    return _field("text", default, label=label, help=help)


def controls(kind: type[Extension]) -> tuple[Control, ...]:
    """The extension's fields in order; raises TypeError for a field made without slider, choice, toggle or text."""
    found = []
    for row in dataclasses.fields(kind):  # type: ignore[arg-type]
        if "control" not in row.metadata:
            raise TypeError(f"{kind.__name__}.{row.name} is not made with slider, choice, toggle or text")
        about = dict(row.metadata["control"])
        about["label"] = about["label"] or row.name.replace("_", " ").capitalize()
        found.append(Control(name=row.name, default=row.default, **about))
    return tuple(found)


def about(kind: type[Extension], language: str = "en") -> str:
    """One sentence that says what the extension does: its docstring's first paragraph, or its translation."""
    translated = kind.words.get(language, {}).get("about")
    return translated or " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def make(kind: type[Extension], settings: Mapping[str, Any], name: str) -> Extension:
    """An extension with the settings of one request; raises BadValue naming the field and its range."""
    rows = {row.name: row for row in controls(kind)}
    for key, value in settings.items():
        if key not in rows:
            raise BadValue(
                f"The extension {name!r} has no field {key!r}.",
                f"It has {', '.join(rows) or 'none'}.",
                field=f"extensions.{name}.{key}",
            )
        _check(rows[key], value, f"extensions.{name}.{key}")
    return kind(**settings)


def _field(kind: Kind, default: Any, **about: Any) -> Any:
    return dataclasses.field(default=default, metadata={"control": {"kind": kind, **about}})


def _check(row: Control, value: Any, field: str) -> None:
    expected: tuple[type, ...] = (type(row.default),)
    if row.kind == "slider" and isinstance(row.default, float):
        expected = (float, int)
    if not isinstance(value, expected) or (isinstance(value, bool) and row.kind != "toggle"):
        raise BadValue(f"{field} is {value!r}, not a {type(row.default).__name__}.", "Correct it.", field=field)
    if row.kind == "slider" and row.low is not None and row.high is not None and not row.low <= value <= row.high:
        nearest = min(max(value, row.low), row.high)
        raise BadValue(
            f"{field}: {value} is outside {row.low}-{row.high}.", f"Use {nearest}.", field=field,
            value=value, low=row.low, high=row.high, nearest=nearest,
        )  # fmt: skip
    if row.kind == "choice" and value not in row.choices:
        raise BadValue(f"{field} is {value!r}.", f"It can be {', '.join(row.choices)}.", field=field)
    if row.kind == "text" and len(str(value)) > 1_000:
        raise BadValue(f"{field} is longer than 1,000 characters.", "Shorten it.", field=field)
