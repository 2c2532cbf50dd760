"""What one run of the training is: where, how long, how large; and the shares of its time that each stage has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from modules.training.clock import Clock

NAME = "atelier-starter"
# the share of all seconds at which a stage is over, at the latest; the rest is for measuring
ENDS = {"autoencoder": 0.235, "reading": 0.13, "unet": 0.905}
JUDGE_SHARE, PREVIEW_SHARE = 0.045, 0.015


@dataclass(frozen=True)
class Sizes:
    """Everything that depends on how fast the device is."""

    workers: int = 1
    slots: int = 1_500
    lessons: int = 40_000
    gallery: int = 3_000
    held_back: int = 160  # pictures of the gallery that only the judge's accuracy is measured on
    latents: int = 20_000
    vae_batch: int = 16
    vae_crop: int = 64
    vae_rate: float = 3e-4
    is_thin: bool = True  # leave the finest and dearest blocks at the identity
    text_batch: int = 64
    text_layers: int = 6
    unet_batch: int = 32
    unet_rate: float = 5e-4
    text_rate: float = 2e-5
    encode_batch: int = 16
    start_with: int = 1_000
    judge_batch: int = 32
    draw_batch: int = 8
    is_compiled: bool = False
    moments: tuple[float, ...] = (0.55, 0.8)  # of the UNet's time, when a checkpoint and a sheet are made
    sheet: int = 24  # prompts on a sheet


CPU = Sizes()
GPU = Sizes(
    workers=15, slots=36_000, lessons=400_000, gallery=22_000, held_back=320, latents=160_000, vae_batch=64,
    vae_crop=128, vae_rate=5e-4, is_thin=False, text_batch=512, unet_batch=128, unet_rate=8e-4, text_rate=8e-5,
    encode_batch=64, start_with=8_000, judge_batch=64, draw_batch=64, is_compiled=True,
)  # fmt: skip
SMALL = replace(
    CPU, slots=60, lessons=400, gallery=24, held_back=8, latents=40, vae_batch=2, vae_crop=32, text_batch=8,
    text_layers=1, unet_batch=4, encode_batch=16, start_with=16, judge_batch=4, is_thin=False,
    moments=(0.5,), sheet=2,
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One run. `folder` holds states to go on from, `out` what is made."""

    folder: Path
    out: Path
    device: str
    seconds: float
    sizes: Sizes
    size: int = 256
    widths: str = "STARTER"  # a name in `networks`
    start: Path | None = None  # a checkpoint to go on from
    in_parts: bool = False
    state_seconds: float = 300.0
    compiled: Path | None = None  # where compiled code is read
    keep_compiled: Path | None = None  # and written
    prompts: int = 300
    ends: Mapping[str, float] = field(default_factory=lambda: dict(ENDS))
    begin: float = field(default_factory=time.time)

    def deadline(self, stage: str) -> float:
        """When a stage is over at the latest, as `time.time()` counts."""
        return self.begin + self.seconds * self.ends[stage]

    def clock(self, stage: str) -> Callable[[float], Clock]:
        """A stage's clock, from the seconds that earlier runs have spent on it."""
        begin = self.ends["autoencoder"] if stage == "unet" else 0.0
        seconds = self.seconds * (self.ends[stage] - begin)
        return lambda spent: Clock(seconds, self.deadline(stage), spent)

    def say(self, line: str) -> None:
        """One line of progress with the seconds since the start, on the screen and in the log."""
        text = f"{time.time() - self.begin:6.1f} s  {line}"
        print(text, flush=True)
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(text + "\n")
