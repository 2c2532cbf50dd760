"""What the readers share: JSON that may be anything, names of samplers and schedules elsewhere, and tags of LoRAs."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from modules.core import strictjson
from modules.core.errors import BadValue, WorkbenchError
from modules.core.sampling import split_sampler_name
from modules.library.recall import Gathering, Recall

# k-diffusion's words as ComfyUI, Fooocus and NovelAI write them, without "k_" in front and "_gpu" behind.
SAMPLERS: Final = {
    "euler": "Euler", "euler_ancestral": "Euler a", "euler_a": "Euler a", "heun": "Heun", "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a", "kdpm_2": "DPM2", "kdpm_2_a": "DPM2 a", "lms": "LMS", "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive", "dpmpp_2s_ancestral": "DPM++ 2S a", "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun", "dpmpp_3m_sde": "DPM++ 3M SDE", "ddim": "DDIM", "plms": "PLMS",
    "pndm": "PLMS", "uni_pc": "UniPC", "unipc": "UniPC", "uni_pc_bh2": "UniPC", "lcm": "LCM", "restart": "Restart",
    "ddpm": "Euler a", "tcd": "TCD", "deis": "DEIS", "ipndm": "IPNDM", "ipndm_v": "IPNDM_V", "heunpp2": "HeunPP2",
    "gradient_estimation": "Gradient Estimation", "euler_cfg_pp": "Euler CFG++",
    "euler_ancestral_cfg_pp": "Euler a CFG++", "dpmpp_2s_ancestral_cfg_pp": "DPM++ 2S a CFG++",
}  # fmt: skip
SCHEDULES: Final = {
    "normal": "Normal", "native": "Automatic", "karras": "Karras", "exponential": "Exponential",
    "polyexponential": "Polyexponential", "sgm_uniform": "SGM Uniform", "simple": "Simple", "ddim_uniform": "DDIM",
    "beta": "Beta", "kl_optimal": "KL Optimal", "align_your_steps": "Align Your Steps",
    "linear_quadratic": "Linear Quadratic", "turbo": "Turbo",
}  # fmt: skip
_SUFFIX: Final = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|sft|gguf)$", re.IGNORECASE)
_UNREAL: Final = re.compile(r"(?<=[:\[,])\s*-?(?:NaN|Infinity)(?=\s*[,\]}])")
_LEFT_MOST: Final = 200  # characters of a value that is only shown


class Found(Gathering):
    """Fields as they are found; what is not used is kept as text."""

    def __init__(self, made_by: str) -> None:
        super().__init__()
        self.made_by = made_by
        self.unknown: dict[str, str] = {}

    def number(self, path: str, value: Any, kind: type[int] | type[float]) -> None:
        """A number, which some programs write as text; anything else is passed over."""
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        if kind is float:
            self.take(path, float(value))
        elif value == value // 1:
            self.take(path, int(value))

    def text(self, path: str, value: Any) -> None:
        """A text that says something."""
        if isinstance(value, str) and value:
            self.take(path, value)

    def size(self, width: Any, height: Any) -> None:
        """Both sides, or none."""
        if isinstance(width, int) and isinstance(height, int):
            self.take("size.width", width, "size.height", height)

    def model(self, path: str, name: Any) -> None:
        """A checkpoint by its file's name, without folders and suffix."""
        if isinstance(name, str) and name:
            self.take(path, stem(name))

    def sampler(self, name: Any, schedule: Any = None, prefix: str = "sampling.") -> None:
        """Sampler and schedule by their words elsewhere; a sampler that there is none of here is a warning."""
        if not isinstance(name, str) or not name:
            return
        word = name.lower().removeprefix("k_").removesuffix("_gpu")
        word = word if word in SAMPLERS else word.removesuffix("_cfg_pp")
        plain, split = split_sampler_name(name)
        self.take(prefix + "sampler", SAMPLERS.get(word, plain))
        if isinstance(schedule, str) and schedule:
            self.take(prefix + "schedule", SCHEDULES.get(schedule.lower(), schedule))
        elif split:
            self.take(prefix + "schedule", split)

    def keep(self, data: Mapping[str, Any], used: frozenset[str]) -> None:
        """What was not used, as short text."""
        for name, value in data.items():
            if name not in used and value not in (None, "", [], {}, False):
                shown = value if isinstance(value, str) else strictjson.dumps(value)
                self.unknown[str(name)[:60]] = shown[:_LEFT_MOST]

    def recall(self, model_hash: str = "") -> Recall:
        """All of it."""
        return Recall(self.fields, self.unknown, tuple(self.warnings), model_hash, self.made_by)


def mapping(text: str | None) -> dict[str, Any] | None:
    """A text that is a JSON object; None for any other. Programs write NaN, which is read as nothing."""
    if not text or not text.lstrip().startswith("{"):
        return None
    for tried in (text, _UNREAL.sub("null", text)):
        try:
            return as_mapping(strictjson.loads(tried))
        except WorkbenchError:
            continue
    return None


def as_mapping(value: Any) -> dict[str, Any] | None:
    """A value that is a mapping; None for any other."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def items(value: Any) -> list[Any]:
    """A list's items; none of what is no list."""
    return cast(list[Any], value) if isinstance(value, list) else []


def rows(value: Any) -> list[dict[str, Any]]:
    """A list's items that are mappings."""
    return [row for item in items(value) if (row := as_mapping(item)) is not None]


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return _SUFFIX.sub("", re.split(r"[\\/]", name)[-1])


def with_loras(prompt: str, loras: list[tuple[str, float, float | None]]) -> str:
    """The prompt with tags of LoRAs: name, strength for the network, and (None: the same) for the text encoder."""
    tags = [
        f"<lora:{stem(name)}:{_number(strength)}>"
        if encoder is None or encoder == strength
        else f"<lora:{stem(name)}:{_number(encoder)}:{_number(strength)}>"
        for name, strength, encoder in loras
        if strength or encoder
    ]
    return ", ".join(filter(None, [prompt.rstrip(" ,"), " ".join(tags)])) if tags else prompt


def numbered(value: Any, default: float = 1.0) -> float:
    """A number, or the default."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def unreadable(what: str) -> BadValue:
    """A warning that part of what was written could not be understood."""
    return BadValue(f"{what} could not be understood.", "It is left out.", code="foreign_settings")


def _number(value: float) -> str:
    return f"{value:.4g}"
