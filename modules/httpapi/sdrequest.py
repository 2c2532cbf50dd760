"""A1111's payloads as our requests: every field taken, what means something here translated, the rest named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.sampling import SamplerFacts, find_sampler, find_schedule, split_sampler_name
from modules.core.upscaling import find_upscaler
from modules.httpapi import sdoptions, sdscripts, sdselectable
from modules.httpapi.jobs import compiled_dry, concrete
from modules.httpapi.sdoptions import CHECKPOINT, CLIP_SKIP, FORMAT
from modules.httpapi.sdpayload import ImageToImage, Payload, TextToImage
from modules.httpapi.sdpictures import kept
from modules.httpapi.studio import Studio
from modules.library import infotext
from modules.library.recall import overlay
from modules.planning.sheets import choices_of, word
from modules.prompt import tags

RESIZES = ("stretch", "crop", "fill", "latent")
FILLS = ("fill", "original", "noise", "nothing")
# Where an infotext gives what the payload leaves out; also A1111's names for our fields.
INFOTEXT = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "sampling.steps": "steps",
    "sampling.cfg_scale": "cfg_scale", "sampling.sampler": "sampler_name", "sampling.schedule": "scheduler",
    "sampling.eta": "eta", "sampling.s_churn": "s_churn", "sampling.s_tmin": "s_tmin", "sampling.s_tmax": "s_tmax",
    "sampling.s_noise": "s_noise", "seed": "seed", "size.width": "width", "size.height": "height",
    "variation.seed": "subseed", "variation.strength": "subseed_strength", "refiner.checkpoint": "refiner_checkpoint",
    "refiner.switch_at": "refiner_switch_at", "hires.scale": "hr_scale", "hires.steps": "hr_second_pass_steps",
    "hires.width": "hr_resize_x", "hires.height": "hr_resize_y", "hires.denoise_strength": "denoising_strength",
    "hires.upscaler": "hr_upscaler", "hires.checkpoint": "hr_checkpoint_name", "hires.sampler": "hr_sampler_name",
    "hires.schedule": "hr_scheduler", "hires.prompt": "hr_prompt", "hires.negative_prompt": "hr_negative_prompt",
    "start.denoise_strength": "denoising_strength", "start.image_cfg_scale": "image_cfg_scale",
    "start.noise_multiplier": "initial_noise_multiplier", "start.inpaint.blur": "mask_blur",
    "start.inpaint.padding": "inpaint_full_res_padding", "start.inpaint.invert": "inpainting_mask_invert",
}  # fmt: skip
_WORDS = {"tiling": ("tiling", {"none": False, "both": True}), "start.inpaint.area": ("inpaint_full_res", {
    "whole": False, "masked": True}), "start.inpaint.fill": ("inpainting_fill", {
    word: place for place, word in enumerate(FILLS)})}  # fmt: skip
# What cannot be honoured, with the values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {"restore_faces": (False,), "latent_mask": ("",)}
_SAME = ("", "use same checkpoint", "use same sampler", "use same scheduler", "none")


@dataclass
class Translation:
    """What a payload means.

    ``requests`` are the jobs to queue, in the order of their pictures: one, or one a picture where they start from
    different ones; ``request`` is the whole of it. ``warnings`` name what could not be honoured, ``overrides`` are the
    options that the payload sets for itself.
    """

    request: GenerationRequest
    requests: tuple[GenerationRequest, ...]
    warnings: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)


def translate(payload: Payload, present: Mapping[str, Any], studio: Studio) -> Translation:
    """The requests that a payload means, under the dialect's ``present`` options; each of them can be made.

    Raises WorkbenchError: 400 for an unknown sampler or scheduler, 404 for a picture to start from that is missing, 422
    naming A1111's own field for everything else.
    """
    recalled = infotext.read(payload.infotext) if payload.infotext else infotext.Recall({})
    payload = _completed(payload, recalled)
    overrides = {**present, **(payload.override_settings or {})}
    extensions, warnings = sdscripts.extensions(payload, overrides, studio.extensions)
    said = _said_of_options(payload, recalled)
    told = recalled.fields.get("extensions", {})
    on = {row.name for row in studio.extensions.active()}
    warnings += [f"{name} of the infotext was left out: it is switched off." for name in told if name not in on]
    try:
        data = _data(payload, overrides, studio)
        starts = _starts(payload, data, overrides, studio, warnings)
        data["script"] = sdselectable.script_of(payload)
        data["extensions"] = {**{name: told[name] for name in told if name in on}, **extensions}
        worded = word(concrete(overlay(data, said)), studio.phrases, choices_of(studio.checkpoints, studio.phrases))
        requests = _a_job_each(worded.request, starts) if len(starts) > 1 else (worded.request,)
        for request in requests:
            compiled_dry(studio, request)
    except WorkbenchError as problem:
        raise _in_their_words(problem) from None
    warnings += [note.message for note in worded.notes]
    return Translation(worded.request, requests, [*_unsupported(payload), *warnings], overrides)


def _completed(payload: Payload, recalled: infotext.Recall) -> Payload:
    """The payload with what its infotext says where it says nothing itself."""
    said = {INFOTEXT[path]: value for path, value in recalled.fields.items() if path in INFOTEXT}
    for path, (name, words) in _WORDS.items():
        if recalled.fields.get(path) in words:
            said[name] = words[recalled.fields[path]]
    if any(path.startswith("hires.") for path in recalled.fields):
        said["enable_hr"] = True
    if size := recalled.fields.get("seed_resize"):
        said |= {"seed_resize_from_w": size["width"], "seed_resize_from_h": size["height"]}
    if "model.checkpoint" in recalled.fields:
        said["override_settings"] = {CHECKPOINT: recalled.fields["model.checkpoint"]}
    known = type(payload).model_fields
    return payload.model_copy(
        update={
            name: value for name, value in said.items() if name in known and name not in payload.model_fields_set
        }
    )  # fmt: skip


def _said_of_options(payload: Payload, recalled: infotext.Recall) -> dict[str, Any]:
    """What the infotext says of fields that only options decide, where the payload sets none of these itself."""
    own = set(payload.override_settings or {})
    if payload.tiling is not None:
        own.add("tiling")
    return {
        path: value
        for path, value in recalled.fields.items()
        if (name := sdoptions.named(path))
        and name not in own
        and path not in INFOTEXT
        and not path.startswith("start.")
    }


def _data(payload: Payload, overrides: Mapping[str, Any], studio: Studio) -> dict[str, Any]:
    """The request as plain data, without what it starts from."""
    sampler, schedule = _sampler(payload)
    prompts = (payload.prompt or "", payload.negative_prompt or "")
    if payload.disable_extra_networks:  # they leave the prompt and are not used
        prompts = tuple(tags.split(text)[0].text for text in prompts)
    hires, width, height = _hires(payload, studio)
    options = {path: value for path, value in sdoptions.fields(overrides).items() if not path.startswith("start.")}
    seeds = payload.subseed if payload.subseed not in (None, -1) else concrete({}).seed
    strength, resized = payload.subseed_strength, (payload.seed_resize_from_w, payload.seed_resize_from_h)
    sampling = {name: getattr(payload, name) for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")}
    refiner = str(payload.refiner_checkpoint or "")
    data: dict[str, Any] = {
        "prompt": prompts[0],
        "negative_prompt": prompts[1],
        "styles": payload.styles or [],
        "size": {"width": width, "height": height},
        "seed": payload.seed,
        "variation": {"seed": seeds, "strength": strength} if strength else None,
        "seed_resize": dict(zip(("width", "height"), resized, strict=True)) if min(one or 0 for one in resized) > 0
        else None,
        "count": _count(payload),
        "sampling": {"sampler": sampler.name, "schedule": schedule, "steps": payload.steps,
                     "cfg_scale": payload.cfg_scale},
        "model": {"checkpoint": _checkpoint(studio, str(overrides.get(CHECKPOINT) or ""), "model.checkpoint")},
        "refiner": {"checkpoint": _checkpoint(studio, refiner, "refiner_checkpoint"), "switch_at": _refiner_at(payload)}
        if refiner.lower() not in _SAME else None,
        "compat": ["a1111"],
        "hires": hires,
    }  # fmt: skip
    overlay(data, options)
    harmless = {"s_churn": 0, "s_tmin": 0, "s_tmax": 0, "s_noise": 1}
    said = {name: value for name, value in sampling.items() if value is not None and value != harmless[name]}
    data["sampling"] |= {**said, "eta": _eta(sampler, payload.eta, overrides)}
    if payload.tiling is not None:
        data["tiling"] = "both" if payload.tiling else "none"
    return data


def _checkpoint(studio: Studio, name: str, field: str) -> str:
    try:
        return studio.checkpoints.find(name).name
    except WorkbenchError as problem:
        raise WorkbenchError(
            problem.message, problem.hint, code=problem.code, field=field, status=problem.status, **problem.facts
        ) from None


def _refiner_at(payload: Payload) -> float:
    return 0.8 if payload.refiner_switch_at is None else payload.refiner_switch_at


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


def _eta(sampler: SamplerFacts, eta: float | None, overrides: Mapping[str, Any]) -> float | None:
    """Clients send eta always; it is kept only where the sampler draws noise with it and it is not its own value."""
    is_ddim = sampler.name.startswith("DDIM")
    option = sdoptions.ETAS[not is_ddim]
    if eta is None and option in overrides:
        eta = sdoptions.read(option, overrides[option])
    own = 1.0 if sampler.stochastic else 0.0
    return eta if (sampler.stochastic or is_ddim) and eta != own else None


def _count(payload: Payload) -> int:
    for name in ("batch_size", "n_iter"):
        value = getattr(payload, name)
        if not 1 <= value <= 64:
            raise BadValue(f"{name} is {value}, outside 1-64.", "Use 1.", field=name, low=1, high=64)
    pictures = len(payload.init_images or ()) if isinstance(payload, ImageToImage) else 0
    return max(payload.batch_size or 1, pictures) * (payload.n_iter or 1)


def _hires(payload: Payload, studio: Studio) -> tuple[dict[str, Any] | None, int | None, int | None]:
    """The hires pass, and the first pass's size: in A1111's oldest form that has fields of its own."""
    width, height = payload.width, payload.height
    if not isinstance(payload, TextToImage) or not payload.enable_hr:
        return None, width, height
    sized = payload.hr_resize_x or 0, payload.hr_resize_y or 0
    if payload.firstphase_width or payload.firstphase_height:
        sized = width or 0, height or 0
        width, height = payload.firstphase_width, payload.firstphase_height
    checkpoint, sampler, schedule = (
        "" if (word or "").lower() in _SAME else word or ""
        for word in (payload.hr_checkpoint_name, payload.hr_sampler_name, payload.hr_scheduler)
    )
    name, split = split_sampler_name(sampler)
    strength = 0.7 if payload.denoising_strength is None else payload.denoising_strength
    found = {
        "scale": payload.hr_scale, "width": sized[0], "height": sized[1], "steps": payload.hr_second_pass_steps,
        "denoise_strength": strength, "upscaler": find_upscaler(payload.hr_upscaler or "Latent").name,
        "checkpoint": _checkpoint(studio, checkpoint, "hr_checkpoint_name") if checkpoint else "",
        "sampler": name, "schedule": schedule or split or "",
        "prompt": payload.hr_prompt or "", "negative_prompt": payload.hr_negative_prompt or "",
    }  # fmt: skip
    return found, width, height


def _starts(
    payload: Payload, data: dict[str, Any], overrides: Mapping[str, Any], studio: Studio, warnings: list[str]
) -> list[str]:
    """The pictures to start from by their hashes; the first of them goes into the ``data``."""
    if isinstance(payload, TextToImage):
        if not payload.firstpass_image or not payload.enable_hr:
            return []
        # a finished first pass: nothing of it is walked again, the hires pass starts from it
        first = kept(payload.firstpass_image, "firstpass_image", studio.blobs.put)
        data["start"] = {"picture": first, "resize": "stretch", "denoise_strength": 0.0, "exact_steps": True}
        return [first]
    assert isinstance(payload, ImageToImage)
    if not payload.init_images:
        raise WorkbenchError(
            "There is no picture to start from.", "Send it as base64 in init_images.", code="no_init_image",
            field="init_images", status=404,
        )  # fmt: skip
    found = [kept(one, "init_images", studio.blobs.put) for one in payload.init_images]
    data["start"] = start = {
        "picture": found[0],
        "resize": RESIZES[_place(payload, "resize_mode", RESIZES)],
        "denoise_strength": payload.denoising_strength,
    }
    inpaint = _inpaint(payload, studio, warnings)
    if inpaint:
        start["inpaint"] = inpaint
    options = {path: value for path, value in sdoptions.fields(overrides).items() if path.startswith("start.")}
    overlay(data, {path: value for path, value in options.items() if inpaint or ".inpaint." not in path})
    own = {"image_cfg_scale": payload.image_cfg_scale, "noise_multiplier": payload.initial_noise_multiplier}
    start.update({name: value for name, value in own.items() if value is not None})
    return found


def _inpaint(payload: ImageToImage, studio: Studio, warnings: list[str]) -> dict[str, Any] | None:
    soft = sdscripts.soft_inpainting(payload)
    if not payload.mask:
        return None
    mask = kept(payload.mask, "mask", studio.blobs.put)
    low, high = studio.blobs.mask_range(mask)
    if payload.inpaint_full_res and (low == 255 if payload.inpainting_mask_invert else high == 0):
        warnings.append("The mask is empty; the whole picture was made anew.")
        return None
    if payload.mask_blur is None and payload.mask_blur_x != payload.mask_blur_y:
        warnings.append("mask_blur_y differs from mask_blur_x, which was used for both.")
    if payload.mask_round is False and soft is None:
        warnings.append("mask_round is not supported without soft inpainting and was left out.")
    return {
        "mask": mask,
        "blur": payload.mask_blur_x if payload.mask_blur is None else payload.mask_blur,
        "invert": bool(payload.inpainting_mask_invert),
        "fill": FILLS[_place(payload, "inpainting_fill", FILLS)],
        "area": "masked" if payload.inpaint_full_res else "whole",
        "padding": payload.inpaint_full_res_padding,
        "soft": soft,
    }


def _place(payload: Payload, name: str, words: tuple[str, ...]) -> int:
    value = getattr(payload, name)
    if not 0 <= value < len(words):
        raise BadValue(f"{name} is {value}, outside 0-{len(words) - 1}.", "Use 0.", field=name, low=0,
                       high=len(words) - 1)  # fmt: skip
    return value


def _a_job_each(request: GenerationRequest, starts: list[str]) -> tuple[GenerationRequest, ...]:
    """One job a picture: each starts from its own, the first batch from the first ones, as does every further batch."""
    if request.start is None:
        return (request,)
    seeds, varied = request.seeds(), request.variation_seeds()
    made = []
    for index in range(request.count):
        changes: dict[str, Any] = {
            "seed": seeds[index], "count": 1,
            "start": request.start.model_copy(update={"picture": starts[index % len(starts)]}),
        }  # fmt: skip
        if varied and request.variation:
            changes["variation"] = request.variation.model_copy(update={"seed": varied[index]})
        made.append(request.at(index).model_copy(update=changes))
    return tuple(made)


def _unsupported(payload: Payload) -> list[str]:
    found = []
    for name, harmless in _UNSUPPORTED.items():
        value = getattr(payload, name, None)
        if value is not None and value not in harmless:
            found.append(f"{name} is not supported and was left out.")
    for name in payload.override_settings or {}:
        if name not in (CHECKPOINT, FORMAT) and name not in sdoptions.OPTIONS:
            found.append(f"override_settings.{name} is not supported and was left out.")
    return found


def _in_their_words(problem: WorkbenchError) -> WorkbenchError:
    """The same error naming A1111's field."""
    words = {path: name for path, (name, _) in _WORDS.items()}
    names = {**INFOTEXT, **words, "count": "batch_size", "clip_skip": CLIP_SKIP, "start.picture": "init_images",
             "start.inpaint.mask": "mask", "start.resize": "resize_mode"}  # fmt: skip
    if (problem.field or "").partition(".")[0] == "script":
        names[problem.field or ""] = "script_args"
    field_name = names.get(problem.field or "") or sdoptions.named(problem.field or " ") or problem.field
    return WorkbenchError(
        problem.message, problem.hint, code=problem.code, field=field_name, status=problem.status, **problem.facts
    )
