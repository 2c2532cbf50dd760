"""What a call of a full-size network costs in our loop, beside the bare network and beside diffusers' own pipeline.

    python benchmarks/network.py [--device cuda] [--families sd1,sdxl] [--sizes 256,512] [--calls 8] [--folder DIR]

Random weights from a seed, at the published models' widths. "bare" is diffusers' UNet with its own attention
processors, called in a row on both halves of guidance, in the better of both dtypes and layouts; "ours" is a whole walk
through the engine (guidance, sampler, events, checks) divided by its calls, "pipeline" the same of diffusers' pipeline.
All of one row run in turn in one process; of several rounds the least counts. Targets: ours / bare at most 1.03 on a
GPU and 1.01 on a CPU, ours / pipeline at most 1. Checkpoints are written into DIR once (2 and 7 GB) and kept if given.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from modules.core.events import AnyEvent, ImageMade
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.engine import attention, numerics
from modules.engine.run import run
from modules.engine.workshop import Workshop
from modules.library.checkpoints import Catalogue
from modules.planning.compile import compile
from modules.training.tinies import FULL_SD1, FULL_SD2, FULL_SDXL, write_full

SHAPES = {"sd1": FULL_SD1, "sd2": FULL_SD2, "sdxl": FULL_SDXL}
SIZES = {"cpu": {"sd1": (256, 512), "sdxl": (512,)}, "cuda": {"sd1": (512,), "sdxl": (1024,)}}
PROFILES = {"cpu": ("safe", "bf16"), "cuda": ("fp16", "bf16")}


class Listener:
    """A job that keeps how long the walk took."""

    seconds = 0.0

    def emit(self, event: AnyEvent) -> None:
        """Hear of the finished picture."""
        if isinstance(event, ImageMade):
            self.seconds = float(event.facts["seconds"]["steps"])  # type: ignore[index, call-overload]

    def check(self) -> None:
        """Never cancelled."""

    def is_skipped(self, picture: int) -> bool:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--families", default="sd1,sdxl")
    parser.add_argument(
        "--sizes",
        default="",
        help="pixels a side, for every family; default: 256 and 512, SDXL 512; on a GPU 512 and 1024",
    )
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", default="")
    given = parser.parse_args()
    calls = given.calls or (20 if given.device == "cuda" else 3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{device_name(given.device)}, torch {torch.__version__}; milliseconds a call of both halves")
        print("| model | size | dtype | bare | ours | pipeline | ours / bare | ours / pipeline |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for family in given.families.split(","):
            checkpoint(folder, family)
            sizes = [int(side) for side in given.sizes.split(",")] if given.sizes else SIZES[given.device][family]
            compare(folder, family, given.device, sizes, calls, given.rounds)


def checkpoint(folder: Path, family: str) -> Path:
    """The full-size random checkpoint of a family, written if it is not there."""
    path = folder / f"full-{family}.safetensors"
    if not path.exists():
        write_full(path.with_suffix(".part"), SHAPES[family], 0).rename(path)
    return path


def compare(folder: Path, family: str, device: str, sizes: Any, calls: int, rounds: int) -> None:
    """One row a size."""
    fastest: dict[int, tuple[float, str]] = {}
    for profile in PROFILES[device]:
        with tempfile.TemporaryDirectory() as data:
            bench = Bench(folder, data, family, device, profile)
            for side in sizes:
                found = min(bench.bare(side, max(2, calls // 4), last) for last in (False, True))
                if side not in fastest or found < fastest[side][0]:
                    fastest[side] = (found, profile)
            bench.close()
    for profile in sorted({profile for _, profile in fastest.values()}):
        with tempfile.TemporaryDirectory() as data:
            bench = Bench(folder, data, family, device, profile)
            for side in (side for side in sizes if fastest[side][1] == profile):
                rows: list[tuple[float, float, float]] = []
                for _ in range(rounds):
                    rows.append((bench.bare(side, calls, True), bench.ours(side, calls), bench.pipeline(side, calls)))
                bare, ours, pipeline = (min(column) * 1000 for column in zip(*rows, strict=True))
                bare = min(bare, fastest[side][0] * 1000)
                print(
                    f"| {family} | {side} | {profile} | {bare:.1f} | {ours:.1f} | {pipeline:.1f} "
                    f"| {ours / bare:.3f} | {ours / pipeline:.3f} |", flush=True,
                )  # fmt: skip
            bench.close()


class Bench:
    """One full-size checkpoint on a device in one profile."""

    def __init__(self, folder: Path, data: str, family: str, device: str, profile: str) -> None:
        settings = Settings(data_dir=data, device=device, numerics=profile, previews=False)
        self.catalogue, self.workshop = Catalogue(settings, [folder]), Workshop(settings)
        self.family, self.device, self.numerics = family, torch.device(device), numerics.named(profile)
        self.loaded = self.workshop.residency.model(self._plan(512, 1).models["model"], self.numerics)
        self.unet: Any = self.loaded.model.parts()["network"]

    def bare(self, side: int, calls: int, channels_last: bool) -> float:
        """Seconds a call of diffusers' UNet with its own processors."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self._as_diffusers(layout)
        x, told = self._inputs(side)
        return timed(lambda: self.unet(x, 500.0, return_dict=False, **told), calls, self.device)

    def ours(self, side: int, calls: int) -> float:
        """Seconds a call of a walk through the engine."""
        self.unet.to(memory_format=torch.channels_last if self.numerics.channels_last else torch.contiguous_format)
        attention.install(self.unet, self.numerics.attention)
        job = Listener()
        run(self._plan(side, 2), self.workshop, job)
        run(self._plan(side, calls), self.workshop, job)
        return job.seconds / calls

    def pipeline(self, side: int, calls: int) -> float:
        """Seconds a call of diffusers' pipeline, without its decoding."""
        self._as_diffusers(torch.channels_last)
        scheduler = EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        )
        vae = self.loaded.model.parts()["vae"]
        if self.family == "sdxl":
            pipe: Any = StableDiffusionXLPipeline(
                vae, None, None, None, None, self.unet, scheduler  # type: ignore[arg-type]
            )  # fmt: skip
        else:
            pipe = StableDiffusionPipeline(
                vae, None, None, self.unet, scheduler, None, None, requires_safety_checker=False  # type: ignore[arg-type]
            )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
        x, told = self._inputs(side)
        half = {
            "prompt_embeds": told["encoder_hidden_states"][:1],
            "negative_prompt_embeds": told["encoder_hidden_states"][1:],
        }
        if self.family == "sdxl":
            vectors = told["added_cond_kwargs"]["text_embeds"]
            half |= {"pooled_prompt_embeds": vectors[:1], "negative_pooled_prompt_embeds": vectors[1:]}

        def walk(steps: int) -> None:
            with torch.inference_mode():
                pipe(
                    **half, latents=x[:1].clone(), width=side, height=side, num_inference_steps=steps,
                    guidance_scale=7.0, output_type="latent",
                )  # fmt: skip

        walk(2)
        synchronise(self.device)
        began = time.perf_counter()
        walk(calls)
        synchronise(self.device)
        return (time.perf_counter() - began) / calls

    def close(self) -> None:
        """Let the model go."""
        del self.unet, self.loaded
        self.workshop.close()
        self.catalogue.close()
        gc.collect()

    def _as_diffusers(self, layout: torch.memory_format) -> None:
        self.loaded.model.before_use("network")
        self.unet.to(memory_format=layout)
        self.unet.set_attn_processor(AttnProcessor2_0())

    def _inputs(self, side: int) -> tuple[Tensor, dict[str, Any]]:
        dtype = self.unet.dtype
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(2, 4, side // 8, side // 8, generator=draw).to(self.device, dtype)
        width = self.unet.config.cross_attention_dim
        told: dict[str, Any] = {
            "encoder_hidden_states": torch.randn(2, 77, width, generator=draw).to(self.device, dtype)
        }
        if self.family == "sdxl":
            vector = torch.randn(2, 1280, generator=draw).to(self.device, dtype)
            sizes = torch.full((2, 6), float(side), device=self.device)
            told["added_cond_kwargs"] = {"text_embeds": vector, "time_ids": sizes}
        return x, told

    def _plan(self, side: int, steps: int) -> Any:
        asked = {
            "prompt": "a red cat", "negative_prompt": "blurry", "seed": 1, "size": {"width": side, "height": side},
            "sampling": {"sampler": "Euler", "steps": steps, "cfg_scale": 7.0},
            "model": {"checkpoint": f"full-{self.family}"},
        }  # fmt: skip
        plan = compile(GenerationRequest.from_data(asked), self.catalogue)
        return plan.model_copy(update={"numerics": self.numerics.name})


def timed(call: Callable[[], object], calls: int, device: torch.device) -> float:
    """Seconds a call, after one that warms up."""
    with torch.inference_mode():
        call()
        synchronise(device)
        began = time.perf_counter()
        for _ in range(calls):
            call()
        synchronise(device)
    return (time.perf_counter() - began) / calls


def synchronise(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    """For the heading."""
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
