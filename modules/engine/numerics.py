"""Numerics profiles: with which dtypes, layout and attention a model is computed on this machine, found by measuring.

A profile has a name: one of ``PROFILES``, with ``+`` and the name of an attention function where that is not torch's
own ("fp16+flash").
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from modules.engine import attention
from modules.families.base import SAFE, Numerics

PROFILES: dict[str, Numerics] = {
    row.name: row
    for row in (
        SAFE,
        Numerics("bf16", network="bfloat16", vae="bfloat16", channels_last=True),
        Numerics("fp16", network="float16", text="float16", channels_last=True),
    )
}
WORTH = 1.1  # a profile is left for another only if that is faster by more than this
SIZE = 32  # of the probe's picture in latent pixels: 256 px
WIDTH = 320


def profile(name: str, device: torch.device, notes: Path) -> Numerics:
    """The profile of that name; "auto" is the fastest for this device, measured once and kept in the file ``notes``."""
    if name != "auto":
        return named(name)
    if device.type not in ("cpu", "cuda"):
        return SAFE
    machine = _machine(device)
    known = _read(notes)
    if known.get("machine") != machine or not _is_known(str(known.get("profile"))):
        known = {"machine": machine, **(measure(device) if device.type == "cpu" else measure_gpu(device))}
        _write(notes, known)
    return named(str(known["profile"]))


def named(name: str) -> Numerics:
    """The profile of a name, "bf16" or "fp16+flash"; raises KeyError for one that is not there."""
    base, _, function = name.partition("+")
    found = PROFILES[base]
    if not function:
        return found
    attention.offered(function)
    return replace(found, name=name, attention=function)


def _is_known(name: str) -> bool:
    try:
        named(name)
    except (KeyError, ImportError):
        return False
    return True


def measure(device: torch.device) -> dict[str, object]:
    """Time a residual block and an attention as SD1's UNet has them, in both profiles; a second at most."""
    if not computes_bf16():
        return {"profile": "safe", "seconds": {}}
    seconds = {name: _seconds(PROFILES[name], device) for name in ("safe", "bf16")}
    faster = seconds["safe"] > WORTH * seconds["bf16"]
    return {"profile": "bf16" if faster else "safe", "seconds": seconds}


def computes_bf16() -> bool:
    """Whether this processor multiplies bf16 numbers itself (AVX512-BF16 or AMX); others take longer than for fp32."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


def measure_gpu(device: torch.device) -> dict[str, object]:
    """16 bit where the GPU multiplies it fast; and the attention of another package where one is, and is faster.

    fp16 rather than bf16: as fast, and eight times as fine; where its range is too small a picture is made again in 32
    bit. Flash, sage and xformers are tried by one call each, not by their import.
    """
    if torch.cuda.get_device_capability(device) < (7, 0):
        return {"profile": "safe", "seconds": {}}
    q = torch.randn(2, 10, 4096, 64, device=device, dtype=torch.float16)
    seconds = {"sdpa": _attention_seconds("sdpa", q)}
    expected = attention.FUNCTIONS["sdpa"](q, q, q)
    for name in attention.installed():
        try:
            answer = attention.offered(name)(q, q, q)
            if answer.shape == q.shape and torch.allclose(answer, expected, atol=0.02, rtol=0.02):
                seconds[name] = _attention_seconds(name, q)
        except Exception:  # a package built for another torch or another GPU fails in its own way
            continue
    best = min(seconds, key=lambda name: seconds[name])
    worth = best != "sdpa" and seconds["sdpa"] > WORTH * seconds[best]
    return {"profile": f"fp16+{best}" if worth else "fp16", "seconds": seconds}


def _attention_seconds(name: str, q: torch.Tensor) -> float:
    attend, best = attention.offered(name), float("inf")
    for _ in range(4):  # the first warms up
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(10):
            attend(q, q, q)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def _seconds(numerics: Numerics, device: torch.device) -> float:
    dtype = getattr(torch, numerics.network)
    layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
    convolution = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, device=device, dtype=dtype)
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=layout)
    line = nn.Linear(WIDTH, 4 * WIDTH, device=device, dtype=dtype)
    x = torch.zeros(2, WIDTH, SIZE, SIZE, device=device, dtype=dtype).contiguous(memory_format=layout)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(4):  # the first warms up
            began = time.perf_counter()
            y = nn.functional.silu(convolution(x))
            q = y.flatten(2).transpose(1, 2).unflatten(-1, (8, -1)).transpose(1, 2)
            line(nn.functional.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2))
            best = min(best, time.perf_counter() - began)
    return best


def _machine(device: torch.device) -> str:
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    except OSError:
        pass  # not Linux: the coarser name has to do
    if device.type == "cuda":
        here = ", ".join([torch.cuda.get_device_name(device), *attention.installed()])
        return f"cuda, {here}, torch {torch.__version__}"
    return f"{device.type}, {processor}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _read(notes: Path) -> dict[str, object]:
    try:
        found = json.loads(notes.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(notes: Path, known: dict[str, object]) -> None:
    try:
        notes.parent.mkdir(parents=True, exist_ok=True)
        part = notes.with_suffix(".part")
        part.write_text(json.dumps(known, indent=1), "utf-8")
        part.replace(notes)
    except OSError:
        pass  # measured again at the next start: nothing is lost but a second
