"""Make the starter model: `python -m modules.training.starter --device cuda --seconds 540`.

Painters fill a pool of pictures and captions for as long as the run lasts. One process learns to see (autoencoder,
judge of the pictures, preview decoder), another to read and to draw (text encoder, UNet); every stage ends by the
clock. States to go on from lie in `--folder`, what is made in `--out`: checkpoint, preview decoder, judge, sheet, log.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from modules.training.plan import CPU, ENDS, GPU, SMALL, Plan
from modules.training.pool import Layout, Painters, shared_folder

FIRST_SEED = 1_000_000


def main(arguments: list[str] | None = None) -> None:
    """Run all stages."""
    parser = argparse.ArgumentParser(prog="python -m modules.training.starter", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, default=6 * 3600.0, help="wall clock of the whole run")
    parser.add_argument("--size", type=int, default=256, help="side of the square pictures in pixels")
    parser.add_argument("--folder", type=Path, default=Path(".training"), help="states to go on from")
    parser.add_argument("--out", type=Path, default=Path(".training/out"), help="what is made")
    parser.add_argument("--start", type=Path, help="go on from this checkpoint instead of from nothing")
    parser.add_argument("--parts", action="store_true", help="write the checkpoint in parts of 15.5 MiB")
    parser.add_argument("--small", action="store_true", help="tiny networks and batches, to try the way")
    parser.add_argument("--whole", action="store_true", help="on a CPU: train the finest and dearest blocks too")
    parser.add_argument("--state", type=float, default=300.0, help="seconds between states; 0 keeps none")
    parser.add_argument("--workers", type=int, help="painters")
    parser.add_argument("--batch", type=int, help="pictures in a step of the UNet")
    parser.add_argument("--rate", type=float, help="learning rate of the UNet")
    parser.add_argument("--text-rate", type=float, help="learning rate of the text encoder beside it")
    parser.add_argument("--prompts", type=int, default=300, help="held-out prompts to measure with")
    for stage, end in ENDS.items():
        parser.add_argument(f"--{stage}-until", type=float, default=end, help="share of the seconds when it is over")
    parser.add_argument("--no-compile", action="store_true", help="on a GPU: do not compile")
    parser.add_argument("--compiled", type=Path, help="folder with an earlier run's compiled code")
    parser.add_argument("--keep-compiled", type=Path, help="folder to keep this run's compiled code in")
    given = parser.parse_args(arguments)
    sizes = SMALL if given.small else CPU if given.device == "cpu" else GPU
    asked = {"workers": given.workers, "unet_batch": given.batch, "unet_rate": given.rate, "text_rate": given.text_rate}
    sizes = replace(sizes, **{name: value for name, value in asked.items() if value is not None})
    if given.whole or given.start:
        sizes = replace(sizes, is_thin=False)
    if given.no_compile:
        sizes = replace(sizes, is_compiled=False)
    plan = Plan(
        folder=given.folder, out=given.out, device=given.device, seconds=given.seconds, sizes=sizes, size=given.size,
        widths="TINY" if given.small else "STARTER", start=given.start, in_parts=given.parts,
        state_seconds=given.state, compiled=given.compiled, keep_compiled=given.keep_compiled, prompts=given.prompts,
        ends={stage: getattr(given, f"{stage}_until") for stage in ENDS},
    )  # fmt: skip
    run(plan)


def layout_of(plan: Plan) -> Layout:
    """The pool of one run; a run that goes on paints other scenes than the runs before it."""
    sizes = plan.sizes
    first_seed = FIRST_SEED + int(plan.begin) % 1_000_000 * 1_000_000 * (plan.folder / "unet.pt").exists()
    layout = Layout(Path(), plan.size, sizes.slots, sizes.lessons, sizes.workers, first_seed)
    needed = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout.fields().values())
    return replace(layout, folder=shared_folder(needed))


def see(plan: Plan, layout: Layout) -> None:
    """The other process: torch is imported there."""
    from modules.training import stages

    stages.see(plan, layout)


def run(plan: Plan) -> None:
    """Painters first, then both processes; torch is imported while the painters start."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    layout = layout_of(plan)
    plan.say(f"{plan.device}, {plan.sizes.workers} painters, {plan.size} px, pool in {layout.folder}")
    with Painters(layout):
        other = multiprocessing.get_context("spawn").Process(target=see, args=(plan, layout))
        other.start()
        is_seeing: Callable[[], bool] = other.is_alive
        try:
            from modules.training import stages

            stages.make(plan, layout, is_seeing)
            other.join(max(1.0, plan.begin + plan.seconds - plan.deadline("unet")))
        finally:
            if other.is_alive():
                other.terminate()
    plan.say("done")


if __name__ == "__main__":
    main()
