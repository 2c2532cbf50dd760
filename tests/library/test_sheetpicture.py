"""A sheet as one picture: every cell in its place, the values beside it, within the bound of pixels."""

import numpy as np
from PIL import Image

from modules.core.sheet import Axis, Cell, Sheet
from modules.library.sheetpicture import MOST_PIXELS, compose


def sheet(columns, rows, tables=("",)):
    axes = [Axis(title="", labels=labels) for labels in (columns, rows, tables)]
    places = [(x, y, z) for z in range(len(tables)) for y in range(len(rows)) for x in range(len(columns))]
    return Sheet(axes=tuple(axes), cells=tuple(Cell(at=at, seed=1) for at in places))


def colour(number):
    return (10 * number + 5, 200 - 10 * number, 99)


def cell(number):
    return Image.new("RGB", (64, 48), colour(number))


def test_cells_stand_in_rows_columns_and_tables():
    made = compose(sheet(("a", "b"), ("c", "d"), ("e", "f")), (64, 48), cell, legend=False, margin=4)
    assert made.size == (4 * 64 + 3 * 4, 2 * 48 + 4)
    found = [[made.getpixel((x * 68 + 30, y * 52 + 20)) for x in range(4)] for y in range(2)]
    assert found == [[colour(n) for n in (0, 1, 4, 5)], [colour(n) for n in (2, 3, 6, 7)]]


def test_a_legend_is_ink_outside_of_the_cells_in_any_script():
    for label in ("CFG Scale: 7", "提示词", "a very long label " * 9):
        made = compose(sheet((label, label), ("", "")), (64, 48), cell)
        assert (made.width, made.height > 96) == (128, True)
        above = np.asarray(made)[: made.height - 96]
        assert int((above.max(2) < 128).sum()) > 10, f"{label!r} is written"


def test_a_cell_left_out_stays_empty_and_a_huge_sheet_is_made_smaller():
    made = compose(sheet(("",), ("", "")), (64, 48), lambda number: cell(0) if number else None)
    assert made.getpixel((30, 20)) == (255, 255, 255)
    huge = compose(sheet(("",) * 20, ("",) * 20), (1024, 1024), lambda number: None)
    assert MOST_PIXELS * 0.9 < huge.width * huge.height <= MOST_PIXELS


def test_lines_become_about_a_square():
    lines = Sheet(axes=(Axis(title="", labels=("x",) * 9),), cells=tuple(Cell(at=(n,), seed=1) for n in range(9)))
    assert compose(lines, (64, 48), cell).size == (192, 144)
