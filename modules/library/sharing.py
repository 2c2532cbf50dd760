"""A copy of a picture to give away: the same pixels, without a word about how, when or with what it was made."""

import struct
from collections.abc import Iterator

from modules.library import picturefile

_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM")  # what decides the colours seen
_JPEG_KEPT = (0xE0, 0xEE)  # JFIF, and Adobe's mark without which CMYK and RGB are mistaken
_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
_WEBP_FLAGS_DROPPED = 0b0010_1110  # colour profile, EXIF, XMP, animation


def without_words(data: bytes) -> bytes:
    """The file ``data`` (PNG, JPEG or WebP) with its pixels' bytes untouched and every other part left out.

    Prompt, seed, times, names, comments, colour profiles and thumbnails go; nothing is decoded or compressed again.
    Raises WorkbenchError for another format or a file that is cut short.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return b"".join(_png(data))
        if data.startswith(b"\xff\xd8"):
            return b"".join(_jpeg(data))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            body = b"WEBP" + b"".join(_webp(data))
            return b"RIFF" + struct.pack("<I", len(body)) + body
    except (struct.error, IndexError) as problem:
        raise picturefile.damaged() from problem
    raise picturefile.unsupported()


def _png(data: bytes) -> Iterator[bytes]:
    yield data[:8]
    at, kind = 8, b""
    while kind != b"IEND":  # what follows the end is no part of the picture
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise IndexError
        if kind in _PNG_KEPT:
            yield data[at:end]
        at = end


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    at = 2
    while True:
        mark, kind = struct.unpack_from("BB", data, at)
        if mark != 0xFF:
            raise IndexError
        if kind == 0xFF:  # a marker may be preceded by any number of these
            at += 1
            continue
        if kind == 0xD9:  # what follows the end is no part of the picture
            yield data[at : at + 2]
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if kind == 0xDA:
            end = _scan_end(data, end)
        if kind in _JPEG_KEPT or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            yield data[at:end]
        at = end


def _scan_end(data: bytes, at: int) -> int:
    """Where the next marker stands behind coded pixels, in which FF 00 is a byte and FF D0 to D7 a resting point."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2


def _webp(data: bytes) -> Iterator[bytes]:
    at, end = 12, struct.unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise IndexError
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        after = at + 8 + length + length % 2
        if kind == b"VP8X":
            yield data[at : at + 8] + bytes([data[at + 8] & ~_WEBP_FLAGS_DROPPED & 0xFF]) + data[at + 9 : after]
        elif kind in _WEBP_KEPT:
            yield data[at:after]
        at = after
