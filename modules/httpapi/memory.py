"""What lies in memory, over HTTP: the engine's models part by part, the computer's memory, and letting it go."""

from typing import Any

import psutil
from fastapi import APIRouter

from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json


def told(studio: Studio) -> dict[str, Any]:
    """The ledger: what the engine last said of its models and device, both processes' and the computer's memory."""
    about = studio.engine.describe()
    engine, ram = about.get("told", {}), psutil.virtual_memory()
    return {
        "device": about["device"],
        "free_bytes": engine.get("free_bytes", 0),
        "total_bytes": engine.get("total_bytes", 0),
        "held": engine.get("held", []),
        "engine_bytes": about["rss_bytes"],
        "page_bytes": psutil.Process().memory_info().rss,
        "computer": {"free_bytes": ram.available, "total_bytes": ram.total},
    }


def router(studio: Studio) -> APIRouter:
    """The routes of the ledger."""
    made = APIRouter(prefix="/api/v1", tags=["program"])

    @made.get("/memory")
    def memory() -> Json:
        """Every loaded model with its parts' bytes and places, and what is left of the device and the computer."""
        return Json(told(studio))

    @made.post("/memory/free")
    def free() -> Json:
        """Let every loaded model go once no job runs; the event ``engine`` tells when that was done."""
        studio.engine.free()
        return Json({})

    return made
