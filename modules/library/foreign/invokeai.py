"""InvokeAI: a JSON object in the text "invokeai_metadata", in early versions in "sd-metadata"."""

import re
from collections.abc import Mapping
from typing import Any

from modules.library.foreign.gathered import Found, as_mapping, mapping, numbered, rows, with_loras
from modules.library.recall import Recall

_USED = frozenset(
    {"positive_prompt", "negative_prompt", "width", "height", "seed", "cfg_scale", "steps", "scheduler", "model", "vae",
     "loras", "clip_skip", "strength", "app_version", "cfg_rescale_multiplier"}
)  # fmt: skip
_SIGNS = re.compile(r"(?P<what>\([^()]*\)|[^\s,()]+?)(?P<how>\++|-+|(?<=\))\d*\.?\d+)(?=[\s,)]|$)")
_SIDE = re.compile(r"\[([^\[\]]*)\]")


def read(texts: Mapping[str, str]) -> Recall | None:
    """The fields of such a picture; None for another's. Weights like ``word++`` and ``(words)1.2`` become ours."""
    data = mapping(texts.get("invokeai_metadata"))
    if data is None:
        return _early(mapping(texts.get("sd-metadata")))
    found = Found(f"InvokeAI {data.get('app_version') or ''}".strip())
    found.take("prompt", with_loras(_weighted(data.get("positive_prompt")), _loras(data.get("loras"))))
    found.take("negative_prompt", _weighted(data.get("negative_prompt")))
    found.number("sampling.steps", data.get("steps"), int)
    found.number("sampling.cfg_scale", data.get("cfg_scale"), float)
    found.number("seed", data.get("seed"), int)
    found.size(data.get("width"), data.get("height"))
    _scheduler(found, data.get("scheduler"))
    found.model("model.checkpoint", _named(data.get("model")))
    found.model("vae", _named(data.get("vae")))
    found.take("clip_skip", 1 + int(numbered(data.get("clip_skip"), 0)))
    found.number("start.denoise_strength", data.get("strength"), float)
    rescale = numbered(data.get("cfg_rescale_multiplier"), 0)
    if 0 < rescale <= 1:
        found.take("extensions", {"rescale-cfg": {"amount": rescale}})
    found.take("noise", "cpu")
    found.keep(data, _USED)
    return found.recall(_hash(data.get("model")))


def _early(data: Mapping[str, Any] | None) -> Recall | None:
    said = as_mapping(data.get("image")) if data else None
    if data is None or said is None:
        return None
    found = Found(f"InvokeAI {data.get('app_version') or ''}".strip())
    prompt = next((row.get("prompt") for row in rows(said.get("prompt"))), said.get("prompt"))
    text = prompt if isinstance(prompt, str) else ""
    negatives = _SIDE.findall(text)  # a negative prompt stood in square brackets then
    found.take("prompt", _weighted(_SIDE.sub("", text).strip(" ,")))
    found.take("negative_prompt", _weighted(", ".join(negatives)))
    found.number("sampling.steps", said.get("steps"), int)
    found.number("sampling.cfg_scale", said.get("cfg_scale"), float)
    found.number("seed", said.get("seed"), int)
    found.size(said.get("width"), said.get("height"))
    _scheduler(found, said.get("sampler"))
    found.model("model.checkpoint", data.get("model_weights"))
    found.take("noise", "cpu")
    return found.recall()


def _scheduler(found: Found, name: Any) -> None:
    """``_k`` behind a name is Karras' schedule."""
    if isinstance(name, str):
        is_karras = name.endswith("_k")
        found.sampler(name.removesuffix("_k"), "karras" if is_karras else "normal")


def _named(value: Any) -> Any:
    said = as_mapping(value)
    return value if said is None else said.get("name") or said.get("model_name")


def _hash(model: Any) -> str:
    digest = (as_mapping(model) or {}).get("hash")
    sha256 = digest.removeprefix("sha256:") if isinstance(digest, str) else ""
    return sha256 if re.fullmatch("[0-9a-f]{8,64}", sha256) else ""


def _loras(value: Any) -> list[tuple[str, float, float | None]]:
    named = [(_named(row.get("model") or row.get("lora")), row) for row in rows(value)]
    return [(name, numbered(row.get("weight")), None) for name, row in named if isinstance(name, str)]


def _weighted(text: Any) -> str:
    """Compel's weights as ours: a plus is 1.1, a minus 0.9, a number behind a bracket itself."""

    def ours(match: re.Match[str]) -> str:
        what, how = match["what"].strip("()"), match["how"]
        weight = 1.1 ** len(how) if how[0] == "+" else 0.9 ** len(how) if how[0] == "-" else float(how)
        return f"({what}:{weight:.4g})"

    return _SIGNS.sub(ours, text) if isinstance(text, str) else ""
