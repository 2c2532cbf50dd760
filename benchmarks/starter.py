"""How often the starter draws what the prompt says: `python benchmarks/starter.py` prints tables, figures as they are.

Prompts are of combinations of thing, colour and ground that no training picture showed, half of them Chinese. Colours
are medians of pixels in CIE L*a*b*; class and place come from a small network trained on renders (`--judge`), whose own
accuracy on renders it never saw is printed beside.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules.training import judge as judging
from modules.training.layout import load_checkpoint
from modules.training.measure import Question, report_figures, score, single, table
from modules.training.networks import Networks
from modules.training.scenes import paint, sample_scene
from modules.training.sheets import grid, save_sheet

CHECKPOINT = Path("models/Stable-diffusion/atelier-starter.safetensors")
UNSEEN = 90_000_000_000


@torch.no_grad()
def judge_itself(judge: judging.Judge, networks: Networks | None, count: int, size: int) -> str:
    """The judge's accuracy on fresh renders: as they are, or after the model's autoencoder."""
    scenes = [sample_scene(UNSEEN + k, two=0.0) for k in range(count)]
    scenes = [scenes[k] for k in single(scenes)]
    pixels = np.stack([paint(scene, size).pixels for scene in scenes]).astype(np.float32)
    pictures = torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2)
    if networks is not None:
        parts = [networks.vae.decode(networks.vae.encode(p).latent_dist.mean).sample for p in pictures.split(4)]
        pictures = torch.cat(parts)
    marks = score([Question("", scene, "render") for scene in scenes], judging.look(judge, pictures))
    name = "renders after the autoencoder" if networks else "renders"
    return "\n".join(table(f"judge on {len(scenes)} {name}", marks))


def main() -> None:
    """Print the tables; write the sheet of the first 64 pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--judge", type=Path, default=Path(".training/out/judge.pt"), help="made by the training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=6.0)
    parser.add_argument("--limit", type=int, default=300, help="at most so many prompts of one thing")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--others", type=int, default=50, help="prompts for counts, and for weather")
    parser.add_argument("--renders", type=int, default=48, help="for the judge's own accuracy")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sheet", type=Path, default=Path(".training/benchmark.webp"))
    given = parser.parse_args()
    if not given.judge.exists():
        parser.error(f"{given.judge} is missing: `python -m modules.training.starter` makes it beside the checkpoint")
    began = time.monotonic()
    judge, networks = judging.load_judge(given.judge), load_checkpoint(given.checkpoint)
    for module in (networks.unet, networks.vae, networks.text):
        module.eval()
    if given.renders:
        print(judge_itself(judge, None, given.renders, given.size))
        print(judge_itself(judge, networks, given.renders, given.size))
    for module in (judge, networks.unet, networks.vae, networks.text):
        module.to(given.device)
    pictures = report_figures(
        networks, judge, say=print, device=given.device, size=given.size, guidance_scale=given.cfg, steps=given.steps,
        limit=given.limit, pairs=given.pairs, others=given.others, batch=given.batch,
    )  # fmt: skip
    save_sheet(given.sheet, [grid(pictures)])
    print(f"\n{given.sheet}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
