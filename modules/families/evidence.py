"""What a checkpoint predicts and how it is best used, from the signs in its file, each decision with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.families.base import Defaults, Diffusion, Evidence, Family, Match, Prediction, Variant

LATENT_IN = ("model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.x_embedder.proj.weight")
VARIANTS: Mapping[int, Variant] = {5: "inpaint", 4: "edit"}  # channels beside the latents: mask and picture, picture
TITLES = {"inpaint": "it fills masks", "edit": "it changes a picture as it is told"}


@dataclass(frozen=True)
class Word:
    """A word in file names and the defaults that it stands for; None leaves the family's own."""

    pattern: str
    steps: Mapping[str, int] | None = None
    cfg_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None


def _fast(draft: int, good: int, best: int) -> Mapping[str, int]:
    return {"draft": draft, "good": good, "best": best}


WORDS = (
    Word("turbo", _fast(1, 4, 8), 1.0, "Euler a", "SGM Uniform"),
    Word("lightning", _fast(4, 8, 8), 1.0, "Euler", "SGM Uniform"),
    Word("hyper[-_ ]?sd", _fast(4, 8, 8), 1.0, "Euler", "SGM Uniform"),
    Word(r"(?<![a-z])lcm(?![a-z])", _fast(4, 8, 8), 1.5, "LCM"),
    Word("pony", None, 7.0, "Euler a"),
    Word("illustrious", None, 5.5, "Euler a"),
    Word("noobai", None, 5.0, "Euler"),
)
"""Distilled models need few steps and hardly any guidance; nothing but their names says that they are."""


def decide(family: Family, evidence: Evidence) -> Match:
    """Prediction: ``modelspec`` metadata, marker tensors, the family's own signs. Defaults: those, then the name.

    Raises ModelError "model_prediction" for a network that was taught on another scale of noise than any of ours.
    """
    _refuse_edm(family, evidence)
    diffusion, reasons = _diffusion(family, evidence)
    defaults, more = family.defaults_of(evidence)
    variant = variant_of(family, evidence)
    said = (
        (f"{TITLES[variant]}, because its network takes {_channels(evidence)} channels",) if variant != "text" else ()
    )
    defaults, named = _by_name(defaults, evidence.name)
    size = resolution(evidence.metadata.get("modelspec.resolution", ""))
    sized = (f"{size}, because its metadata says so",) if size else ()
    return Match(
        family=family.name,
        diffusion=diffusion,
        defaults=replace(defaults, size=size) if size else defaults,
        reasons=(f"{family.title}, because of its tensors' names and shapes", *said, *reasons, *more, *named, *sized),
        variant=variant,
    )


def _refuse_edm(family: Family, evidence: Evidence) -> None:
    """Karras et al. 2022 (arXiv:2206.00364), table 1: scaled in and out otherwise; as eps or v it would draw mud."""
    mark = next((name for name in sorted(evidence.shapes) if name.startswith("edm_")), None)
    if mark:
        raise ModelError(
            f"This {family.title} checkpoint was trained as EDM, as its key {mark} says, which cannot be computed yet.",
            "Choose another checkpoint.", code="model_prediction", field="model.checkpoint",
        )  # fmt: skip


def variant_of(family: Family, evidence: Evidence) -> Variant:
    """What the network sees beside the latents, from how many channels it takes."""
    channels = _channels(evidence)
    return VARIANTS.get(channels - family.latent.channels, "text") if channels else "text"


def _channels(evidence: Evidence) -> int:
    shape = next((evidence.shapes[name] for name in LATENT_IN if name in evidence.shapes), ())
    return shape[1] if len(shape) == 4 else 0


def _diffusion(family: Family, evidence: Evidence) -> tuple[Diffusion, tuple[str, ...]]:
    usual, shapes = family.diffusion, evidence.shapes
    if usual.prediction == "flow":  # a flow is its network's own, no file says otherwise
        return usual, ()
    spoken = evidence.metadata.get("modelspec.prediction_type", "").lower()
    said: Prediction | None = {"epsilon": "eps", "eps": "eps", "v": "v"}.get(spoken)  # type: ignore[assignment]
    zero_snr = "ztsnr" in shapes
    reasons = ("noise at the last time, because the file has the key ztsnr",) if zero_snr else ()
    if said:
        return replace(usual, prediction=said, zero_snr=zero_snr), (f"{said}, because its metadata says so", *reasons)
    if "v_pred" in shapes:
        return replace(usual, prediction="v", zero_snr=zero_snr), ("v, because the file has the key v_pred", *reasons)
    found = family.prediction_of(evidence)
    if found:
        return replace(usual, prediction=found[0], zero_snr=zero_snr), (found[1], *reasons)
    usual_said = f"{usual.prediction}, because nothing in the file says otherwise"
    return replace(usual, zero_snr=zero_snr), (usual_said, *reasons)


def _by_name(defaults: Defaults, name: str) -> tuple[Defaults, tuple[str, ...]]:
    for word in WORDS:
        if found := re.search(word.pattern, name.lower()):
            changed = {
                field: value
                for field in ("steps", "cfg_scale", "sampler", "schedule")
                if (value := getattr(word, field)) is not None
            }
            return replace(defaults, **changed), (f"its steps and guidance, because its name says {found[0]}",)
    return defaults, ()


def resolution(text: str) -> Size | None:
    """A size as modelspec writes it: "512" or "512x768"."""
    sides = text.lower().split("x")
    if not all(side.isdecimal() and 64 <= int(side) <= 4096 for side in sides) or len(sides) > 2:
        return None
    return Size(width=int(sides[0]), height=int(sides[-1]))
