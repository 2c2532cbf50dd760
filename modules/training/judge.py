"""Looking at pictures with a small network: which thing is where, and what ground is it on.

A segmenter finds each thing's main part; its colour and the plain ground's colour are then read off the pixels as
medians in CIE L*a*b*, so that only class and place rest on the network. It is trained on renders, blurred and noisy as
a decoder leaves them, and its own accuracy on renders it never saw is reported with every measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from modules.training.draw import Floats
from modules.training.scenes import paint, sample_scene
from modules.training.world import LIGHTS, PAINT, PLACES, THINGS, TINTS, Scene

THING_NAMES = [thing.name for thing in THINGS]
PLACE_NAMES = ["plain", *(f"{place.name}/{light.name}" for place in PLACES for light in LIGHTS)]
SMALLEST = 0.006  # of the picture: less is no thing


class Judge(nn.Module):
    """Small and U-shaped: pictures [b 3 h w] in -1..1 to main parts [b 13 h/2 w/2] and places [b 9], as scores."""

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 80, 96)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(),
            )
            for before, after in zip((3, *widths[:-1]), widths, strict=True)
        )  # fmt: skip
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(low + high, high, 3, 1, 1), nn.BatchNorm2d(high), nn.ReLU())
            for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.things = nn.Conv2d(widths[0], len(THINGS) + 1, 1)
        self.places = nn.Linear(widths[-1], len(PLACE_NAMES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Down to a sixteenth, and up again to half the side."""
        levels = [pictures]
        for block in self.down:
            levels.append(block(levels[-1]))
        places = self.places(levels[-1].mean((2, 3)))
        x = levels[-1]
        for block, beside in zip(self.up, levels[-2:0:-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        return self.things(x), places


@dataclass(frozen=True)
class Seen:
    """One thing found in a picture: its name, its colour's name, centre as shares of the side, share of the area."""

    thing: str
    colour: str
    x: float
    y: float
    area: float


@dataclass(frozen=True)
class Verdict:
    """What a picture shows: its things, largest first, the tint nearest to its rim, and place with light."""

    things: tuple[Seen, ...]
    tint: str
    place: str


def lab(colour: NDArray[np.floating]) -> NDArray[np.floating]:
    """sRGB [... 3] in 0..1 to CIE L*a*b* under D65 (CIE 15:2004, section 8.2.1)."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((np.maximum(colour, 0) + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def nearest(colour: NDArray[np.floating], table: dict[str, tuple[float, float, float]]) -> str:
    """The name in the table whose colour is nearest in L*a*b* (plain distance) to an sRGB colour in 0..1."""
    seen = lab(colour)
    return min(table, key=lambda name: float(np.linalg.norm(seen - lab(np.array(table[name])))))


def place_of(scene: Scene) -> str:
    """The scene's entry in `PLACE_NAMES`."""
    return f"{scene.place}/{scene.light}" if scene.place else "plain"


def _labels(main: tuple[Floats, ...], scene: Scene) -> NDArray[np.int64]:
    """The class of each pixel at half size: 0, or 1 + the thing whose main part it is."""
    labels = np.zeros((main[0].shape[0] // 2, main[0].shape[1] // 2), np.int64)
    for mask, placed in zip(main, scene.things, strict=True):
        half = mask.reshape(labels.shape[0], 2, labels.shape[1], 2).mean((1, 3))
        labels[half > 0.5] = 1 + THING_NAMES.index(placed.thing)
    return labels


def lessons(first: int, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[Scene]]:
    """Fresh renders with their labels: pixels [n h w 3], classes [n h/2 w/2], scenes."""
    scenes = [sample_scene(first + k, two=0.3) for k in range(count)]
    painted = [paint(scene, size) for scene in scenes]
    pixels = np.stack([p.pixels for p in painted])
    labels = np.stack([_labels(p.main, s) for p, s in zip(painted, scenes, strict=True)])
    return pixels, labels, scenes


def _worn(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Blurred, noisy and shifted in colour a little, as decoders leave pictures."""
    b = len(pictures)
    amount = torch.rand(b, 1, 1, 1, generator=noise)
    soft = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), 5, 1)
    pictures = pictures + amount * (soft - pictures)
    pictures = pictures + 0.04 * torch.randn(b, 3, 1, 1, generator=noise)
    coarse = F.interpolate(torch.randn(b, 3, 16, 16, generator=noise), size=pictures.shape[-2:], mode="bilinear")
    return pictures + 0.06 * torch.rand(b, 1, 1, 1, generator=noise) * coarse


def train_judge(
    path: Path, size: int = 128, count: int = 5000, epochs: int = 8, report: Callable[[str], None] = print
) -> Judge:
    """The judge from `path`, or a fresh one trained on `count` renders and saved there (minutes on a CPU)."""
    judge = Judge()
    if path.exists():
        judge.load_state_dict(torch.load(path, weights_only=True))
        return judge.eval()
    torch.manual_seed(5)
    pixels, labels, scenes = lessons(5_000_000, count, size)
    places = torch.tensor([PLACE_NAMES.index(place_of(scene)) for scene in scenes])
    noise, began, batch = torch.Generator().manual_seed(5), time.monotonic(), 32
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=1e-3)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    weight = torch.ones(len(THINGS) + 1)
    weight[0] = 0.3
    for epoch in range(epochs):
        order = torch.randperm(count)[: count - count % batch].split(batch)
        for chosen in order:
            x = torch.from_numpy(pixels[chosen.numpy()].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
            with torch.autocast("cpu", torch.bfloat16):
                things, where = judge(_worn(x, noise))
            loss = F.cross_entropy(things.float(), torch.from_numpy(labels[chosen.numpy()]), weight)
            loss = loss + 0.3 * F.cross_entropy(where.float(), places[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        report(f"judge epoch {epoch + 1}/{epochs} loss {loss.item():.4f} {time.monotonic() - began:.0f} s")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(judge.state_dict(), path)
    return judge.eval()


@torch.no_grad()
def look(judge: Judge, pictures: Tensor) -> list[Verdict]:
    """Judge pictures [n 3 h w] in -1..1."""
    things, places = judge(pictures)
    shares = things.softmax(1).numpy()
    colours = ((pictures.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy()
    verdicts = []
    for share, colour, place in zip(shares, colours, places.argmax(1).tolist(), strict=True):
        verdicts.append(Verdict(_things(share, colour), _rim(colour), PLACE_NAMES[place]))
    return verdicts


def _rim(colour: NDArray[np.floating]) -> str:
    """The tint nearest to the median of the outer twelve hundredths."""
    side = colour.shape[0]
    rim = np.ones((side, side), bool)
    edge = round(0.12 * side)
    rim[edge:-edge, edge:-edge] = False
    return nearest(np.median(colour[rim], 0), TINTS)


def _things(share: NDArray[np.floating], colour: NDArray[np.floating]) -> tuple[Seen, ...]:
    """What the class map [13 h/2 w/2] shows: connected classes would be finer, one region a class is enough here."""
    winner = share.argmax(0)
    half = colour.reshape(winner.shape[0], 2, winner.shape[1], 2, 3).mean((1, 3))
    found = []
    for k, name in enumerate(THING_NAMES, 1):
        region = winner == k
        area = float(region.mean())
        if area < SMALLEST:
            continue
        rows, columns = np.nonzero(region)
        hue = nearest(np.median(half[region], 0), PAINT)
        found.append(Seen(name, hue, (columns.mean() + 0.5) / len(winner), (rows.mean() + 0.5) / len(winner), area))
    return tuple(sorted(found, key=lambda seen: -seen.area))
