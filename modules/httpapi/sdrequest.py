"""A1111's txt2img payload as our request: every field taken, what means something here translated, the rest named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from modules.core import strictjson
from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.sampling import SamplerFacts, find_sampler, find_schedule, split_sampler_name
from modules.extend.loader import Registry
from modules.httpapi.jobs import concrete
from modules.library import infotext
from modules.library.checkpoints import Catalogue

CLIP_SKIP = "CLIP_stop_at_last_layers"
CHECKPOINT = "sd_model_checkpoint"
FORMAT = "samples_format"
# Where an infotext gives what the payload leaves out.
INFOTEXT = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "sampling.steps": "steps",
    "sampling.cfg_scale": "cfg_scale", "sampling.sampler": "sampler_name", "sampling.schedule": "scheduler",
    "sampling.eta": "eta", "seed": "seed", "size.width": "width", "size.height": "height",
    "hires.scale": "hr_scale", "hires.steps": "hr_second_pass_steps", "hires.denoise_strength": "denoising_strength",
}  # fmt: skip
# What this version cannot honour, with the values that ask for nothing.
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "subseed_strength": (0,), "seed_resize_from_w": (-1, 0), "seed_resize_from_h": (-1, 0), "restore_faces": (False,),
    "tiling": (False,), "styles": ([],), "s_min_uncond": (0,), "s_churn": (0,), "s_tmin": (0,),
    "s_tmax": (0, float("inf")), "s_noise": (1,), "refiner_checkpoint": ("", "None"), "firstpass_image": ("",),
    "firstphase_width": (0,), "firstphase_height": (0,), "disable_extra_networks": (False,),
}  # fmt: skip
UNSUPPORTED_HIRES: Mapping[str, tuple[Any, ...]] = {
    "hr_checkpoint_name": ("", "Use same checkpoint"), "hr_sampler_name": ("", "Use same sampler"),
    "hr_scheduler": ("", "Use same scheduler"), "hr_prompt": ("",), "hr_negative_prompt": ("",),
    "hr_upscaler": ("Latent",),
}  # fmt: skip


class Payload(BaseModel):
    """What clients send to txt2img, with A1111's defaults; null means the default, unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str | None = ""
    negative_prompt: str | None = ""
    styles: list[str] | None = None
    seed: int | None = -1
    subseed: int | None = -1
    subseed_strength: float | None = 0
    seed_resize_from_h: int | None = -1
    seed_resize_from_w: int | None = -1
    sampler_name: str | None = None
    sampler_index: str | None = "Euler"
    scheduler: str | None = None
    batch_size: int | None = 1
    n_iter: int | None = 1
    steps: int | None = 50
    cfg_scale: float | None = 7.0
    width: int | None = 512
    height: int | None = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool | None = False
    firstpass_image: str | None = None
    enable_hr: bool | None = False
    firstphase_width: int | None = 0
    firstphase_height: int | None = 0
    hr_scale: float | None = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int | None = 0
    hr_resize_x: int | None = 0
    hr_resize_y: int | None = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = ""
    hr_negative_prompt: str | None = ""
    script_name: str | None = None
    script_args: list[Any] | None = None
    alwayson_scripts: dict[str, Any] | None = None
    infotext: str | None = None
    send_images: bool | None = True
    save_images: bool | None = False

    @classmethod
    def from_json(cls, raw: bytes) -> "Payload":
        """Read a body; raises WorkbenchError 400 or 422 naming the field."""
        given = strictjson.loads(raw)
        if not isinstance(given, dict):
            raise BadValue("The body is no object.", "Send one JSON object.")
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise BadValue(f"{name}: {first['msg']}.", "See docs/api.md.", field=name) from None


@dataclass
class Translation:
    """The request, what of the payload it could not honour, and the settings that the payload overrides."""

    request: GenerationRequest
    warnings: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)


def translate(payload: Payload, settings: Mapping[str, Any], models: Catalogue, extensions: Registry) -> Translation:
    """The request that a payload means, under the dialect's present ``settings``.

    Raises WorkbenchError: 400 for an unknown sampler or scheduler, 422 naming A1111's own field for everything else.
    """
    recalled = infotext.read(payload.infotext) if payload.infotext else infotext.Recall({})
    payload = _completed(payload, recalled)
    overrides = {**settings, **(payload.override_settings or {})}
    sampler, schedule = _sampler(payload)
    data: dict[str, Any] = {
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "size": {"width": payload.width, "height": payload.height},
        "seed": payload.seed,
        "count": _count(payload),
        "sampling": {
            "sampler": sampler.name, "schedule": schedule, "steps": payload.steps, "cfg_scale": payload.cfg_scale,
            "eta": _eta(sampler, payload.eta),
        },
        "model": {"checkpoint": models.find(str(overrides.get(CHECKPOINT) or "")).name},
        "clip_skip": overrides.get(CLIP_SKIP) or 1,
        "compat": ["a1111"],
        "hires": _hires(payload) if payload.enable_hr else None,
        "extensions": _extensions(payload, extensions),
    }  # fmt: skip
    try:
        request = concrete(data)
    except WorkbenchError as problem:
        raise _in_their_words(problem) from None
    return Translation(request, _warnings(payload), overrides)


def _completed(payload: Payload, recalled: infotext.Recall) -> Payload:
    """The payload with what its infotext says where it says nothing itself."""
    said = {INFOTEXT[path]: value for path, value in recalled.fields.items() if path in INFOTEXT}
    if any(path.startswith("hires.") for path in recalled.fields):
        said["enable_hr"] = True
    if "model.checkpoint" in recalled.fields:
        said["override_settings"] = {CHECKPOINT: recalled.fields["model.checkpoint"]}
    return payload.model_copy(
        update={name: value for name, value in said.items() if name not in payload.model_fields_set}
    )


def _sampler(payload: Payload) -> tuple[SamplerFacts, str]:
    name, schedule = split_sampler_name(payload.sampler_name or payload.sampler_index or "Euler")
    try:
        if payload.scheduler and payload.scheduler.lower() not in ("automatic", ""):
            schedule = payload.scheduler
        return find_sampler(name, "sampler_name"), find_schedule(schedule or "Automatic", "scheduler").name
    except WorkbenchError as problem:
        raise WorkbenchError(
            problem.message, problem.hint, code="sampler_not_found", field=problem.field, status=400
        ) from None


def _eta(sampler: SamplerFacts, eta: float | None) -> float | None:
    """Clients send eta always; it is kept only where the sampler draws noise with it and it is not its own value."""
    own = 1.0 if sampler.stochastic else 0.0
    matters = sampler.stochastic or sampler.name.startswith("DDIM")
    return eta if matters and eta != own else None


def _count(payload: Payload) -> int:
    for name in ("batch_size", "n_iter"):
        value = getattr(payload, name)
        if not 1 <= value <= 64:
            raise BadValue(f"{name} is {value}, outside 1-64.", "Use 1.", field=name, low=1, high=64)
    return payload.batch_size * payload.n_iter if payload.batch_size and payload.n_iter else 1


def _hires(payload: Payload) -> dict[str, Any]:
    scale = payload.hr_scale
    if payload.hr_resize_x or payload.hr_resize_y:
        wide = (payload.hr_resize_x or 0) / max(1, payload.width or 1)
        high = (payload.hr_resize_y or 0) / max(1, payload.height or 1)
        scale = max(wide, high)
    strength = 0.7 if payload.denoising_strength is None else payload.denoising_strength
    return {"scale": scale, "steps": payload.hr_second_pass_steps, "denoise_strength": strength}


def _extensions(payload: Payload, extensions: Registry) -> dict[str, dict[str, Any]]:
    """Settings of our extensions under their titles, as A1111's always-on scripts give them: values by place."""
    if payload.script_name not in (None, "", "None"):
        raise BadValue(f"There is no script {payload.script_name!r}.", "Leave script_name out.", field="script_name")
    known = {row.title.lower(): row for row in extensions.active() if row.acts_on_pictures()}
    found: dict[str, dict[str, Any]] = {}
    for title, given in (payload.alwayson_scripts or {}).items():
        row = known.get(title.lower())
        args = given.get("args", []) if isinstance(given, dict) else None
        if row is None or not isinstance(args, list):
            raise BadValue(
                f"There is no always-on script {title!r} with a list of args.", "GET /sdapi/v1/script-info names them.",
                field="alwayson_scripts",
            )  # fmt: skip
        names = [control.name for control in row.controls()]
        found[row.name] = dict(zip(names, args, strict=False))
    extensions.make(found)
    return found


def _warnings(payload: Payload) -> list[str]:
    asked = {**UNSUPPORTED, **(UNSUPPORTED_HIRES if payload.enable_hr else {})}
    found = []
    for name, harmless in asked.items():
        value = getattr(payload, name)
        if value is not None and value not in harmless:
            found.append(f"{name} is not supported and was left out.")
    wide, high = payload.hr_resize_x or 0, payload.hr_resize_y or 0
    if payload.enable_hr and wide and high and wide * (payload.height or 0) != high * (payload.width or 0):
        found.append("hr_resize_x and hr_resize_y have other proportions than the picture, which was kept whole.")
    for name in payload.override_settings or {}:
        if name not in (CLIP_SKIP, CHECKPOINT, FORMAT):
            found.append(f"override_settings.{name} is not supported and was left out.")
    return found


def _in_their_words(problem: WorkbenchError) -> WorkbenchError:
    """The same error naming A1111's field."""
    names = {**INFOTEXT, "count": "batch_size", "clip_skip": CLIP_SKIP}
    field_name = names.get(problem.field or "", problem.field)
    return WorkbenchError(
        problem.message, problem.hint, code=problem.code, field=field_name, status=problem.status, **problem.facts
    )
