"""Texts in the lowest bits of a picture's pixels, as NovelAI and stealth PNG info hide them, column by column."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modules.core import limits

_SIGNS: Final = {
    b"stealth_pnginfo": ("alpha", False), b"stealth_pngcomp": ("alpha", True),
    b"stealth_rgbinfo": ("colour", False), b"stealth_rgbcomp": ("colour", True),
}  # fmt: skip
_SIGN_BYTES: Final = 15
_MOST: Final = limits.INFOTEXT_READ_BYTES


def read(source: Path | bytes) -> str:
    """The hidden text of a PNG or WebP file, "" where there is none; it never raises for what a file holds.

    A sign of 15 bytes, the length in bits (32 bits, high first), then the text, plain or gzipped; bits run down the
    first column, then the next. They lie in alpha, or in red, green and blue of each pixel.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=("PNG", "WEBP")) as image:
            if image.mode not in ("RGBA", "RGB") or image.width * image.height > limits.IMAGE_PIXELS:
                return ""
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return ""
    planes = [("colour", pixels[..., :3])]
    if pixels.shape[2] == 4:
        planes.insert(0, ("alpha", pixels[..., 3:]))
    return next((text for name, plane in planes if (text := _text(name, plane))), "")


def _text(name: str, plane: NDArray[np.uint8]) -> str:
    bits = _SIGN_BYTES * 8
    kind, is_packed = _SIGNS.get(_bytes(plane, 0, bits), ("", False))
    length = int.from_bytes(_bytes(plane, bits, 32), "big")
    if kind != name or not 0 < length <= _MOST * 8 or bits + 32 + length > plane.size:
        return ""
    content: bytes | None = _bytes(plane, bits + 32, length)
    content = _unpacked(content) if is_packed else content
    return content.decode("utf-8", "replace") if content and len(content) <= _MOST else ""


def _bytes(plane: NDArray[np.uint8], start: int, count: int) -> bytes:
    """So many bits from a place on, as bytes."""
    height, _, channels = plane.shape
    first, last = start // (height * channels), -(-(start + count) // (height * channels))
    bits = (plane[:, first:last] & 1).transpose(1, 0, 2).reshape(-1)
    offset = start - first * height * channels
    return np.packbits(bits[offset : offset + count]).tobytes()


def _unpacked(content: bytes) -> bytes | None:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(_MOST + 1)
    except (OSError, EOFError, zlib.error):
        return None
