"""One picture of a whole sheet: its cells in rows and columns, the values of the axes beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from modules.core.sheet import Sheet

MOST_PIXELS = 36_000_000  # of the whole sheet; larger ones are made of smaller cells
PAPER, INK = (255, 255, 255), (28, 28, 26)
_GAP = 8  # pixels around a label
# Where systems keep a font that has Chinese; Pillow's own has Latin letters alone.
_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/opentype/noto/NotoSerifCJK-Bold.ttc", "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/System/Library/Fonts/PingFang.ttc", "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "C:/Windows/Fonts/msyh.ttc", "C:/Windows/Fonts/simsun.ttc",
)  # fmt: skip

Open = Callable[[int], Image.Image | None]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def _system_font() -> str:
    return next((path for path in _FONTS if Path(path).is_file()), "")


def font(size: int, text: str) -> Font:
    """A font of ``size`` pixels for a text: Pillow's own, or where that lacks the letters one of the system's."""
    if not text.isascii() and _system_font():
        return ImageFont.truetype(_system_font(), size)
    return ImageFont.load_default(size)


def compose(sheet: Sheet, size: tuple[int, int], picture: Open, *, margin: int = 0, legend: bool = True) -> Image.Image:
    """The sheet as one picture; ``picture`` opens a cell's by its number (None: it was left out and stays empty).

    Tables of the Z axis stand side by side. ``size`` is a cell's width and height in pixels, ``margin`` lies between
    cells; cells become smaller where the whole would have more than 36 million pixels.
    """
    if sheet.axes and sheet.cells[0].at and len(sheet.axes) == 1:
        return _laid(_lines(sheet), size, picture, margin, ([], []))
    columns, rows, tables = ([*(axis.labels for axis in sheet.axes), ("",), ("",)])[:3]
    places = {number: (*cell.at, 0, 0)[:3] for number, cell in enumerate(sheet.cells)}
    spots = {number: (x + z * len(columns), y) for number, (x, y, z) in places.items()}
    heads = [_head(table, column) for table in tables for column in columns] if legend else []
    return _laid(spots, size, picture, margin, (heads, list(rows) if legend else []))


def _head(table: str, column: str) -> str:
    return "\n".join(text for text in (table, column) if text)


def _lines(sheet: Sheet) -> Mapping[int, tuple[int, int]]:
    """Cells of one row without end become about a square."""
    columns = max(1, round(len(sheet.cells) ** 0.5))
    return {number: (number % columns, number // columns) for number in range(len(sheet.cells))}


def _laid(
    spots: Mapping[int, tuple[int, int]], size: tuple[int, int], picture: Open, margin: int,
    legend: tuple[list[str], list[str]],
) -> Image.Image:  # fmt: skip
    across, down = (1 + max(spot[side] for spot in spots.values()) for side in (0, 1))
    whole = (across * (size[0] + margin)) * (down * (size[1] + margin))
    factor = min(1.0, (MOST_PIXELS / whole) ** 0.5)
    width, height, between = max(8, int(size[0] * factor)), max(8, int(size[1] * factor)), int(margin * factor)
    heads, sides = legend
    letters = max(11, min(width, height) // 16)
    top = _needed(heads, letters, width)[1]
    left = _needed(sides, letters, max(width // 2, 8 * letters))[0]
    made = Image.new("RGB", (left + across * width + (across - 1) * between,
                             top + down * height + (down - 1) * between), PAPER)  # fmt: skip
    draw = ImageDraw.Draw(made)
    for column, text in enumerate(heads):
        _write(draw, text, (left + column * (width + between), 0, width, top), letters)
    for row, text in enumerate(sides):
        _write(draw, text, (0, top + row * (height + between), left, height), letters)
    for number, (x, y) in spots.items():
        one = picture(number)
        if one is not None:
            one.thumbnail((width, height), Image.Resampling.LANCZOS)
            corner = left + x * (width + between), top + y * (height + between)
            made.paste(one, (corner[0] + (width - one.width) // 2, corner[1] + (height - one.height) // 2))
    return made


def _needed(texts: list[str], letters: int, width: int) -> tuple[int, int]:
    """The (width, height) in pixels that the largest of these labels takes; nothing where all are empty."""
    if not any(texts):
        return 0, 0
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [draw.multiline_textbbox((0, 0), _wrapped(text, letters, width), font(letters, text)) for text in texts]
    return int(max(box[2] for box in boxes)) + 2 * _GAP, int(max(box[3] for box in boxes)) + 2 * _GAP


def _write(draw: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], letters: int) -> None:
    x, y, width, height = box
    place = x + width // 2, y + height // 2
    draw.multiline_text(place, _wrapped(text, letters, width), INK, font(letters, text), "mm", align="center")


def _wrapped(text: str, letters: int, width: int) -> str:
    """The text in lines that fit into ``width``; a word that does not is cut, four lines are the most."""
    own: Font = font(letters, text)
    lines: list[str] = []
    for paragraph in text[:400].split("\n"):
        line: str = ""
        for letter in paragraph:
            if line and own.getlength(line + letter) > width - 2 * _GAP:
                done, line = _broken(line, letter)
                lines.append(done)
            line += letter
        lines.append(line.strip())
    return "\n".join(lines[:4])


def _broken(line: str, letter: str) -> tuple[str, str]:
    """(the finished line, what goes on in the next one) before a letter that finds no room; at a space if it can be."""
    head, space, rest = line.rpartition(" ")
    return (head, rest) if space and letter != " " else (line, "")
