"""What loading a checkpoint costs beside casting its numbers, and what a swap costs between models that both are kept.

    python benchmarks/load.py [--device cuda] [--families sd1] [--folder DIR]

"cast" takes tensors that are in memory already to the profile's dtypes (and to the device) and does nothing else;
"load" reads the file (from the system's cache), builds the networks, converts the names and casts. Target: load at most
1.25 of cast plus read. On a GPU also "send away" and "bring back", all parts of the model to page-locked memory and
back, and "swap", a picture's model change between two checkpoints of which only one fits, beside "load".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
sys.path.insert(1, str(Path(__file__).resolve().parent))

import torch
from network import PROFILES, checkpoint, device_name, synchronise

from modules.core.plan import ModelFile
from modules.engine import loading, numerics
from modules.engine.residency import Residency, give_back
from modules.families.base import Evidence, Numerics, recognise
from modules.families.ldm import UNET, VAE, is_left_alone

ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--families", default="sd1")
    parser.add_argument("--profile", default="")
    parser.add_argument("--folder", default="")
    given = parser.parse_args()
    device = torch.device(given.device)
    profile = numerics.named(given.profile or ("fp16" if device.type == "cuda" else PROFILES["cpu"][-1]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{device_name(given.device)}, torch {torch.__version__}, profile {profile.name}; seconds")
        print("| model | read | cast | load | load / (read + cast) | send away | bring back |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for family in given.families.split(","):
            row(checkpoint(folder, family), profile, device)


def row(path: Path, profile: Numerics, device: torch.device) -> None:
    """One family: least of the rounds, which take turns."""
    with loading.Weights(path) as weights:
        match = recognise(Evidence(weights.shapes))
        assert match is not None
        file = ModelFile(name=path.stem, path=str(path), family=match.family, stamp=weights.stamp)
    times: dict[str, list[float]] = {"read": [], "cast": [], "load": []}
    for _ in range(ROUNDS):
        for name, seconds in zip(("read", "cast"), read_and_cast(path, profile, device), strict=True):
            times[name].append(seconds)
        give_back()
        times["load"].append(timed(lambda: loading.load(file, profile, device), device))
        give_back()
    read, cast, load = (min(times[name]) for name in ("read", "cast", "load"))
    away, back = swap(file, profile, device) if device.type == "cuda" else ("", "")
    print(
        f"| {path.stem} | {read:.2f} | {cast:.2f} | {load:.2f} | {load / (read + cast):.2f} | {away} | {back} |",
        flush=True,
    )


def read_and_cast(path: Path, profile: Numerics, device: torch.device) -> tuple[float, float]:
    """Seconds to read every tensor once, and to take each from memory to the profile's dtype and the device."""
    read = cast = 0.0
    with loading.Weights(path) as weights:
        kept = []
        for name in weights:
            if is_left_alone(name):
                continue
            dtype = profile.network if name.startswith(UNET) else profile.vae if name.startswith(VAE) else profile.text
            began = time.perf_counter()
            tensor = weights[name]
            read += time.perf_counter() - began
            cast += timed(lambda t=tensor, d=dtype: kept.append(t.to(device, getattr(torch, d), copy=True)), device)
    return read, cast


def swap(file: ModelFile, profile: Numerics, device: torch.device) -> tuple[str, str]:
    """Seconds to let a model wait in page-locked memory, and to bring it back; the second time, as in use."""
    residency = Residency(device, loading.load)
    loaded = residency.model(file, profile)
    away = back = 0.0
    for _ in range(2):
        away = timed(lambda: [residency._send_away(loaded, name) for name in loaded.parts], device)
        back = timed(lambda: [residency._bring(loaded, name) for name in loaded.parts], device)
    residency.unload()
    return f"{away:.3f}", f"{back:.3f}"


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
