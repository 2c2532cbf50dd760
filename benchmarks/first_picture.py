"""The first picture, from a loaded model to a synced file, against its bare network calls and one decode.

    python benchmarks/first_picture.py [--checkpoint NAME] [--size 256] [--steps 20] [--rounds 5]

Both sides are measured in turn in one process. Target: at most 1.15 times the bare calls plus 0.25 s; what the loop
itself costs (all of a walk that is not the network) under 3%. Without a checkpoint in models/ a random one in the
starter's widths is used: its numbers cost the same as a trained one's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from PIL import Image

from modules.core.errors import ModelError
from modules.core.events import AnyEvent, ImageMade
from modules.core.plan import Plan
from modules.core.request import GenerationRequest
from modules.core.settings import CHECKOUT, Settings
from modules.engine.conditioning import Reader, read
from modules.engine.residency import Loaded
from modules.engine.run import run
from modules.engine.start import latent_shape
from modules.engine.workshop import Workshop
from modules.library.checkpoints import Catalogue
from modules.planning.compile import compile
from modules.training.networks import STARTER
from modules.training.tiny import tiny_checkpoint


class Saver:
    """A job that writes its picture as the program does: a whole file, synced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def emit(self, event: AnyEvent) -> None:
        if isinstance(event, ImageMade):
            path = self.folder / "picture.png"
            with path.open("wb") as file:
                Image.frombytes("RGB", (event.width, event.height), event.pixels).save(file, "PNG")
                file.flush()
                os.fsync(file.fileno())

    def check(self) -> None:
        """Never cancelled."""

    def is_skipped(self, picture: int) -> bool:
        return False


def bare(plan: Plan, loaded: Loaded, calls: int) -> float:
    """Seconds of as many network calls, with prompt and negative together, and one decode."""
    model, one = loaded.model, plan.passes[0]
    told = read(plan.request, plan.passes, 0, Reader(model, loaded.prompts))
    context = torch.cat([told.positive[0].at(0.0, False)["context"], told.negative.at(0.0, False)["context"]])
    x = torch.randn(1, *latent_shape(model, one.canvas))
    began = time.perf_counter()
    for _ in range(calls):
        model.network(x.repeat(2, 1, 1, 1), 500.0, {"context": context})
    model.decode(x)
    return time.perf_counter() - began


def timed(plan: Plan, workshop: Workshop, loaded: Loaded, folder: Path) -> tuple[float, float, float]:
    """Seconds from the click to the file; seconds of the walk; seconds that the network took of them."""
    inside, walk, network = [0.0], [0.0], loaded.model.network

    def watched(*given: object) -> torch.Tensor:
        began = time.perf_counter()
        answer = network(*given)  # type: ignore[arg-type]
        inside[0] += time.perf_counter() - began
        return answer

    class Watching(Saver):
        def emit(self, event: AnyEvent) -> None:
            if isinstance(event, ImageMade):
                walk[0] = float(event.facts["seconds"]["steps"])  # type: ignore[index,call-overload]
            super().emit(event)

    loaded.model.network = watched  # type: ignore[method-assign]
    try:
        began = time.perf_counter()
        run(plan, workshop, Watching(folder))
        return time.perf_counter() - began, walk[0], inside[0]
    finally:
        loaded.model.network = network  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--numerics", default="auto", choices=("auto", "safe", "bf16", "fp16"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        folder = Path(temporary)
        settings = Settings(data_dir=temporary, numerics=given.numerics)
        catalogue = Catalogue(settings, [folder, CHECKOUT / "models"])
        try:
            catalogue.find(given.checkpoint)
        except ModelError:
            tiny_checkpoint(folder / "random-in-starter-widths.safetensors", 1, STARTER)
            catalogue.refresh()
        asked = {
            "prompt": "a red cat on a blue ground",
            "negative_prompt": "blurry",
            "seed": 1,
            "size": {"width": given.size, "height": given.size},
            "sampling": {"sampler": "Euler", "steps": given.steps, "cfg_scale": 6.0},
            "model": {"checkpoint": given.checkpoint},
        }
        plan = compile(GenerationRequest.from_data(asked), catalogue)
        workshop = Workshop(settings)
        numerics = workshop.numerics(plan.numerics)
        loaded = workshop.residency.model(plan.models["model"], numerics)
        bare(plan, loaded, 2)  # warms up what the first calls of a process pay once
        timed(plan, workshop, loaded, folder)
        rows = [(bare(plan, loaded, given.steps), *timed(plan, workshop, loaded, folder)) for _ in range(given.rounds)]
    calls_s, click_s = statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows)
    loop = statistics.median((walk - inside) / walk for _, _, walk, inside in rows)
    print(
        f"{plan.models['model'].name}, {given.size} px, {given.steps} steps, {numerics.name}, median of {given.rounds}"
    )
    print(f"| bare calls + decode | {calls_s:.3f} s |")
    print(f"| click to file | {click_s:.3f} s |")
    print(f"| over 1.15 x bare + 0.25 s | {click_s - 1.15 * calls_s - 0.25:+.3f} s (target: below 0) |")
    print(f"| ratio | {click_s / calls_s:.3f} |")
    print(f"| the loop's own share of a walk | {loop:.1%} (target: below 3%) |")


if __name__ == "__main__":
    main()
