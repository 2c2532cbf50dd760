"""How often the starter draws what the prompt says: `python benchmarks/starter.py` prints a table, figures as they are.

Prompts are of combinations of thing, colour and ground that no training picture showed, each in English and Chinese.
Colours are medians of pixels in CIE L*a*b*; class and place come from a small network trained on renders, whose own
accuracy on renders it never saw is printed beside. The judge is kept in `.training/judge.pt`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules.training import judge as judging
from modules.training.captions import Mood, caption
from modules.training.diffusion import sample
from modules.training.layout import load_checkpoint
from modules.training.networks import LATENT_SCALE, Networks
from modules.training.scenes import SPOT_CENTRES, colour_allowed, held_out
from modules.training.starter import save_picture
from modules.training.world import COLOURS, PLACES, THINGS, TINTS, Placed, Scene

CHECKPOINT = Path("models/Stable-diffusion/atelier-starter.safetensors")


@dataclass(frozen=True)
class Question:
    """A prompt and the scene that it asks for."""

    prompt: str
    scene: Scene
    language: str


def held_out_scenes() -> list[Scene]:
    """One scene for each held-out combination: plain grounds by day, places by day and night in turn."""
    rng = np.random.default_rng(11)
    scenes = []
    for thing, colour, ground in itertools.product(THINGS, COLOURS, [*TINTS, *(place.name for place in PLACES)]):
        tint = ground if ground in TINTS and isinstance(ground, str) else None
        place = None if tint else ground
        light = "night" if place and rng.random() < 0.35 else "day"
        if not held_out(thing.name, colour.name, ground) or not colour_allowed(colour.name, tint, place, light):
            continue
        spot = [None, "left", "right"][rng.integers(3)]
        scenes.append(Scene((Placed(thing.name, colour.name, 0.5, 0.5, 0.25, spot),), tint, place, light, 0))
    return scenes


def pair_scenes(count: int) -> list[Scene]:
    """Two different things side by side, in different colours, on a plain ground."""
    rng = np.random.default_rng(12)
    scenes: list[Scene] = []
    while len(scenes) < count:
        things = rng.choice([thing.name for thing in THINGS], 2, replace=False)
        colours = rng.choice([colour.name for colour in COLOURS], 2, replace=False)
        tint = str(rng.choice(list(TINTS)))
        if all(colour_allowed(str(colour), tint, None, "day") for colour in colours):
            placed = (
                Placed(str(t), str(c), 0, 0, 0, s) for t, c, s in zip(things, colours, ("left", "right"), strict=True)
            )
            scenes.append(Scene(tuple(placed), tint, None, "day", 0))
    return scenes


def ask(scenes: Iterable[Scene]) -> list[Question]:
    """Each scene as one English and one Chinese prompt, sentences and tags in turn."""
    rng = np.random.default_rng(13)
    questions = []
    for k, scene in enumerate(scenes):
        for language in ("en", "zh"):
            mood = Mood(language, ("sentence", "tags")[k % 2], False, False)
            questions.append(Question(caption(scene, rng, mood), scene, language))
    return questions


@torch.no_grad()
def draw(networks: Networks, prompts: list[str], guidance_scale: float, steps: int, size: int) -> Tensor:
    """Pictures [n 3 size size] for the prompts, sixteen at a time."""
    pictures = []
    for k in range(0, len(prompts), 16):
        some = prompts[k : k + 16]
        latents = sample(
            networks.unet, networks.text, some, seed=100 + k, size=size, steps=steps, guidance_scale=guidance_scale
        )
        pictures.append(networks.vae.decode(latents / LATENT_SCALE).sample.clamp(-1, 1))
    return torch.cat(pictures)


def score(questions: list[Question], verdicts: list[judging.Verdict]) -> dict[str, dict[str, list[bool]]]:
    """What was right: aspect -> group (all, a language, a thing, a colour, a ground) -> one truth for each picture."""
    marks: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for question, verdict in zip(questions, verdicts, strict=True):
        wanted, scene = question.scene.things[0], question.scene
        groups = ("all", question.language, wanted.thing, wanted.colour, scene.tint or scene.place or "")
        first = verdict.things[0] if verdict.things else None
        right = {"class": bool(first and first.thing == wanted.thing)}
        if first:
            right["colour"] = first.colour == wanted.colour
            if wanted.spot in ("left", "right"):
                right["position"] = (first.x < 0.5) == (SPOT_CENTRES[wanted.spot][0] < 0.5)
        if scene.tint:
            right["ground"] = verdict.tint == scene.tint
        else:
            right["place and light"] = verdict.place == judging.place_of(scene)
        for aspect, truth in right.items():
            for group in groups:
                marks[aspect][group].append(truth)
    return marks


def score_pairs(questions: list[Question], verdicts: list[judging.Verdict]) -> dict[str, list[bool]]:
    """For two things: both classes found, both in their colours, and in the asked order."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for question, verdict in zip(questions, verdicts, strict=True):
        seen = {thing.thing: thing for thing in verdict.things}
        pair = [seen.get(placed.thing) for placed in question.scene.things]
        marks["both classes"].append(all(pair))
        coloured = (
            one and one.colour == placed.colour for one, placed in zip(pair, question.scene.things, strict=True)
        )
        marks["both classes and colours"].append(all(coloured))
        left, right = pair
        marks["both classes in order"].append(bool(left and right and left.x < right.x))
    return marks


def share(truths: list[bool]) -> str:
    """A share as text, with how many it is of."""
    return f"{100 * sum(truths) / max(len(truths), 1):5.1f} %  ({len(truths)})"


def judge_itself(judge: judging.Judge, networks: Networks | None, size: int) -> dict[str, dict[str, list[bool]]]:
    """The judge's accuracy on renders it never saw: as they are, and after the model's autoencoder."""
    pixels, _, scenes = judging.lessons(9_000_000, 200, size)
    pictures = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    if networks is not None:
        pictures, scenes = pictures[:64], scenes[:64]  # the decoder takes its time
        with torch.no_grad():
            parts = [networks.vae.decode(networks.vae.encode(p).latent_dist.mean).sample for p in pictures.split(16)]
        pictures = torch.cat(parts)
    single = [k for k, scene in enumerate(scenes) if len(scene.things) == 1]
    questions = [Question("", scenes[k], "render") for k in single]
    return score(questions, judging.look(judge, pictures[single]))


def main() -> None:
    """Print the table; write the sheet of the first 64 pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=6.0)
    parser.add_argument("--limit", type=int, default=1000, help="at most so many prompts of one thing")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    given = parser.parse_args()
    began = time.monotonic()
    judge = judging.train_judge(given.folder / "judge.pt", given.size)
    networks = load_checkpoint(given.checkpoint)
    for module in (networks.unet, networks.vae, networks.text):
        module.eval()
    for name, own in (("renders", judge_itself(judge, None, given.size)),
                      ("renders after the autoencoder", judge_itself(judge, networks, given.size))):  # fmt: skip
        print(f"judge on {name}: " + ", ".join(f"{k} {share(v['all'])}" for k, v in own.items()))
    scenes = held_out_scenes()
    questions = ask([scenes[k] for k in np.random.default_rng(14).permutation(len(scenes))])[: given.limit]
    pictures = draw(networks, [q.prompt for q in questions], given.cfg, given.steps, given.size)
    marks = score(questions, judging.look(judge, pictures))
    print(f"\none thing, {len(questions)} prompts of held-out combinations, CFG {given.cfg}, {given.steps} steps")
    for aspect, groups in marks.items():
        line = "  ".join(f"{group} {share(groups[group])}" for group in ("all", "en", "zh") if groups[group])
        print(f"  {aspect:16} {line}")
    for aspect, table in (("class", THINGS), ("colour", COLOURS)):
        print(f"  {aspect} by word: " + ", ".join(f"{w.name} {share(marks[aspect][w.name])}" for w in table))
    wrong = Counter(_mistake(q, v) for q, v in zip(questions, judging.look(judge, pictures), strict=True))
    print("  most frequent mistakes: " + ", ".join(f"{m} {n}" for m, n in wrong.most_common(9) if m))
    pairs = ask(pair_scenes(given.pairs))
    if pairs:
        drawn = draw(networks, [q.prompt for q in pairs], given.cfg, given.steps, given.size)
        print(f"\ntwo things, {len(pairs)} prompts")
        for aspect, truths in score_pairs(pairs, judging.look(judge, drawn)).items():
            print(f"  {aspect:26} {share(truths)}")
    rows = [torch.cat(list(pictures[k : k + 8]), 2) for k in range(0, min(64, len(pictures) - 7), 8)]
    save_picture(torch.cat(rows, 1), given.folder / "benchmark.png")
    print(f"\n{time.monotonic() - began:.0f} s")


def _mistake(question: Question, verdict: judging.Verdict) -> str:
    wanted, first = question.scene.things[0], verdict.things[0] if verdict.things else None
    if first is None:
        return f"{wanted.thing} -> nothing"
    if first.thing != wanted.thing:
        return f"{wanted.thing} -> {first.thing}"
    return f"{wanted.colour} -> {first.colour}" if first.colour != wanted.colour else ""


if __name__ == "__main__":
    main()
