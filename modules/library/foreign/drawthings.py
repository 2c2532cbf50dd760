"""Draw Things: a JSON object as the EXIF comment inside the picture's XMP packet."""

import html
import re
from collections.abc import Mapping
from typing import Any

from modules.library.foreign.gathered import Found, mapping, numbered, rows, with_loras
from modules.library.recall import Recall

_COMMENT = re.compile(r"<exif:UserComment>(?P<inner>.{1,1000000}?)</exif:UserComment>", re.DOTALL)
_ITEM = re.compile(r"<rdf:li[^>]*>(?P<text>.*?)</rdf:li>", re.DOTALL)
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")
_USED = frozenset({"c", "uc", "seed", "steps", "scale", "size", "sampler", "model", "lora", "strength", "v2"})
_SAMPLERS = {
    "Euler A": "Euler a", "Euler Ancestral": "Euler a", "DPM++ SDE Karras": "DPM++ SDE Karras",
    "DPM++ 2M AYS": "DPM++ 2M", "UniPC": "UniPC", "LCM": "LCM",
}  # fmt: skip


def read(texts: Mapping[str, str]) -> Recall | None:
    """The fields of such a picture; None for another's."""
    data = _comment(texts.get("XML:com.adobe.xmp", ""))
    if data is None or not {"c", "scale"} <= data.keys():
        return None
    found = Found("Draw Things")
    found.take("prompt", with_loras(str(data.get("c") or ""), _loras(data.get("lora"))))
    found.take("negative_prompt", str(data.get("uc") or ""))
    found.number("sampling.steps", data.get("steps"), int)
    found.number("sampling.cfg_scale", data.get("scale"), float)
    found.number("seed", data.get("seed"), int)
    if size := _SIZE.fullmatch(str(data.get("size") or "")):
        found.size(int(size[1]), int(size[2]))
    sampler = data.get("sampler")
    found.sampler(_SAMPLERS.get(sampler, sampler) if isinstance(sampler, str) else None)
    found.model("model.checkpoint", data.get("model"))
    if numbered(data.get("strength")) < 1:
        found.number("start.denoise_strength", data.get("strength"), float)
    found.keep(data, _USED)
    return found.recall()


def _comment(xmp: str) -> dict[str, Any] | None:
    match = _COMMENT.search(xmp)
    if match is None:
        return None
    item = _ITEM.search(match["inner"])
    return mapping(html.unescape((item["text"] if item else match["inner"]).strip()))


def _loras(value: Any) -> list[tuple[str, float, float | None]]:
    named = [row for row in rows(value) if isinstance(row.get("model"), str)]
    return [(row["model"], numbered(row.get("weight")), None) for row in named]
