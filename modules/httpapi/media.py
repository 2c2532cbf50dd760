"""Pictures and their small versions by id, kept by browsers for good; and input pictures taken in by their content."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from modules.core.errors import WorkbenchError
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json, checked_id

# Only these are shown in a page; a picture file's type comes from its first bytes, never from its name.
_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", "png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", "jpg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", "webp"),
)
POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
FOR_GOOD = "private, max-age=31536000, immutable"


def sniffed(file: Path) -> tuple[str, str] | None:
    """(media type, suffix) of a PNG, JPEG or WebP file; None for anything else."""
    with file.open("rb") as opened:
        head = opened.read(16)
    return next(((kind, suffix) for mark, kind, suffix in _SIGNATURES if mark.match(head)), None)


def router(studio: Studio) -> APIRouter:
    """The routes of pictures and blobs."""
    made = APIRouter(tags=["pictures"])

    @made.get("/media/{id}")
    def full(request: Request, id: str, download: Annotated[bool, Query()] = False) -> Response:
        """A picture's file; ``?download=1`` saves it under a plain name."""
        return file_answer(request, studio.gallery.path(checked_id(id)), f"atelier-{id}" if download else None)

    @made.get("/media/{id}/share")
    def share(id: str) -> Response:
        """The same pixels without a word about how, when or with what they were made, to save and give away."""
        data, kind = studio.gallery.share_copy(checked_id(id))
        name = f'attachment; filename="picture.{kind.rpartition("/")[2].replace("jpeg", "jpg")}"'
        kept = {"cache-control": "no-store", "content-security-policy": POLICY, "content-disposition": name}
        return Response(data, media_type=kind, headers=kept)

    @made.get("/media/{id}/thumb")
    def thumb(request: Request, id: str) -> Response:
        """The picture, at most 448 pixels a side."""
        return file_answer(request, studio.gallery.thumbnail(checked_id(id)), None)

    @made.put("/api/v1/blobs", status_code=201, openapi_extra=_TAKES_BYTES)
    async def blob(request: Request) -> Json:
        """Take in an input picture (the body is its bytes); requests refer to it by the sha256 in the answer."""
        with await run_in_threadpool(studio.blobs.receive) as incoming:
            async for piece in request.stream():
                await run_in_threadpool(incoming.write, piece)
            return Json({"sha256": await run_in_threadpool(incoming.finish)}, 201)

    @made.get("/api/v1/blobs/{sha256}")
    def kept(request: Request, sha256: str) -> Response:
        """An input picture's own bytes."""
        return file_answer(request, studio.blobs.get(sha256), None)

    return made


def file_answer(request: Request, file: Path, name: str | None) -> Response:
    """A picture file for a browser to keep, its type told by its bytes; raises WorkbenchError for any other file."""
    stat = file.stat()
    etag = f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
    kept = {"etag": etag, "cache-control": FOR_GOOD, "content-security-policy": POLICY}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=kept)
    kind = sniffed(file)
    if kind is None:
        raise WorkbenchError(
            "This file is not a PNG, JPEG or WebP picture.", "Open it outside the program.", code="picture_damaged",
            status=415,
        )  # fmt: skip
    if name is not None:
        kept["content-disposition"] = f'attachment; filename="{quote(name, safe="-_")}.{kind[1]}"'
    return FileResponse(file, media_type=kind[0], headers=kept, stat_result=stat)


_TAKES_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
