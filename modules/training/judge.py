"""Looking at pictures with a small network: which thing is where, and what ground is it on.

A segmenter finds each thing's main part; its colour and the plain ground's colour are then read off the pixels as
medians in CIE L*a*b*, so that only class and place rest on the network. It is trained on renders, blurred and noisy as
a decoder leaves them, and its own accuracy on renders it never saw is reported with every measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from modules.training.clock import Clock, falling
from modules.training.gallery import Gallery
from modules.training.lab import lab
from modules.training.pool import COVERED
from modules.training.questions import QUESTIONS
from modules.training.world import LIGHTS, PAINT, PLACES, STYLES, THINGS, TINTS, WEATHERS

THING_NAMES = [thing.name for thing in THINGS]
# what the whole picture is, in the numbers of `questions.QUESTIONS`; 0 is none
LOOKS: dict[str, tuple[str | None, ...]] = {
    "tint": (None, *TINTS),
    **{
        kind: (None, *(word.name for word in table))
        for kind, table in (("place", PLACES), ("light", LIGHTS), ("weather", WEATHERS), ("style", STYLES))
    },
}
SMALLEST = 0.004  # of the picture: less is no thing
WIDTHS = (32, 64, 96, 128, 160)


class Judge(nn.Module):
    """Small and U-shaped: pictures [b 3 h w] in -1..1 to scores for main parts [b 21 h/2 w/2] and for each look."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(),
            )
            for before, after in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        )  # fmt: skip
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(low + high, high, 3, 1, 1), nn.BatchNorm2d(high), nn.ReLU())
            for low, high in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.things = nn.Conv2d(WIDTHS[0], len(THINGS) + 1, 1)
        self.looks = nn.Linear(WIDTHS[-1] + WIDTHS[-3], sum(len(names) for names in LOOKS.values()))

    def forward(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Down to a thirty-second, and up again to half the side."""
        levels = [pictures]
        for block in self.down:
            levels.append(block(levels[-1]))
        means = torch.cat([levels[-1].mean((2, 3)), levels[-3].mean((2, 3))], 1)
        looks = self.looks(means).split([len(names) for names in LOOKS.values()], 1)
        x = levels[-1]
        for block, beside in zip(self.up, levels[-2:0:-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        return self.things(x), dict(zip(LOOKS, looks, strict=True))


@dataclass(frozen=True)
class Seen:
    """One kind of thing found: its name, its colour's name, centre and area as shares of the picture, how many."""

    thing: str
    colour: str
    x: float
    y: float
    area: float
    count: int


@dataclass(frozen=True)
class Verdict:
    """What a picture shows: its things, largest first, the tint nearest to its rim, and how the whole looks."""

    things: tuple[Seen, ...]
    rim: str
    looks: dict[str, str | None]


def nearest(colour: NDArray[np.floating[Any]], table: dict[str, tuple[float, float, float]]) -> str:
    """The name in the table whose colour is nearest in L*a*b* (plain distance) to an sRGB colour in 0..1."""
    seen = lab(colour)
    return min(table, key=lambda name: float(np.linalg.norm(seen - lab(np.array(table[name])))))


def _worn(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Blurred, noisy and shifted in colour a little, as decoders leave pictures."""
    b, device = len(pictures), pictures.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise, device=device)

    amount, grain = torch.rand((2, b, 1, 1, 1), generator=noise, device=device)
    soft = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), 5, 1)
    pictures = pictures + amount * (soft - pictures) + 0.04 * normal(b, 3, 1, 1)
    coarse = F.interpolate(normal(b, 3, 32, 32), size=pictures.shape[-2:], mode="bilinear")
    return pictures + 0.08 * grain * coarse


def train_judge(
    gallery: Gallery,
    path: Path,
    clock: Clock,
    *,
    device: str,
    batch: int = 64,
    report: Callable[[str], None] = print,
) -> Judge:
    """The judge from `path`, or a fresh one trained on the gallery until the clock is over."""
    if path.exists():
        return load_judge(path, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        judge = Judge().to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    noise = torch.Generator(device).manual_seed(5)
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=1e-3)
    weight = torch.ones(len(THINGS) + 1, device=device)
    weight[0] = 0.3
    columns = {kind: list(QUESTIONS).index(kind) for kind in LOOKS}
    step, loss = 0, torch.zeros(())
    while step == 0 or clock.done < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 100) * falling(clock.done, 0.3)
        chosen = gallery.any(batch, noise)
        pictures = _worn(gallery.whole(chosen), noise).contiguous(memory_format=torch.channels_last)
        facts = gallery.facts[chosen].long()
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            things, looks = judge(pictures)
        loss = F.cross_entropy(things.float(), (gallery.marks[chosen] % COVERED).long(), weight)
        for kind, scores in looks.items():
            loss = loss + 0.1 * F.cross_entropy(scores.float(), facts[:, columns[kind]])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if step % 200 == 0:
            report(f"judge {step} ({clock.done:.0%}) loss {loss.item():.4f}")
    report(f"judge: {step} steps of {batch} on {gallery.count} pictures, loss {loss.item():.4f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    torch.save(weights, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    return judge.eval()


def load_judge(path: Path, device: str = "cpu") -> Judge:
    """A trained judge."""
    judge = Judge()
    judge.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return judge.to(device).eval()


@torch.no_grad()
def look(judge: Judge, pictures: Tensor) -> list[Verdict]:
    """Judge pictures [n 3 h w] in -1..1."""
    verdicts = []
    for some in pictures.split(32):
        things, looks = judge(some)
        winners = things.argmax(1).byte().cpu().numpy()
        colours = ((some.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).cpu().numpy()
        chosen = {kind: scores.argmax(1).tolist() for kind, scores in looks.items()}
        for k, (winner, colour) in enumerate(zip(winners, colours, strict=True)):
            names = {kind: LOOKS[kind][numbers[k]] for kind, numbers in chosen.items()}
            verdicts.append(Verdict(_things(winner, colour), _rim(colour), names))
    return verdicts


def _rim(colour: NDArray[np.floating[Any]]) -> str:
    """The tint nearest to the median of the outer twelve hundredths."""
    height, width = colour.shape[:2]
    rim, edge = np.ones((height, width), bool), round(0.12 * min(height, width))
    rim[edge:-edge, edge:-edge] = False
    return nearest(np.median(colour[rim], 0), TINTS)


def _things(winner: NDArray[np.uint8], colour: NDArray[np.floating[Any]]) -> tuple[Seen, ...]:
    """What the class map [h/2 w/2] shows: each kind with the median colour of its parts, counted by pieces."""
    height, width = winner.shape
    half = colour.reshape(height, 2, width, 2, 3).mean((1, 3))
    found = []
    for k, name in enumerate(THING_NAMES, 1):
        region = winner == k
        area = float(region.mean())
        if area < SMALLEST:
            continue
        rows, columns = np.nonzero(region)
        hue = nearest(np.median(half[region], 0), PAINT)
        # parts of one thing that an accent or a blade of grass cuts apart count as one
        labels: NDArray[np.intp] = ndimage.label(ndimage.binary_dilation(region, iterations=max(1, height // 64)))[0]  # type: ignore[index]
        pieces = np.bincount(labels[region])[1:]
        count = int((pieces >= max(0.25 * pieces.max(), SMALLEST * winner.size / 2)).sum())
        found.append(Seen(name, hue, (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height, area, max(1, count)))
    return tuple(sorted(found, key=lambda seen: -seen.area))
