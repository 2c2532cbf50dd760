"""Input pictures and masks, kept once under the sha256 of their bytes; requests carry only the hash."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from modules.core import limits
from modules.core.errors import NotFound, WorkbenchError
from modules.core.geometry import Size
from modules.library import atomic, picturefile

FOLDER = Path(".atelier", "blobs")  # in the data folder
READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "GIF")
_SNIFFED_BYTES = 16
_RANGES = 256


class Incoming:
    """One picture on its way in: ``write`` chunks as they arrive, then ``finish``; leaving the block drops the rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part = folder / "incoming" / f"{secrets.token_hex(8)}.part"
        self._hash = hashlib.sha256()
        self._size = 0
        with _disk(folder):
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("xb")

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Raises WorkbenchError 413 at the chunk that passes 64 MiB, and DiskFull."""
        self._size += len(chunk)
        if self._size > limits.BLOB_BYTES:
            raise WorkbenchError(
                f"The file is larger than {limits.BLOB_BYTES // limits.MIB} MiB.", "Send a smaller picture.",
                code="blob_too_large", status=413,
            )  # fmt: skip
        self._hash.update(chunk)
        with _disk(self._folder):
            self._file.write(chunk)

    def finish(self) -> str:
        """Check what came, keep it, and return its sha256; raises as ``Blobs.put``."""
        with _disk(self._folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        with self._part.open("rb") as file:
            _check(file)
        sha256 = self._hash.hexdigest()
        target = _place(self._folder, sha256)
        with _disk(self._folder):
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                atomic.replace(self._part, target)
        return sha256


class Blobs:
    """Files by content below ``folder``: ``<first two digits>/<sha256>``, each written once and never changed.

    The engine's process opens them with ``reads_only``: what another process is receiving is then left alone.
    """

    def __init__(self, folder: Path, *, reads_only: bool = False) -> None:
        self.folder = folder
        self._ranges: dict[str, tuple[int, int]] = {}
        if not reads_only:
            shutil.rmtree(folder / "incoming", ignore_errors=True)  # what an earlier run did not finish

    def receive(self) -> Incoming:
        """A picture that arrives in chunks; use it in a ``with`` block."""
        return Incoming(self.folder)

    def put(self, content: bytes | Iterable[bytes]) -> str:
        """Keep a picture (its bytes, or chunks of them) and return its sha256; the same again is no harm.

        Raises WorkbenchError and keeps nothing: 413 beyond 64 MiB or 64 megapixels, 415 for what is no PNG, JPEG,
        WebP, AVIF or GIF by content, 422 for one that is damaged or cut short, DiskFull without room.
        """
        with self.receive() as incoming:
            for chunk in (content,) if isinstance(content, bytes) else content:
                incoming.write(chunk)
            return incoming.finish()

    def get(self, sha256: str) -> Path:
        """The file with these bytes; raises NotFound."""
        if re.fullmatch("[0-9a-f]{64}", sha256):
            path = _place(self.folder, sha256)
            if path.is_file():
                return path
        raise NotFound("There is no input picture of that hash.", "Send the picture again.", code="no_blob")

    def size(self, sha256: str) -> Size:
        """The picture's size upright, by its header alone; raises as ``open`` does."""
        with self.get(sha256).open("rb") as file:
            width, height = picturefile.size_of(file, READABLE, upright=True)
        return Size(width=width, height=height)

    def mask(self, sha256: str) -> Image.Image:
        """The picture as a mask, 8-bit grey: its alpha where that says anything, else its brightness; raises as above.

        A mask painted on a transparent layer and one painted white on black mean the same.
        """
        return picturefile.decode_mask(self.get(sha256), READABLE)

    def mask_range(self, sha256: str) -> tuple[int, int]:
        """The darkest and the lightest value of a mask, 0-255; raises as above. Remembered: content never changes."""
        self.get(sha256)
        if sha256 not in self._ranges:
            low, high = self.mask(sha256).getextrema()
            self._ranges[sha256] = int(cast(float, low)), int(cast(float, high))
            while len(self._ranges) > _RANGES:
                self._ranges.pop(next(iter(self._ranges)))
        return self._ranges[sha256]

    def open(self, sha256: str) -> Image.Image:
        """The picture, decoded: upright, sRGB, 8-bit RGB, alpha laid over white, first frame.

        Raises NotFound, and WorkbenchError as ``put`` does.
        """
        return picturefile.decode(self.get(sha256), READABLE)


def sniff(start: bytes) -> str | None:
    """The media type by a file's first 16 bytes, of the formats that we read; None for anything else."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return "image/avif"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return None


def _check(file: BinaryIO) -> None:
    """Refuse other formats, too many pixels and half files by their structure, before any pixel is decoded."""
    kind = sniff(file.read(_SNIFFED_BYTES))
    if kind is None:
        raise picturefile.unsupported()
    file.seek(0)
    if kind in ("image/png", "image/jpeg", "image/webp") and not picturefile.is_whole(file):
        raise picturefile.damaged()
    file.seek(0)
    picturefile.size_of(file, READABLE)


def _place(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256


@contextmanager
def _disk(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as problem:
        raise atomic.explain(problem, folder) from problem
