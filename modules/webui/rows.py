"""What a row of the form's table is: one control, and the fold it may stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "number", "slider", "choice", "segments", "toggle", "hidden"]
Face = Literal["simple", "pro"]


@dataclass(frozen=True)
class Control:
    """One control of the form.

    ``name`` is the value's key in a draft; ``field`` its path inside GenerationRequest ("" where the form alone knows
    it); ``elem_id`` is A1111's where A1111 has the control; ``face`` "simple" controls are always shown; ``fold`` ""
    stands open in the column; ``words`` is the key of its label ("<words>.label", ".hint", ".placeholder");
    ``a1111`` is its name in infotext. Extensions' rows carry their own ``label`` and ``info`` by language instead.
    """

    name: str
    kind: Kind
    default: Any
    elem_id: str
    order: int
    field: str = ""
    face: Face = "pro"
    fold: str = ""
    a1111: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    lines: tuple[int, int] = (1, 1)
    optional: bool = False  # empty means the request's None
    pair: bool = False  # stands beside the next one
    when: tuple[str, ...] = ()  # shown only while its fold's toggle has one of these values; empty: always
    translated: bool = False  # the choices are keys of words, not names; an empty name is the word "same"
    label: tuple[tuple[str, str], ...] = ()  # (language, text) of an extension's field
    info: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        return f"control.{self.name}"


@dataclass(frozen=True)
class Fold:
    """A group of controls behind one line; ``toggle`` names the control that switches it on, if it has one."""

    name: str
    toggle: str = ""
    title: tuple[tuple[str, str], ...] = ()  # (language, text) of an extension's fold
