"""Picture files: pixels to bytes, and what a file says about itself without being decoded."""

import io
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.library import metadata

Format = Literal["png", "jpeg", "webp"]
SUFFIXES: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
PILLOW = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
PNG_LEVEL = 4
_LONGEST_SIDE = {"webp": 16_383, "jpeg": 65_535}

Image.MAX_IMAGE_PIXELS = limits.IMAGE_PIXELS  # Pillow itself refuses twice as much before it allocates


@dataclass(frozen=True)
class Found:
    """What a file says: size in pixels, whether it is whole, its infotext and our record (None where absent)."""

    width: int
    height: int
    whole: bool
    infotext: str = ""
    record: dict[str, Any] | None = None


def fitting(wanted: Format, width: int, height: int) -> Format:
    """``wanted``, or PNG where that format cannot hold so long a side."""
    return wanted if max(width, height) <= _LONGEST_SIDE.get(wanted, limits.IMAGE_PIXELS) else "png"


def encode(image: Image.Image, format: Format, quality: int, options: dict[str, Any]) -> bytes:
    """The file's bytes; ``options`` carry the metadata (see ``metadata.pack``)."""
    out = io.BytesIO()
    if format == "png":
        image.save(out, "PNG", compress_level=PNG_LEVEL, **options)
    else:
        image.save(out, PILLOW[format], quality=quality, method=4, **options)
    return out.getvalue()


def look(path: Path) -> Found:
    """Read a file's header and metadata without decoding a pixel; a damaged file is an answer, not an error."""
    try:
        with path.open("rb") as file:
            whole = is_whole(file)
            file.seek(0)
            with _open(file, tuple(PILLOW.values())) as image:
                width, height = image.size
        said = metadata.unpack(path)
        return Found(width, height, whole, said.infotext, said.record)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError, UnidentifiedImageError):
        return Found(0, 0, whole=False)


def decode(source: Path | bytes, formats: tuple[str, ...] = tuple(PILLOW.values())) -> Image.Image:
    """Decode a picture from outside: upright, in sRGB, 8-bit RGB, alpha laid over white, first frame only.

    Raises WorkbenchError before anything is allocated: 415 for other formats (by content, whatever the name says),
    413 beyond 64 megapixels; 422 for a file that is cut short.
    """
    with _explained(), _open(source, formats) as image:
        _refuse_too_large(image)
        image.load()
        made = _as_srgb(_eight_bit(ImageOps.exif_transpose(image)))
    made.info = {}
    made.getexif().clear()
    return made


def decode_mask(source: Path | bytes, formats: tuple[str, ...] = tuple(PILLOW.values())) -> Image.Image:
    """Decode a mask from outside, 8-bit grey: alpha where not all of it is opaque, else brightness; raises as above."""
    with _explained(), _open(source, formats) as image:
        _refuse_too_large(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
        alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
        if alpha is not None and alpha.getextrema()[0] != 255:
            return alpha
        return _eight_bit(upright).convert("L")


def size_of(file: BinaryIO, formats: tuple[str, ...], upright: bool = False) -> tuple[int, int]:
    """Width and height by the header, as stored or turned as EXIF says; raises as ``decode`` does."""
    with _explained(), _open(file, formats) as image:
        _refuse_too_large(image)
        turned = upright and image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        width, height = image.size
        return (height, width) if turned else (width, height)


@contextmanager
def _explained() -> Generator[None]:
    """Pillow's exceptions in words for people."""
    try:
        yield
    except Image.DecompressionBombError:
        raise _too_large() from None
    except UnidentifiedImageError:
        raise unsupported() from None
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as problem:
        raise damaged() from problem


def _refuse_too_large(image: Image.Image) -> None:
    if image.width * image.height > limits.IMAGE_PIXELS:
        raise _too_large()


def damaged() -> WorkbenchError:
    """The error for a picture that is cut short or cannot be decoded."""
    return WorkbenchError(
        "The picture is damaged or cut short.", "Open it in another program and save it again.",
        code="picture_damaged", status=422,
    )  # fmt: skip


def unsupported() -> WorkbenchError:
    """The error for content that is no picture we read."""
    return WorkbenchError(
        "This is not a picture in a format that can be read.", "Use PNG, JPEG or WebP.",
        code="picture_format", status=415,
    )  # fmt: skip


def _too_large() -> WorkbenchError:
    most = limits.IMAGE_PIXELS // 1_000_000
    return WorkbenchError(
        f"The picture has more than {most} megapixels.", "Make it smaller.", code="picture_too_large", status=413
    )


def _open(source: Path | bytes | BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    try:
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except ValueError:  # a compressed text beyond Pillow's bound: the text is dropped, the picture is not
        return Image.open(io.BytesIO(_without_text(_bytes(source))), formats=formats)


def _bytes(source: Path | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path):
        return source.read_bytes()
    source.seek(0)
    return source.read()


def _without_text(png: bytes) -> bytes:
    kept, at = [png[:8]], 8
    while at + 12 <= len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(png[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey, which Pillow would clip at 255
        wide = image.convert("I") if image.mode != "F" else image
        return wide.point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in ("P", "PA", "LA") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L") if image.mode == "1" else image


def _as_srgb(image: Image.Image) -> Image.Image:
    """Apply an embedded colour profile; a broken one is ignored."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            alpha = image.getchannel("A") if image.mode == "RGBA" else None
            colours = image.convert("RGB") if alpha else image
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.ImageCmsProfile(cast(Any, ImageCms.createProfile)("sRGB"))
            turned = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
            if turned is not None:
                image = turned
                if alpha:
                    image.putalpha(alpha)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    if image.mode == "RGBA":
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")


def is_whole(file: BinaryIO) -> bool:
    """Whether the file runs to its format's end: Pillow decodes a PNG that is cut by 13 bytes without a word."""
    start = file.read(12)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_ends(file)
    if start.startswith(b"\xff\xd8"):
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1024))
        return b"\xff\xd9" in file.read()  # some cameras write on after the end marker
    if start.startswith(b"RIFF") and start[8:] == b"WEBP":
        return file.seek(0, os.SEEK_END) >= struct.unpack("<I", start[4:8])[0] + 8
    return False


def _png_ends(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    at = 8
    while at + 12 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        at += 12 + length
        if kind == b"IEND":
            return True
    return False
