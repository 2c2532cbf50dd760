"""Extensions' own routes, under ``/x/<name>/`` behind the gate; switching one on or off needs no restart."""

import threading

from fastapi import APIRouter, FastAPI

from modules.core.errors import NotFound
from modules.httpapi.answers import Receive, Scope, Send
from modules.httpapi.studio import Studio

PREFIX = "/x/"


class Guests:
    """Finds the application of the extension that an address names; made anew when extensions were switched."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._generation = 0
        self._apps: dict[str, FastAPI] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix(PREFIX).partition("/")[0]
        app = self._current().get(name)
        if app is None:
            raise NotFound(f"No extension named {name!r} has routes.", "Look at the Extensions tab.")
        await app({**scope, "root_path": PREFIX + name}, receive, send)

    def _current(self) -> dict[str, FastAPI]:
        registry = self._studio.extensions
        with self._lock:
            if registry.generation != self._generation:
                self._generation = registry.generation
                self._apps = {}
                for found in registry.active():
                    if found.has("add_routes"):
                        router = APIRouter()
                        registry.program_hooks(self._studio.extension_failed, only=found.name).tell(
                            "add_routes", router=router
                        )
                        self._apps[found.name] = app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
                        app.include_router(router)
            return self._apps
