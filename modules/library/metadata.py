"""Texts inside picture files: packed for Pillow, and unpacked without decoding a pixel, whatever the file holds.

PNG carries text chunks "parameters" (what A1111 and its kin read) and "atelier" (our record as JSON). JPEG and WebP
carry EXIF: the UserComment in UTF-16, as A1111 writes it, and our record in the MakerNote. AVIF's EXIF, GIF's comment
and the texts of other programs are read only.
"""

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from modules.core import limits, strictjson
from modules.core.errors import WorkbenchError

INFOTEXT: Final = "parameters"
RECORD: Final = "atelier"
# Texts in which other programs say how a picture was made: ComfyUI, InvokeAI, NovelAI, and XMP (Draw Things).
OTHERS: Final = (
    "prompt", "invokeai_metadata", "sd-metadata", "Software", "Source", "Description", "Comment", "XML:com.adobe.xmp",
)  # fmt: skip
_MOST: Final = limits.INFOTEXT_READ_BYTES
_CHUNKS_MOST: Final = 100_000  # a 64 megapixel PNG in pieces of 8 KiB has 25,000
_EXIF_MOST: Final = 4 * limits.MIB
_JPEG_EXIF_MOST: Final = 65_533 - 6  # one segment, less its length and "Exif\0\0"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_UTF16: Final = b"UNICODE\0"
_ASCII: Final = b"ASCII\0\0\0"
_BYTES: Final = (1, 2, 7)  # TIFF's types of one byte a value: BYTE, ASCII, UNDEFINED
_MAKER: Final = b"Atelier\0"  # followed by JSON, or by JSON in zlib's format


@dataclass(frozen=True)
class Metadata:
    """What a picture file says about itself: infotext ("" without), our record (None without), what was dropped.

    ``others`` are texts of other programs by the names in OTHERS.
    """

    infotext: str = ""
    record: dict[str, Any] | None = None
    warnings: tuple[WorkbenchError, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict[str, str])


def pack(
    format: str, infotext: str, record: dict[str, Any] | None
) -> tuple[dict[str, Any], tuple[WorkbenchError, ...]]:
    """Options for Pillow's ``save`` in the format "png", "jpeg" or "webp", and warnings about what found no room.

    JPEG holds 64 KiB: the record is then compressed, and if that is not enough left out after the infotext.
    """
    text = infotext.encode("utf-8", "replace").decode()
    written = b"" if record is None else json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
    if format == "png":
        info = PngInfo()
        if text:
            info.add_text(INFOTEXT, text.replace("\0", ""))
        if written:
            info.add_itxt(RECORD, written.decode())
        return {"pnginfo": info}, ()
    packed = _exif(text, written)
    if format == "jpeg" and len(packed) > _JPEG_EXIF_MOST:
        small = zlib.compress(written, 9) if written else b""
        tries = (_exif(text, small), _exif("", small), _exif(text, b""))
        packed = next((one for one in tries if len(one) <= _JPEG_EXIF_MOST), b"")
        if packed != tries[0]:
            return {"exif": packed}, (_no_room(),)
    return {"exif": packed}, ()


def unpack(source: Path | bytes) -> Metadata:
    """Read a picture file's texts: bounded, and never raises for what the file holds.

    A text beyond 1 MiB (also one that unpacks to more) is left out with a warning. Raises OSError for a path that
    cannot be read.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start.startswith(_PNG):
            return _from_png(file)
        if start.startswith(b"\xff\xd8"):
            return _from_exif(_jpeg_exif(file))
        if start.startswith(b"RIFF") and start[8:] == b"WEBP":
            return _from_exif(_webp_exif(file))
        if start.startswith((b"GIF87a", b"GIF89a")) or start[4:12] in (b"ftypavif", b"ftypavis"):
            return _from_pillow(file)
        return Metadata()


def _exif(text: str, written: bytes) -> bytes:
    private: dict[int, bytes] = {}
    if text:
        private[ExifTags.Base.UserComment] = _UTF16 + text.encode("utf-16-be")
    if written:
        private[ExifTags.Base.MakerNote] = _MAKER + written
    if not private:
        return b""
    exif = Image.Exif()
    exif.endian = ">"  # as the text's: readers that ask the file's byte order and readers that do not agree
    exif[ExifTags.IFD.Exif] = private
    return exif.tobytes()


def _from_png(file: BinaryIO) -> Metadata:
    texts: dict[str, str] = {}
    warnings: list[WorkbenchError] = []
    for kind, content, is_whole in _png_texts(file):
        keyword, _, rest = content.partition(b"\0")
        name = keyword.decode("latin-1")
        if name not in (INFOTEXT, RECORD, *OTHERS) or name in texts:
            continue
        text = _png_text(kind, rest) if is_whole else None
        if text is None:
            warnings.append(_too_large())
        else:
            texts[name] = text
    others = {name: text for name, text in texts.items() if name in OTHERS}
    return _metadata(texts.get(INFOTEXT, ""), texts.get(RECORD, ""), warnings, others)


def _from_pillow(file: BinaryIO) -> Metadata:
    """AVIF's EXIF and GIF's comment: their containers are Pillow's to read, which decodes no pixel for it."""
    try:
        with Image.open(file, formats=("AVIF", "GIF")) as image:
            said = image.info
            comment, exif = said.get("comment", b""), said.get("exif", b"")
    except (OSError, ValueError, SyntaxError, struct.error, EOFError, Image.DecompressionBombError):
        return Metadata()
    if exif:
        return _from_exif(exif)
    if len(comment) > _MOST:
        return Metadata(warnings=(_too_large(),))
    return Metadata(comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment))


def _png_texts(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bool]]:
    """(kind, content, whether it is all of it) of each text chunk; stops where the file ends or makes no sense."""
    place = len(_PNG)
    for _ in range(_CHUNKS_MOST):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield kind, file.read(min(length, _MOST + 1_024)), length <= _MOST + 1_024
        place += 12 + length


def _png_text(kind: bytes, rest: bytes) -> str | None:
    """The text behind a chunk's keyword; None where it is too large or does not unpack."""
    encoding, is_packed = "latin-1", False
    if kind == b"zTXt":
        is_packed, rest = True, rest[1:]
    elif kind == b"iTXt":
        encoding, is_packed = "utf-8", rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")  # language
        _, _, rest = rest.partition(b"\0")  # translated keyword
    whole = _inflate(rest) if is_packed else rest
    return whole.decode(encoding, "replace") if whole is not None and len(whole) <= _MOST else None


def _inflate(packed: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(packed, _MOST + 1)
    except zlib.error:
        return None


def _jpeg_exif(file: BinaryIO) -> bytes:
    file.seek(2)
    while len(head := file.read(4)) == 4:
        marker, length = struct.unpack(">HH", head)
        if marker == 0xFFDA or marker < 0xFFC0 or length < 2:  # the pixels begin, or this is no marker
            return b""
        content = file.read(length - 2)
        if marker == 0xFFE1 and content.startswith(b"Exif\0\0"):
            return content
    return b""


def _webp_exif(file: BinaryIO) -> bytes:
    place = 12
    for _ in range(_CHUNKS_MOST):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return b""
        kind, length = struct.unpack("<4sI", head)
        if kind == b"EXIF":
            return file.read(min(length, _EXIF_MOST + 1))
        place += 8 + length + length % 2
    return b""


def _from_exif(raw: bytes) -> Metadata:
    if len(raw) > _EXIF_MOST:
        return Metadata(warnings=(_too_large(),))
    tiff = raw.removeprefix(b"Exif\0\0")
    private = _exif_texts(tiff)
    comment, note = private.get(ExifTags.Base.UserComment, b""), private.get(ExifTags.Base.MakerNote, b"")
    written: str | None = ""
    if note.startswith(_MAKER):
        body: bytes | None = note.removeprefix(_MAKER)
        body = body if body.startswith(b"{") else _inflate(body)
        written = body.decode("utf-8", "replace") if body is not None and len(body) <= _MOST else None
    text = _comment(comment)
    is_large = written is None or len(text) > _MOST
    warnings = [_too_large()] if is_large else []
    return _metadata(text if len(text) <= _MOST else "", written or "", warnings, _graph(tiff))


def _graph(tiff: bytes) -> dict[str, str]:
    """ComfyUI's graph, which its WebP files carry as "prompt:{...}" under a camera's maker or model."""
    order = _order(tiff)
    entries = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0]) if order else {}
    for kind, count, value in (entries.get(tag, (0, 0, b"")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)):
        start = struct.unpack(order + "I", value)[0] if kind in _BYTES and count > 4 else len(tiff)
        text = tiff[start : start + min(count, _MOST)].rstrip(b"\0").decode("utf-8", "replace")
        if text.startswith("prompt:"):
            return {"prompt": text.removeprefix("prompt:")}
    return {}


def _order(tiff: bytes) -> str:
    """How struct reads this TIFF's numbers; "" for what is none."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "") if len(tiff) >= 8 else ""


def _exif_texts(tiff: bytes) -> dict[int, bytes]:
    """The two texts of EXIF's private directory by tag (TIFF 6.0, section 2; EXIF 2.3, 4.6.3).

    Read here rather than by Pillow, which warns through a global filter about every damaged file.
    """
    order = _order(tiff)
    if not order:
        return {}
    found: dict[int, bytes] = {}
    place = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0]).get(ExifTags.IFD.Exif)
    entries = _directory(tiff, order, struct.unpack(order + "I", place[2])[0]) if place else {}
    for tag in (ExifTags.Base.UserComment, ExifTags.Base.MakerNote):
        kind, count, value = entries.get(tag, (0, 0, b""))
        if kind in _BYTES:
            start = struct.unpack(order + "I", value)[0]
            found[tag] = value[:count] if count <= 4 else tiff[start : start + count]
    return found


def _directory(tiff: bytes, order: str, start: int) -> dict[int, tuple[int, int, bytes]]:
    """Tag -> (type, number of values, the 4 bytes that hold them or say where they are)."""
    size = struct.unpack_from(order + "H", tiff, start)[0] if start + 2 <= len(tiff) else 0
    whole = min(size, (len(tiff) - start - 2) // 12)
    rows = (struct.unpack_from(order + "HHI4s", tiff, start + 2 + 12 * row) for row in range(whole))
    return {tag: (kind, count, value) for tag, kind, count, value in rows}


def _comment(raw: bytes) -> str:
    """A UserComment: 8 bytes name the encoding; UTF-16 comes in either byte order."""
    if not raw.startswith(_UTF16):
        return raw.removeprefix(_ASCII).removeprefix(bytes(8)).decode("utf-8", "replace").rstrip("\0")
    body = raw.removeprefix(_UTF16)
    is_little = body[1:2_000:2].count(0) > body[0:2_000:2].count(0)  # Latin letters have a zero as their high byte
    return body.decode("utf-16-le" if is_little else "utf-16-be", "replace").rstrip("\0")


def _metadata(infotext: str, written: str, warnings: list[WorkbenchError], others: Mapping[str, str]) -> Metadata:
    record: Any = None
    if written:
        try:
            record = strictjson.loads(written)
        except WorkbenchError as problem:
            warnings.append(problem)
    kept = cast(dict[str, Any], record) if isinstance(record, dict) else None
    return Metadata(infotext, kept, tuple(warnings), others)


def _too_large() -> WorkbenchError:
    return WorkbenchError(
        f"A text in the picture is damaged or larger than {_MOST // limits.MIB} MiB; it was left out.",
        "The picture itself is not affected.",
        code="picture_text",
    )


def _no_room() -> WorkbenchError:
    return WorkbenchError(
        "The picture's settings did not all fit into a JPEG file.",
        "PNG and WebP have room for them; the gallery still knows them.",
        code="picture_text",
    )
