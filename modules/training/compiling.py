"""What torch.compile made is kept between runs: compiling takes minutes, reading it back seconds."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from modules.training.parts import split


def load_compiled(folder: Path | None, name: str, report: Callable[[str], None]) -> None:
    """Take in what an earlier run on the same kind of device compiled; without it everything is compiled anew."""
    parts = sorted(folder.glob(f"{name}.part-*")) if folder else []
    if not parts:
        return
    try:
        torch.compiler.load_cache_artifacts(zlib.decompress(b"".join(part.read_bytes() for part in parts)))
    except Exception as error:  # it is only a cache, of whatever version
        report(f"compiled code not taken up: {type(error).__name__}: {str(error)[:200]}")
        return
    report(f"compiled code taken up from {len(parts)} parts of {name}")


def save_compiled(folder: Path | None, name: str, work: Path, report: Callable[[str], None]) -> None:
    """Keep what this process has compiled, in small parts."""
    if folder is None:
        return
    try:
        made = torch.compiler.save_cache_artifacts()
    except Exception as error:  # the run needs it no more
        report(f"compiled code not kept: {type(error).__name__}: {str(error)[:200]}")
        return
    if made is None:
        return
    path = work / f"{name}.z"
    path.write_bytes(zlib.compress(made[0], 6))
    report(f"compiled code of {name}: {path.stat().st_size / 2**20:.1f} MiB")
    split(path, folder, name)
