"""The lists that A1111's clients ask for: samplers, models, upscalers, styles, networks, scripts."""

from collections.abc import Callable
from typing import Any

import psutil
from fastapi import APIRouter

from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.core.upscaling import UPSCALERS
from modules.httpapi import sdscripts
from modules.httpapi.memory import told
from modules.httpapi.studio import Studio
from modules.httpapi.wire import Json

# Things that this program does not have: clients ask for the lists and find them empty.
EMPTY_LISTS = ("hypernetworks", "face-restorers", "realesrgan-models")
DEFAULT_RHO = {"Karras": 7.0, "Polyexponential": 1.0}  # of the schedules that a rho bends; -1 of the others


def router(studio: Studio) -> APIRouter:
    """The routes of the lists, below the dialect's own prefix."""
    made = APIRouter()
    _add_sampling(made, studio)
    _add_models(made, studio)
    _add_about(made, studio)
    for name in EMPTY_LISTS:
        made.add_api_route(f"/{name}", _empty(name), methods=["GET"], description=f"There are no {name} here.")
    return made


def title(checkpoint: Any) -> str:
    """A checkpoint as A1111 titles it."""
    return f"{checkpoint.name} [{checkpoint.short_hash}]" if checkpoint.short_hash else checkpoint.name


def _add_sampling(made: APIRouter, studio: Studio) -> None:
    @made.get("/samplers")
    def samplers() -> Json:
        """The samplers."""
        return Json([{"name": row.name, "aliases": list(row.aliases), "options": {}} for row in SAMPLERS])

    @made.get("/schedulers")
    def schedulers() -> Json:
        """The schedules."""
        rows = [
            {"name": row.id, "label": row.name, "aliases": list(row.aliases) or None,
             "default_rho": DEFAULT_RHO.get(row.name, -1), "need_inner_model": False}
            for row in SCHEDULES
        ]  # fmt: skip
        return Json(rows)

    @made.get("/upscalers")
    def upscalers() -> Json:
        """What enlarges pictures; ``scale`` is what it enlarges by in one go."""
        rows = [{"name": row.name, "model_name": None, "model_path": None, "model_url": None, "scale": row.factor or 4}
                for row in UPSCALERS if not row.latent]  # fmt: skip
        return Json(rows)

    @made.get("/latent-upscale-modes")
    def modes() -> Json:
        """How latents are enlarged."""
        return Json([{"name": row.name} for row in UPSCALERS if row.latent])

    @made.get("/prompt-styles")
    def styles() -> Json:
        """The styles of all files."""
        rows = [{"name": row.name, "prompt": row.prompt, "negative_prompt": row.negative_prompt}
                for row in studio.phrases.styles().values()]  # fmt: skip
        return Json(rows)


def _add_models(made: APIRouter, studio: Studio) -> None:
    @made.get("/sd-models")
    def models() -> Json:
        """The checkpoints that can be used; ``filename`` is a name, never a path."""
        rows = [
            {"title": title(one), "model_name": one.name, "hash": one.short_hash or None, "sha256": one.sha256,
             "filename": one.path.name, "config": None}
            for one in studio.checkpoints.list() if not one.problem
        ]  # fmt: skip
        return Json(rows)

    @made.get("/sd-vae")
    def vaes() -> Json:
        """The autoencoders that lie in files of their own; ``filename`` is a name, never a path."""
        return Json([{"model_name": one.name, "filename": one.path.name} for one in studio.checkpoints.vaes.list()])

    @made.get("/loras")
    def loras() -> Json:
        """The LoRAs by the names that prompts use; ``path`` is a name, never a path."""
        rows = [{"name": one.name, "alias": one.alias, "path": one.path.name, "metadata": {}}
                for one in studio.checkpoints.adapters.list("lora") if not one.problem]  # fmt: skip
        return Json(rows)

    @made.get("/embeddings")
    def embeddings() -> Json:
        """The textual inversions by the words that prompts use."""
        found = studio.checkpoints.adapters.list("embedding")
        about = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
        sizes = {one.name: next(iter(one.facts.embeddings.values()), (None, {})) if one.facts else (None, {})
                 for one in found}  # fmt: skip
        named = {name: {**about, "shape": next(iter(widths.values()), None), "vectors": vectors}
                 for name, (vectors, widths) in sizes.items()}  # fmt: skip
        usable = {one.name for one in found if not one.problem}
        return Json({"loaded": {name: row for name, row in named.items() if name in usable},
                     "skipped": {name: row for name, row in named.items() if name not in usable}})  # fmt: skip

    @made.post("/refresh-checkpoints")
    def refresh() -> Json:
        """Look at the model folders now."""
        studio.checkpoints.refresh()
        return Json(None)

    for name in ("refresh-vae", "refresh-loras", "refresh-embeddings"):
        made.add_api_route(f"/{name}", _look(studio, name), methods=["POST"], description="Look at their folders now.")


def _add_about(made: APIRouter, studio: Studio) -> None:
    @made.get("/scripts")
    def scripts() -> Json:
        """The titles of what ``alwayson_scripts`` takes, in lower case."""
        return Json(sdscripts.titles(studio.extensions))

    @made.get("/script-info")
    def script_info() -> Json:
        """The same with their fields, in the order in which ``alwayson_scripts`` gives their values."""
        return Json(sdscripts.info(studio.extensions))

    @made.get("/extensions")
    def extensions() -> Json:
        """The extensions that are there, without any folder."""
        rows = [{"name": row.name, "remote": "", "branch": "", "commit_hash": "", "version": "", "commit_date": 0,
                 "enabled": row.enabled} for row in studio.extensions.all()]  # fmt: skip
        return Json(rows)

    @made.get("/memory")
    def memory() -> Json:
        """The computer's memory in bytes, and the device's as the engine last told."""
        ram, engine = psutil.virtual_memory(), told(studio)
        free, total = engine["free_bytes"], engine["total_bytes"]
        held = sum(part["bytes"] for one in engine["held"] for part in one["parts"] if part["place"] == "device")
        cuda: dict[str, Any] = (
            {"system": {"free": free, "used": total - free, "total": total}, "allocated": {"current": held}}
            if total
            else {"error": "there is no such device"}
        )
        return Json({"ram": {"free": ram.available, "used": ram.total - ram.available, "total": ram.total},
                     "cuda": cuda})  # fmt: skip


def _empty(name: str) -> Callable[[], Json]:
    def nothing() -> Json:
        return Json([])

    nothing.__name__ = name.replace("-", "_")
    return nothing


def _look(studio: Studio, name: str) -> Callable[[], Json]:
    def look() -> Json:
        studio.checkpoints.refresh()
        studio.checkpoints.adapters.refresh()
        return Json(None)

    look.__name__ = name.replace("-", "_")
    return look
