"""A1111's options that mean something here: their names, their words, and the request's field that each decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.library.infotextkeys import EMPHASIS
from modules.library.recall import overlay

CHECKPOINT: Final = "sd_model_checkpoint"
FORMAT: Final = "samples_format"
CLIP_SKIP: Final = "CLIP_stop_at_last_layers"
ETAS: Final = ("eta_ddim", "eta_ancestral")  # of DDIM and of samplers that draw noise, where a payload gives no eta
SKIPS: Final = ("s_min_uncond", "s_min_uncond_all", "skip_early_cond")  # extensions do that

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Option:
    """One option: its ``default`` in A1111's words, the request's ``path`` ("" where it needs more than one field)."""

    default: Any
    path: str
    read: Read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _or_own(value: Any) -> float | None:
    """A1111 writes 0 for a sampler's or schedule's own."""
    return _number(value) or None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError
    return int(value)


def _claim(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _one_of(words: Mapping[str, Any]) -> Read:
    meant = {word.lower(): value for word, value in words.items()}

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value.lower() not in meant:
            raise TypeError(", ".join(words))
        return meant[value.lower()]

    return read


def _vae(value: Any) -> str:
    word = _text(value)
    return {"automatic": "", "none": "none"}.get(word.lower(), word)


OPTIONS: Final[Mapping[str, Option]] = {
    CLIP_SKIP: Option(1, "clip_skip", _whole),
    "sd_vae": Option("Automatic", "vae", _vae),
    "randn_source": Option("NV", "noise", _one_of({"GPU": "gpu", "CPU": "cpu", "NV": "nv"})),
    "eta_noise_seed_delta": Option(0, "ensd", _whole),
    "emphasis": Option("Original", "emphasis", _one_of({word: value for value, word in EMPHASIS.items()})),
    "tiling": Option(False, "tiling", lambda value: "both" if _claim(value) else "none"),
    "eta_ddim": Option(0.0, "", _number),
    "eta_ancestral": Option(1.0, "", _number),
    "s_churn": Option(0.0, "sampling.s_churn", _number),
    "s_tmin": Option(0.0, "sampling.s_tmin", _number),
    "s_tmax": Option(0.0, "sampling.s_tmax", _or_own),
    "s_noise": Option(1.0, "sampling.s_noise", _number),
    "sigma_min": Option(0.0, "sampling.sigma_min", _or_own),
    "sigma_max": Option(0.0, "sampling.sigma_max", _or_own),
    "rho": Option(0.0, "sampling.rho", _or_own),
    "beta_dist_alpha": Option(0.6, "sampling.beta_alpha", _number),
    "beta_dist_beta": Option(0.6, "sampling.beta_beta", _number),
    "always_discard_next_to_last_sigma": Option(
        False, "sampling.discard_penultimate", lambda value: _claim(value) or None
    ),
    "sgm_noise_multiplier": Option(False, "sampling.sgm_noise_multiplier", _claim),
    "sd_noise_schedule": Option(
        "Default", "sampling.zero_terminal_snr", _one_of({"Default": False, "Zero Terminal SNR": True})
    ),
    "uni_pc_variant": Option("bh1", "sampling.unipc_variant", _text),
    "uni_pc_skip_type": Option("time_uniform", "sampling.unipc_skip", _text),
    "uni_pc_order": Option(3, "sampling.unipc_order", _whole),
    "uni_pc_lower_order_final": Option(True, "sampling.unipc_lower_order_final", _claim),
    "s_min_uncond": Option(0.0, "", _number),
    "s_min_uncond_all": Option(False, "", _claim),
    "skip_early_cond": Option(0.0, "", _number),
    "img2img_color_correction": Option(False, "start.color_correction", _claim),
    "img2img_fix_steps": Option(False, "start.exact_steps", _claim),
    "initial_noise_multiplier": Option(1.0, "start.noise_multiplier", _number),
    "img2img_extra_noise": Option(0.0, "start.extra_noise", _number),
    "inpainting_mask_weight": Option(1.0, "start.inpaint.conditioning_weight", _number),
    "overlay_inpaint": Option(True, "start.inpaint.overlay", _claim),
}  # fmt: skip


def read(name: str, value: Any) -> Any:
    """An option's value as the request's field has it; raises BadValue naming the option."""
    option = OPTIONS[name]
    try:
        return option.read(value)
    except (TypeError, OverflowError, ValueError) as problem:
        words = f" It can be {problem}." if str(problem) and isinstance(problem, TypeError) else ""
        raise BadValue(
            f"{name} is {str(value)[:60]!r}, which it cannot be.{words}", f"Its default is {option.default!r}.",
            field=name,
        ) from None  # fmt: skip


def check(given: Mapping[str, Any]) -> None:
    """Raise BadValue naming the first of these options that cannot be what it is."""
    for name, value in given.items():
        meant = read(name, value)
        option = OPTIONS[name]
        if option.path and not option.path.startswith("start."):
            try:
                GenerationRequest.from_data(overlay({"seed": 0}, {option.path: meant}))
            except WorkbenchError as problem:
                raise BadValue(f"{name}: {problem.message}", problem.hint, field=name, **problem.facts) from None


def fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The request's fields by dotted path that these options decide; those that say their default decide nothing."""
    return {
        OPTIONS[name].path: read(name, value)
        for name, value in given.items()
        if name in OPTIONS and OPTIONS[name].path and value is not None and value != OPTIONS[name].default
    }


def named(path: str) -> str | None:
    """The option that decides a field of the request; None where none does."""
    return next((name for name, option in OPTIONS.items() if option.path == path), None)
