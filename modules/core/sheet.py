"""Sheets: many pictures of one request that differ on purpose, as somebody asked for them and cell by cell."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from modules.core import limits
from modules.core.part import Part

NOTHING = "Nothing"

_Text = Annotated[str, Field(max_length=limits.SCRIPT_CHARACTERS)]
_Seed = Annotated[int, Field(ge=limits.SEED[0], le=limits.SEED[1])]
_Margin = Annotated[int, Field(ge=0, le=limits.SHEET_MARGIN)]


class Along(Part):
    """What changes along one side of an X/Y/Z plot: an axis by its name, and its values as typed."""

    axis: Annotated[str, Field(max_length=100)] = NOTHING
    values: _Text = ""


class XYZ(Part):
    """An X/Y/Z plot: one picture for each combination of the values, in rows, columns and tables.

    ``own_seeds`` gives each cell a seed of its own instead of one for all; ``vary`` does so along some sides only.
    ``legend`` writes the values beside the cells, ``margin`` pixels lie between them.
    """

    kind: Literal["xyz"] = "xyz"
    x: Along = Along()
    y: Along = Along()
    z: Along = Along()
    own_seeds: bool = False
    vary: Annotated[tuple[Literal["x", "y", "z"], ...], Field(max_length=3)] = ()
    legend: bool = True
    margin: _Margin = 0


class Matrix(Part):
    """A prompt matrix: ``a|b|c`` is ``a`` with every combination of ``b`` and ``c``.

    ``of`` says which prompt holds the parts, ``joined`` what stands between them, ``at_start`` puts them first.
    """

    kind: Literal["matrix"] = "matrix"
    of: Literal["prompt", "negative_prompt"] = "prompt"
    joined: Literal["comma", "space"] = "comma"
    at_start: bool = False
    own_seeds: bool = False
    legend: bool = True
    margin: _Margin = 0


class Lines(Part):
    """A text whose lines are prompts, or ``--key value`` words that change more than the prompt.

    ``own_seeds`` counts the seed on line by line; ``insert`` puts the form's prompt before or behind each line.
    """

    kind: Literal["lines"] = "lines"
    text: _Text
    own_seeds: bool = False
    insert: Literal["none", "start", "end"] = "none"


Script = Annotated[XYZ | Matrix | Lines, Field(discriminator="kind")]


class Axis(Part):
    """One side of a sheet: its title, a label for each value, and what a change costs (0 is nothing)."""

    title: str
    labels: tuple[str, ...]
    cost: float = 0.0


class Cell(Part):
    """One picture: its place along each axis, its seed, and the request's fields that differ, as plain data."""

    at: tuple[int, ...] = ()
    seed: _Seed
    changes: dict[str, JsonValue] = Field(default_factory=dict)


class Sheet(Part):
    """What a script came to: the axes (x, y, z) and every cell, table by table and row by row."""

    axes: Annotated[tuple[Axis, ...], Field(max_length=3)] = ()
    cells: Annotated[tuple[Cell, ...], Field(min_length=1, max_length=limits.PICTURES[1])]

    def ordered(self, pictures: Iterable[int]) -> list[int]:
        """These cells in the order in which they are made best: what costs most to change changes least often."""
        slowest = sorted(range(len(self.axes)), key=lambda axis: -self.axes[axis].cost)

        def turn(picture: int) -> tuple[Any, ...]:
            place = self.cells[picture].at
            return (*(place[axis] for axis in slowest if axis < len(place)), picture)

        return sorted(pictures, key=turn)
