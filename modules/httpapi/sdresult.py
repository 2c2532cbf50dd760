"""What the dialect answers: pictures as base64, the info text with all its keys, and the progress of the moment."""

import base64
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from modules.core.request import GenerationRequest
from modules.httpapi.media import sniffed
from modules.httpapi.sdrequest import Translation
from modules.library import infotext, metadata, picturefile
from modules.library.pictures import Picture

FORMATS: Mapping[str, picturefile.Format] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
# The keys under which parsed parameters are known elsewhere.
KEYS = {
    "prompt": "Prompt", "negative_prompt": "Negative prompt", "sampling.steps": "Steps",
    "sampling.sampler": "Sampler", "sampling.schedule": "Schedule type", "sampling.cfg_scale": "CFG scale",
    "sampling.eta": "Eta", "seed": "Seed", "size.width": "Size-1", "size.height": "Size-2", "clip_skip": "Clip skip",
    "model.checkpoint": "Model", "noise": "RNG", "hires.scale": "Hires upscale", "hires.steps": "Hires steps",
    "hires.denoise_strength": "Denoising strength", "hires.upscaler": "Hires upscaler",
}  # fmt: skip


def encoded(file: Path, format: str, quality: int, text: str) -> str:
    """A picture file as base64 in the wanted format; re-encoded, with its infotext, only where it has another one."""
    wanted = FORMATS.get(format.lower(), "png")
    found = sniffed(file)
    if found and FORMATS[found[1]] == wanted:
        return base64.b64encode(file.read_bytes()).decode()
    with Image.open(file) as image:
        options, _ = metadata.pack(wanted, text, None)
        data = picturefile.encode(image.convert("RGB"), wanted, quality, options)
    return base64.b64encode(data).decode()


def info(translation: Translation, pictures: Sequence[Picture], batch_size: int, hashes: tuple[str, str]) -> str:
    """The ``info`` of an answer as JSON text; ``hashes`` are the checkpoint's name and short hash."""
    request = translation.request
    size = request.size
    seeds = [picture.seed for picture in pictures]
    subseeds = [0] * len(pictures)
    return json.dumps(
        {
            "prompt": request.prompt, "all_prompts": [request.prompt] * len(pictures),
            "negative_prompt": request.negative_prompt,
            "all_negative_prompts": [request.negative_prompt] * len(pictures), "seed": request.seed,
            "all_seeds": seeds, "subseed": 0, "all_subseeds": subseeds, "subseed_strength": 0, "width": size.width,
            "height": size.height, "sampler_name": request.sampling.sampler, "cfg_scale": request.sampling.cfg_scale,
            "steps": request.sampling.steps, "batch_size": batch_size, "restore_faces": False,
            "face_restoration_model": None, "sd_model_name": hashes[0], "sd_model_hash": hashes[1],
            "sd_vae_name": None, "sd_vae_hash": None, "seed_resize_from_w": -1, "seed_resize_from_h": -1,
            "denoising_strength": request.hires.denoise_strength if request.hires else None,
            "extra_generation_params": _extras(request), "index_of_first_image": 0,
            "infotexts": [picture.infotext for picture in pictures], "styles": [],
            "job_timestamp": time.strftime("%Y%m%d%H%M%S"), "clip_skip": request.clip_skip,
            "is_using_inpainting_conditioning": False, "version": "Atelier", "warnings": translation.warnings,
        },
        ensure_ascii=False,
    )  # fmt: skip


def _extras(request: GenerationRequest) -> dict[str, Any]:
    extras: dict[str, Any] = {"Schedule type": request.sampling.schedule}
    if request.hires:
        extras |= {"Hires upscale": request.hires.scale, "Hires upscaler": request.hires.upscaler}
        extras |= {"Hires steps": request.hires.steps} if request.hires.steps else {}
    return extras


def progress(snapshot: Mapping[str, Any], count: int, with_image: bool) -> dict[str, Any]:
    """The running job as A1111 tells it; ``count`` is the running job's number of pictures.

    Idle is progress 0 and job_count 0; a job that waits for its turn counts as one that has not begun.
    """
    running = snapshot.get("running")
    waiting = snapshot["waiting"]["count"]
    step = (running or {}).get("step") or {}
    preview = (running or {}).get("preview") if with_image else None
    state = {
        "skipped": False, "interrupted": False, "stopping_generation": False, "job": "txt2img" if running else "",
        "job_count": count if running else waiting,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(running["started"]["at"])) if running else "0",
        "job_no": step.get("picture", 0), "sampling_step": step.get("call", 0),
        "sampling_steps": step.get("calls") or 0,
    }  # fmt: skip
    return {
        "progress": step.get("progress", 0.0),
        "eta_relative": step.get("eta_s") or 0.0,
        "state": state,
        "current_image": preview["jpeg"].translate(_PLAIN_BASE64) if preview else None,
        "textinfo": None,
    }


_PLAIN_BASE64 = str.maketrans("-_", "+/")  # events carry the alphabet that is safe in addresses


def parsed(text: str) -> dict[str, Any]:
    """An infotext's pairs as text under the keys that other programs use."""
    recalled = infotext.read(text)
    known = {KEYS[path]: str(value) for path, value in recalled.fields.items() if path in KEYS and value is not None}
    more = {"Model hash": recalled.model_hash, "Version": recalled.made_by}
    return {**known, **recalled.unknown, **{key: value for key, value in more.items() if value}}


def text_of(picture: bytes) -> str:
    """The infotext inside a picture's bytes, "" where there is none; raises WorkbenchError for what is no picture."""
    picturefile.size_of(io.BytesIO(picture), tuple(picturefile.PILLOW.values()))
    return metadata.unpack(picture).infotext
