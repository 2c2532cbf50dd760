"""What the dialect answers: pictures as base64, the info text with all its keys, and the progress of the moment."""

import base64
import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from modules.httpapi.media import sniffed
from modules.httpapi.sdrequest import Translation
from modules.library import infotext, metadata, picturefile
from modules.library.blobs import READABLE
from modules.library.pictures import Picture

FORMATS: Mapping[str, picturefile.Format] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
# What silence means where pairs are handed to programs that fill their forms with them.
SILENT: Mapping[str, str] = {
    "Clip skip": "1", "Hires resize-1": "0", "Hires resize-2": "0", "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler", "Hires checkpoint": "Use same checkpoint", "Hires prompt": "",
    "Hires negative prompt": "", "RNG": "GPU", "Schedule type": "Automatic", "VAE Encoder": "Full",
    "VAE Decoder": "Full", "Mask mode": "Inpaint masked", "Masked content": "original",
    "Inpaint area": "Whole picture", "Masked area padding": "32", "Emphasis": "Original",
}  # fmt: skip
_SIZE = re.compile(r"(\d+)x(\d+)")
_BASE = {
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE",
    "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength", "Clip skip", "Version",
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


def info(
    translation: Translation, pictures: Sequence[Picture], batch_size: int, hashes: tuple[str, str], first: int = 0
) -> str:
    """The ``info`` of an answer as JSON text.

    ``hashes`` are the checkpoint's name and short hash, ``first`` is the place of the first picture that is no sheet.
    """
    request = translation.request
    size, start, hires, vary = request.size, request.start, request.hires, request.variation
    told = [picture.request or request for picture in pictures]
    resize = request.seed_resize
    varied = request.variation_seeds()
    strength = start.denoise_strength if start and not hires else hires.denoise_strength if hires else None
    return json.dumps(
        {
            "prompt": request.prompt, "all_prompts": [one.prompt for one in told],
            "negative_prompt": request.negative_prompt,
            "all_negative_prompts": [one.negative_prompt for one in told], "seed": request.seed,
            "all_seeds": [picture.seed for picture in pictures], "subseed": vary.seed if vary else 0,
            "all_subseeds": list(varied[: len(pictures)]) if varied else [0] * len(pictures),
            "subseed_strength": vary.strength if vary else 0, "width": size.width,
            "height": size.height, "sampler_name": request.sampling.sampler, "cfg_scale": request.sampling.cfg_scale,
            "steps": request.sampling.steps, "batch_size": batch_size, "restore_faces": False,
            "face_restoration_model": None, "sd_model_name": hashes[0], "sd_model_hash": hashes[1],
            "sd_vae_name": request.vae or None, "sd_vae_hash": None,
            "seed_resize_from_w": resize.width if resize else -1, "seed_resize_from_h": resize.height if resize else -1,
            "denoising_strength": strength,
            "extra_generation_params": _extras(pictures), "index_of_first_image": first,
            "infotexts": [picture.infotext for picture in pictures], "styles": list(request.styles),
            "job_timestamp": time.strftime("%Y%m%d%H%M%S"), "clip_skip": request.clip_skip,
            "is_using_inpainting_conditioning": False, "version": "Atelier", "warnings": translation.warnings,
        },
        ensure_ascii=False,
    )  # fmt: skip


def _extras(pictures: Sequence[Picture]) -> dict[str, Any]:
    """What the first picture's infotext says beyond the keys of its own."""
    pairs = infotext.pairs(pictures[0].infotext) if pictures else {}
    kept = {"Schedule type": pairs["Schedule type"]} if "Schedule type" in pairs else {}
    return {**kept, **{key: value for key, value in pairs.items() if key not in _BASE}}


def progress(snapshot: Mapping[str, Any], count: int, kind: str, with_image: bool) -> dict[str, Any]:
    """The running job as A1111 tells it; ``count`` is its number of pictures, ``kind`` txt2img or img2img.

    Idle is progress 0 and job_count 0; a job that waits for its turn counts as one that has not begun.
    """
    running = snapshot.get("running")
    waiting = snapshot["waiting"]["count"]
    step = (running or {}).get("step") or {}
    preview = (running or {}).get("preview") if with_image else None
    state = {
        "skipped": False, "interrupted": False, "stopping_generation": False, "job": kind if running else "",
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
    """An infotext's pairs as text, with what silence means, sizes in two halves, and both prompts."""
    prompt, negative, pairs = infotext.parts(text)
    found = {"Prompt": prompt, "Negative prompt": negative}
    for key, value in pairs.items():
        if size := _SIZE.fullmatch(value):
            found |= {f"{key}-1": size[1], f"{key}-2": size[2]}
        else:
            found[key] = value
    return {**found, **{key: value for key, value in SILENT.items() if key not in found}}


def text_of(picture: bytes) -> tuple[str, dict[str, str]]:
    """A picture's infotext ("" where there is none) and its other texts; raises WorkbenchError for what is none."""
    picturefile.size_of(io.BytesIO(picture), READABLE)
    said = metadata.unpack(picture)
    return said.infotext, dict(said.others)
