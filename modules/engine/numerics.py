"""Numerics profiles: with which dtypes and layout a model is computed on this machine, found by measuring."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import torch
from torch import nn

from modules.families.base import SAFE, Numerics

PROFILES: dict[str, Numerics] = {
    row.name: row
    for row in (
        SAFE,
        Numerics("bf16", network="bfloat16", vae="bfloat16", channels_last=True),
        Numerics("fp16", network="float16", text="float16"),
    )
}
WORTH = 1.1  # a profile is left for another only if that is faster by more than this
SIZE = 32  # of the probe's picture in latent pixels: 256 px
WIDTH = 320


def profile(name: str, device: torch.device, notes: Path) -> Numerics:
    """The profile of that name; "auto" is the fastest for this device, measured once and kept in the file ``notes``."""
    if name != "auto":
        return PROFILES[name]
    if device.type == "cuda":
        return PROFILES["fp16"]
    if device.type != "cpu":
        return SAFE
    machine = _machine(device)
    known = _read(notes)
    if known.get("machine") != machine or known.get("profile") not in PROFILES:
        known = {"machine": machine, **measure(device)}
        _write(notes, known)
    return PROFILES[str(known["profile"])]


def measure(device: torch.device) -> dict[str, object]:
    """Time a residual block and an attention as SD1's UNet has them, in both profiles; a second at most."""
    seconds = {name: _seconds(PROFILES[name], device) for name in ("safe", "bf16")}
    faster = seconds["safe"] > WORTH * seconds["bf16"]
    return {"profile": "bf16" if faster else "safe", "seconds": seconds}


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
