"""NovelAI: texts named Software, Description and Comment, the last with a JSON object; also hidden in the pixels."""

from collections.abc import Mapping
from typing import Any

from modules.library.foreign.gathered import Found, as_mapping, mapping, rows
from modules.library.recall import Recall

_USED = frozenset(
    {"prompt", "uc", "steps", "scale", "seed", "width", "height", "sampler", "noise_schedule", "cfg_rescale",
     "v4_prompt", "v4_negative_prompt", "strength", "signed_hash"}
)  # fmt: skip
_ROUND = str.maketrans({"(": r"\(", ")": r"\)", "\\": "\\\\", "{": "(", "}": ":1.05)", "[": "(", "]": ":0.952)"})


def read(texts: Mapping[str, str]) -> Recall | None:
    """The fields of such a picture; None for another's.

    Its braces weigh 1.05 and its square brackets 1/1.05; its round ones are text. As A1111 reads it, clip skip is 2 and
    the noise of later draws comes from the seed plus 31337.
    """
    data = mapping(texts.get("Comment"))
    if data is None or not ("NovelAI" in texts.get("Software", "") or {"uc", "scale"} <= data.keys()):
        return None
    found = Found(f"NovelAI {texts.get('Source', '')}".strip())
    prompt = _caption(data, "v4_prompt") or data.get("prompt") or texts.get("Description") or ""
    negative = _caption(data, "v4_negative_prompt") or data.get("uc") or ""
    found.take("prompt", _weighted(prompt))
    found.take("negative_prompt", _weighted(negative))
    found.number("sampling.steps", data.get("steps"), int)
    found.number("sampling.cfg_scale", data.get("scale"), float)
    found.number("seed", data.get("seed"), int)
    found.size(data.get("width"), data.get("height"))
    found.sampler(_sampler(data.get("sampler")), data.get("noise_schedule"))
    found.number("start.denoise_strength", data.get("strength"), float)
    found.take("clip_skip", 2)
    found.take("ensd", 31337)
    rescale = data.get("cfg_rescale")
    if isinstance(rescale, int | float) and 0 < rescale <= 1:
        found.take("extensions", {"rescale-cfg": {"amount": float(rescale)}})
    found.take("noise", "cpu")
    found.keep(data, _USED)
    return found.recall()


def _sampler(name: Any) -> Any:
    return name.removesuffix("_v3") if isinstance(name, str) else None


def _weighted(text: Any) -> str:
    return text.translate(_ROUND) if isinstance(text, str) else ""


def _caption(data: Mapping[str, Any], name: str) -> str:
    """The base caption and those of its characters, in one text."""
    caption = as_mapping((as_mapping(data.get(name)) or {}).get("caption")) or {}
    more = [row.get("char_caption") for row in rows(caption.get("char_captions"))]
    texts = [caption.get("base_caption"), *more]
    return ", ".join(text for text in texts if isinstance(text, str) and text)
