"""What memory is left behind by models that were loaded and unloaded in turn.

    python benchmarks/swaps.py [--swaps 50] [--wide] [--device cuda]

Four checkpoints (SD 1, SD 2, SDXL and its refiner, random) in turn, each loaded, used for a picture and let go. RssAnon
(the process's own memory, without mapped files) is read after each unloading; on a GPU also what torch has allocated
there. Targets: after the last unloadings within 5% or 100 MB of before, counted from when everything that is made once
is there; under 1 MB more a swap; no model alive. ``--wide`` takes the starter's widths for the SD 1 one (76 MB in 32
bit) instead of tiny ones, so that what stays in the heap would be seen.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

from modules.core.events import AnyEvent
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.engine.run import run
from modules.engine.workshop import Workshop
from modules.library.checkpoints import Catalogue
from modules.planning.compile import compile
from modules.training.networks import STARTER, TINY
from modules.training.tinies import TINY_REFINER, TINY_SD2, TINY_SDXL, write_checkpoint
from modules.training.tiny import tiny_checkpoint

OTHERS = {"sd2": TINY_SD2, "sdxl": TINY_SDXL, "refiner": TINY_REFINER}
WARM_UP = 8  # swaps after which everything that is made once (threads, kernels, caches) is there


class Silent:
    """A job that nobody watches."""

    def emit(self, event: AnyEvent) -> None:
        """Unheard."""

    def check(self) -> None:
        """Never cancelled."""

    def is_skipped(self, picture: int) -> bool:
        return False


def rss_anon_mb() -> float:
    """The process's own memory; Linux only."""
    row = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("RssAnon"))
    return int(row.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny_checkpoint(folder / "sd1.safetensors", 1, STARTER if given.wide else TINY)
        for name, shape in OTHERS.items():
            write_checkpoint(folder / f"{name}.safetensors", shape, 1)
        names = ("sd1", *OTHERS)
        gc.collect()
        settings = Settings(data_dir=temporary, device=given.device, numerics="safe", previews=False)
        catalogue, workshop = Catalogue(settings, [folder]), Workshop(settings)
        after, on_device, loaded_mb, alive = [], [], [], 0
        for swap in range(WARM_UP + given.swaps):
            asked = {
                "prompt": f"picture {swap}",
                "seed": swap,
                "size": {"width": 64, "height": 64},
                "sampling": {"sampler": "Euler", "steps": 1},
                "model": {"checkpoint": names[swap % len(names)]},
            }
            run(compile(GenerationRequest.from_data(asked), catalogue), workshop, Silent())
            loaded_mb.append(rss_anon_mb())
            watched = workshop.residency.watch()
            workshop.residency.unload()
            alive += sum(model() is not None for model in watched)
            after.append(rss_anon_mb())
            on_device.append(torch.cuda.memory_allocated() / 2**20 if given.device == "cuda" else 0.0)
    measured = after[WARM_UP:]
    before, last = float(np.median(measured[:5])), float(np.median(measured[-5:]))
    slope = float(np.polyfit(range(len(measured)), measured, 1)[0])
    print(f"{given.swaps} swaps; {np.mean(loaded_mb):.1f} MB while loaded")
    print(f"| before | {before:.1f} MB |")
    change = f"{last / before - 1:+.1%}, {last - before:+.1f} MB"
    print(f"| after the last unloadings | {last:.1f} MB ({change}; target: within 5% or 100 MB) |")
    print(f"| slope | {slope:+.3f} MB a swap (target: below 1) |")
    if given.device == "cuda":
        print(f"| on the device after unloadings | {on_device[WARM_UP]:.1f} MB, at the end {on_device[-1]:.1f} MB |")
    print(f"| models still alive | {alive} (target: 0) |")


if __name__ == "__main__":
    main()
