"""What a merged checkpoint says of its making, under the keys that A1111 writes and model sites read."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from modules.core.merging import MergeRequest
from modules.library.checkpoints import Checkpoint

RECIPE: Final = "sd_merge_recipe"
MODELS: Final = "sd_merge_models"
_METHODS: Final = {"weighted": "Weighted sum", "difference": "Add difference", "none": "No interpolation"}
_LEGACY_START, _LEGACY_BYTES = 0x100000, 0x10000  # what the first web UIs hashed of a file


class Baked(NamedTuple):
    """A LoRA in the recipe: its name, its file's hash where known, its strengths."""

    name: str
    sha256: str | None
    unet: float
    te: float


def metadata(
    request: MergeRequest, sources: Sequence[tuple[Checkpoint, str | None]], loras: Sequence[Baked], family: str
) -> dict[str, str]:
    """The result's metadata: the recipe with the sources' hashes, the sources with their own recipes, the modelspec.

    ``sources`` are the checkpoints with their sha256, A first. Of A's own modelspec what decides how the model is used
    is kept; that it predicts v counts also where only its user said so.
    """
    hashes = [sha256 for _, sha256 in sources] + [None] * (3 - len(sources))
    recipe: dict[str, Any] = {
        "type": "atelier",
        "primary_model_hash": hashes[0], "secondary_model_hash": hashes[1], "tertiary_model_hash": hashes[2],
        "interp_method": _METHODS[request.method], "multiplier": request.amount, "custom_name": request.name,
        "save_as_half": request.precision == "fp16", "bake_in_vae": request.vae or None, "discard_weights": "",
        "is_inpainting": sources[0][0].variant == "inpaint", "is_instruct_pix2pix": sources[0][0].variant == "edit",
        "precision": request.precision,
    }  # fmt: skip
    if request.blocks:
        recipe["block_weights"] = list(request.blocks)
    if loras:
        recipe["loras"] = [one._asdict() for one in loras]
    first = sources[0][0]
    kept = {key: first.metadata[key] for key in ("modelspec.architecture", "modelspec.resolution")
            if key in first.metadata}  # fmt: skip
    if first.is_chosen or "modelspec.prediction_type" in first.metadata:
        kept["modelspec.prediction_type"] = {"eps": "epsilon"}.get(first.prediction, first.prediction)
    return {
        "format": "pt", "modelspec.title": request.name, **kept,
        RECIPE: json.dumps(recipe, ensure_ascii=False),
        MODELS: json.dumps(_models(sources), ensure_ascii=False),
    }  # fmt: skip


def _models(sources: Sequence[tuple[Checkpoint, str | None]]) -> dict[str, Any]:
    """Every source by its hash, with what it was itself merged from."""
    found: dict[str, Any] = {}
    for checkpoint, sha256 in sources:
        if sha256 is None:
            continue
        found[sha256] = {
            "name": f"{checkpoint.name}.safetensors", "legacy_hash": legacy_hash(checkpoint.path),
            RECIPE: _json(checkpoint.metadata, RECIPE) or None,
        }  # fmt: skip
        found |= _json(checkpoint.metadata, MODELS)
    return found


def legacy_hash(path: Path) -> str:
    """The eight digits by which the first web UIs told files apart; empty where there is no such file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(_LEGACY_START)
        return hashlib.sha256(file.read(_LEGACY_BYTES)).hexdigest()[:8]
    return ""


def _json(said: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        found = json.loads(said.get(key, "null"))
    except ValueError:
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
