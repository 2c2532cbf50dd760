"""Our own modules and styles, served under a name that holds their contents' hash, so that browsers keep them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".webp": "image/webp", ".svg": "image/svg+xml"}


class Static:
    """All files of ``static/`` in memory; ``version`` changes with any of them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in TYPES
        }
        digest = hashlib.sha256()
        for name, content in self._files.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Where the browser finds a file; raises KeyError for one that is not there."""
        if name not in self._files:
            raise KeyError(name)
        return self.root + name

    @property
    def root(self) -> str:
        """The folder's address, with a slash at the end."""
        return f"/static/{self.version}/"

    def modules(self) -> list[str]:
        """Every module of the page, so that the browser asks for all of them at once.

        Workers load themselves, and what others wrote is loaded where it is first used.
        """
        own = [name for name in self._files if name.endswith(".js") and not name.startswith("vendor/")]
        return [name for name in own if not name.endswith("worker.js")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET ``/static/<version>/<name>``; another version's files are gone."""
        _, _, version, name = scope["path"].split("/", 3) if scope["path"].count("/") >= 3 else ("", "", "", "")
        content = self._files.get(name)
        if content is None or version != self.version:
            await Response("Not found", 404, media_type="text/plain")(scope, receive, send)
            return
        kind = TYPES[Path(name).suffix]
        headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
        await Response(content, 200, headers, kind)(scope, receive, send)
