"""Finished pictures become files: named, described, written whole, and entered into the gallery."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.library import atomic, infotext, metadata, picturefile, thumbnails, trash
from modules.library.index import Gallery
from modules.library.pictures import Entry, identify

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

FOLDER = "txt2img-images"
UNINDEXED_MOST = 1_000


@dataclass(frozen=True)
class Saved:
    """A picture that is a file: ``path`` stays inside the program; ``warnings`` say what went otherwise than asked."""

    id: str
    path: Path
    width: int
    height: int
    warnings: tuple[WorkbenchError, ...] = ()


class Outputs:
    """Writes finished pictures to outputs/txt2img-images/<date>/<number>-<seed>.<format>.

    ``settings`` may be replaced at any time: format and quality are those at the moment of saving. Safe to use from
    any thread.
    """

    def __init__(self, gallery: Gallery, settings: Settings) -> None:
        self.gallery = gallery
        self.settings = settings
        self.folder = gallery.outputs
        self._device = self.folder.stat().st_dev
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._indexing = threading.Lock()
        self._unindexed: deque[Entry] = deque(maxlen=UNINDEXED_MOST)

    def save(
        self,
        pixels: bytes | NDArray[uint8],
        *,
        request: GenerationRequest,
        facts: Mapping[str, Any],
        picture: int,
        seed: int,
        job: str,
        elapsed_s: float,
        width: int | None = None,
        height: int | None = None,
        parents: Sequence[tuple[str, str]] = (),
    ) -> Saved:
        """Write one picture and its row: part file, fsync, rename, fsync of the folder, then the row.

        ``pixels`` is 8-bit RGB, [height width 3] or the same as bytes (then ``width`` and ``height`` are needed);
        ``facts`` what happened beyond the request (model, hash); ``parents`` (id or sha256, role) of what it was made
        from beside the request's own inputs. Metadata, thumbnail or index that fail become warnings: the picture
        itself is never lost to them.
        Raises DiskFull or WorkbenchError "not_writable" and then leaves nothing behind: save the same pixels again.
        """
        index = 0 if request.sheet else picture  # a cell is a request of one picture
        request = request.at(picture)
        image = _image(pixels, width, height)
        parents = (*request.parents(), *parents)
        self._find_disk()
        now = time.time()
        told = {**{name: _as_json(fact) for name, fact in facts.items()}, "elapsed_s": round(elapsed_s, 3)}
        record = {
            "request": request.model_dump(mode="json"), "seed": seed, "picture": picture, "job": job,
            "created_at": now, "facts": told, "parents": [list(pair) for pair in parents],
        }  # fmt: skip
        format = cast(picturefile.Format, self.settings.image_format)
        format = picturefile.fitting(format, image.width, image.height)
        data, text, warnings = self._encode(image, format, request, record, index)
        path = self._write(data, format, seed)
        stat = (self.folder / path).stat()
        entry = Entry(
            path=path, width=image.width, height=image.height, created_at=now, size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns, seed=seed, request=request, infotext=text, facts=told, job=job,
            picture=picture, new=True, parents=parents,
        )  # fmt: skip
        warnings += self._index(entry) + self._draw_thumbnail(image, entry.id)
        return Saved(entry.id, self.folder / path, image.width, image.height, tuple(warnings))

    def probe(self) -> None:
        """Whether pictures can be written at all; asked before the work that would be lost.

        Raises WorkbenchError "not_writable" for a folder that refuses, or whose disk is gone: then nothing is written
        into the empty place where it was mounted.
        """
        self._find_disk()
        part = atomic.part_of(self.folder / "probe")
        try:
            part.touch()
            part.unlink()
        except OSError as problem:
            raise atomic.explain(problem, self.folder) from problem

    def _find_disk(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            device = self.folder.stat().st_dev
        except OSError as problem:
            raise atomic.explain(problem, self.folder) from problem
        if device != self._device:
            raise WorkbenchError(
                "The disk of the outputs folder is not connected.", "Connect it, or restart Atelier.",
                code="not_writable", status=500,
            )  # fmt: skip

    def _encode(
        self,
        image: Image.Image,
        format: picturefile.Format,
        request: GenerationRequest,
        record: dict[str, Any],
        index: int,
    ) -> tuple[bytes, str, list[WorkbenchError]]:
        quality, text, warnings = self.settings.image_quality, "", list[WorkbenchError]()
        try:
            text = infotext.write(request, record["facts"], index)
        except (WorkbenchError, ValueError, TypeError, LookupError) as problem:
            warnings.append(_without_settings(problem))
        try:
            options, said = metadata.pack(format, text, record)
            return picturefile.encode(image, format, quality, options), text, [*warnings, *said]
        except (ValueError, TypeError, RecursionError, struct.error) as problem:
            return picturefile.encode(image, format, quality, {}), text, [*warnings, _without_settings(problem)]

    def _write(self, data: bytes, format: picturefile.Format, seed: int) -> str:
        """Write under the next free name; returns the path relative to the outputs folder."""
        folder = f"{FOLDER}/{datetime.now():%Y-%m-%d}"
        suffix = {"png": "png", "jpeg": "jpg", "webp": "webp"}[format]
        while True:
            path = f"{folder}/{self._next_number(folder):05d}-{seed}.{suffix}"
            if not self._is_taken(path):
                break
        atomic.write(self.folder / path, data)
        return path

    def _is_taken(self, path: str) -> bool:
        """Whether a picture has or had this name: ids follow from names, so one in the trash keeps its own."""
        if (self.folder / path).exists() or (self.folder / trash.FOLDER / path).exists():
            return True
        try:
            return self.gallery.knows(identify(path))
        except (WorkbenchError, sqlite3.Error):
            return False  # a broken index costs no picture; it will be built anew from the files

    def _next_number(self, folder: str) -> int:
        """One more than the largest number in the folder; the folder is listed once, then counted in memory."""
        with self._lock:
            if folder not in self._numbers:
                place = self.folder / folder
                names = os.listdir(place) if place.is_dir() else []
                numbers = [int(head) for name in names if (head := name.partition("-")[0]).isdecimal()]
                self._numbers[folder] = max((number for number in numbers if number < 10**9), default=0)
            self._numbers[folder] += 1
            return self._numbers[folder]

    def _index(self, entry: Entry) -> list[WorkbenchError]:
        """Enter this picture and those that found no room earlier; what fails is tried again at the next save."""
        with self._indexing:
            self._unindexed.append(entry)
            while self._unindexed:
                try:
                    self.gallery.add(self._unindexed[0])
                except (WorkbenchError, sqlite3.Error, OSError) as problem:  # the file is whole all the same
                    return [
                        WorkbenchError(
                            f"The picture is saved but not yet in the gallery: {problem}",
                            "It appears there as soon as the index can be written.",
                            code="index_failed",
                        )
                    ]
                self._unindexed.popleft()
        return []

    def _draw_thumbnail(self, image: Image.Image, id: str) -> list[WorkbenchError]:
        try:
            thumbnails.write(image, thumbnails.place(self.gallery.thumbnails, id))
        except (WorkbenchError, OSError, ValueError) as problem:
            return [
                WorkbenchError(
                    f"The picture is saved without its thumbnail: {problem}",
                    "It is drawn when the gallery shows it.",
                    code="thumbnail_failed",
                )
            ]
        return []


def _as_json(fact: Any) -> Any:
    """A fact that JSON can hold as it is, any other as text: an extension's odd value must not cost the metadata."""
    try:
        json.dumps(fact, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(fact)
    return fact


def _without_settings(problem: Exception) -> WorkbenchError:
    return WorkbenchError(
        f"The picture was saved without all of its settings inside: {type(problem).__name__}.",
        "The gallery still knows them.",
        code="metadata_failed",
    )


def _image(pixels: bytes | NDArray[uint8], width: int | None, height: int | None) -> Image.Image:
    if not isinstance(pixels, bytes):
        return Image.fromarray(pixels)
    if width is None or height is None or len(pixels) != width * height * 3:
        raise WorkbenchError(
            f"{len(pixels)} bytes are not {width} x {height} pixels of 3 bytes.",
            "Send 8-bit RGB, row by row.",
            code="bad_pixels",
            status=500,
        )
    return Image.frombytes("RGB", (width, height), pixels)
