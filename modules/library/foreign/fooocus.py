"""Fooocus: a JSON object in the place of the infotext (its "fooocus" scheme; its other one is A1111's text)."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from modules.library.foreign.gathered import Found, items, mapping, with_loras
from modules.library.recall import Recall

_SIZE = re.compile(r"\(?\s*(\d{2,5})\s*[,x×]\s*(\d{2,5})\s*\)?")
_LORA = re.compile(r"(.+) : (-?[\d.]+)")
_USED = frozenset(
    {"prompt", "negative_prompt", "steps", "resolution", "guidance_scale", "base_model", "base_model_hash", "seed",
     "refiner_model", "refiner_switch", "clip_skip", "sampler", "scheduler", "vae", "loras", "metadata_scheme",
     "version", "full_prompt", "full_negative_prompt"}
)  # fmt: skip


def read(texts: Mapping[str, str]) -> Recall | None:
    """The fields of such a picture; None for another's.

    Its styles are lists of words that only it has: the full prompts, which hold them, count where it wrote these.
    """
    data = mapping(texts.get("parameters"))
    if data is None or not ({"base_model", "guidance_scale"} & data.keys() or data.get("metadata_scheme") == "fooocus"):
        return None
    found = Found(str(data.get("version") or "Fooocus"))
    prompt = _joined(data.get("full_prompt")) or _text(data.get("prompt"))
    found.take("prompt", with_loras(prompt, _loras(data)))
    found.take("negative_prompt", _joined(data.get("full_negative_prompt")) or _text(data.get("negative_prompt")))
    found.number("sampling.steps", data.get("steps"), int)
    found.number("sampling.cfg_scale", data.get("guidance_scale"), float)
    found.number("seed", data.get("seed"), int)
    found.number("clip_skip", data.get("clip_skip"), int)
    found.sampler(data.get("sampler"), data.get("scheduler"))
    if size := _SIZE.fullmatch(_text(data.get("resolution")).strip()):
        found.size(int(size[1]), int(size[2]))
    found.model("model.checkpoint", data.get("base_model"))
    if _text(data.get("refiner_model")) not in ("", "None"):
        found.model("refiner.checkpoint", data.get("refiner_model"))
        found.number("refiner.switch_at", data.get("refiner_switch"), float)
    vae = _text(data.get("vae"))
    if vae and not vae.startswith("Default"):
        found.model("vae", vae)
    found.take("noise", "cpu")
    used = _USED | {name for name in data if name.startswith("lora_combined_")}
    found.keep(data, frozenset(used))
    return found.recall(_text(data.get("base_model_hash"))[:64])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _joined(value: Any) -> str:
    """A list of prompts, of which each adds to the one before."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
    texts = [part.strip(" ,") for part in items(value) if isinstance(part, str)]
    return ", ".join(dict.fromkeys(filter(None, texts)))


def _loras(data: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    found: dict[str, float] = {}
    for row in map(items, items(data.get("loras"))):
        if len(row) > 1 and isinstance(row[0], str) and isinstance(row[1], int | float):
            found[row[0]] = float(row[1])
    for name, value in data.items():
        if name.startswith("lora_combined_") and (match := _LORA.fullmatch(_text(value))):
            found.setdefault(match[1], _number(match[2]))
    return [(name, strength, None) for name, strength in found.items()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
