"""Make the starter model: `python -m modules.training.starter --device cpu --minutes 60`.

Five stages, each taken up where it was broken off: renders, autoencoder, reading (the text encoder), UNet, export.
Progress is printed; states and sample sheets lie in the folder `.training`, the checkpoint and its preview decoder
where `--checkpoint` and `--preview` say.
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.multiprocessing import spawn

from modules.training.autoencoder import Trimmed, start_linear, train_autoencoder, whiten
from modules.training.cache import Renders, renders
from modules.training.diffusion import Recipe, encode_renders, finish, prepare, sample, start_quiet, train_unet
from modules.training.layout import save_checkpoint
from modules.training.networks import LATENT_SCALE, STARTER, Networks, networks_of
from modules.training.preview import save_preview_decoder, train_preview
from modules.training.reading import Shallow, start_shallow, teach
from modules.training.together import Together
from modules.training.world import COLOURS, LIGHTS, PLACES, SIZES, SPOTS, STYLES, THINGS, TINTS

SEED = 0
VAE_SCENES, VAE_COUNT = 0, 4_000
UNET_SCENES, UNET_COUNT = 1_000_000, 20_000
SHEET = (
    "a small red house on the left, blue background",
    "a red house in the snow at night",
    "an orange cat on a green background",
    "a black cat on a meadow",
    "purple fish at sea",
    "a white boat on the sea at night",
    "three pink mushrooms on a meadow",
    "a yellow balloon in the mountains",
    "雪地里的红色小房子,夜晚",
    "黄色背景，一只蓝色的猫",
    "一条青绿色的鱼在海上",
    "紫色雨伞，白色背景",
    "a big green apple, pink background",
    "a blue flower on the right, yellow background",
    "a yellow moon on a purple background",
    "a red star left of a green tree on a gray background",
)


@dataclass(frozen=True)
class Run:
    """Where and how one training runs."""

    folder: Path
    device: str
    size: int
    vae_steps: int
    text_steps: int
    scenes: int
    workers: int
    recipe: Recipe


def say(line: str) -> None:
    """One line of progress with the time of day."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def autoencoder(networks: Networks, run: Run) -> None:
    """Train the autoencoder and whiten its latents; the result is kept as vae-done.pt."""
    done = run.folder / "vae-done.pt"
    if not done.exists():
        pictures = renders(run.folder / "cache", VAE_SCENES, VAE_COUNT, run.size)
        start_linear(networks.vae)
        train_autoencoder(
            networks.vae, pictures, run.folder, steps=run.vae_steps, rate=3e-4, device=run.device, report=say
        )
        networks.vae.to("cpu")
        trimmed = Trimmed(networks.vae)
        spread = whiten(networks.vae, as_tensor(pictures, range(256)), LATENT_SCALE)
        trimmed.restore()
        say(f"latents: std before whitening {[round(v, 3) for v in spread.diagonal().sqrt().tolist()]}")
        torch.save(networks.vae.state_dict(), done)
    networks.vae.load_state_dict(torch.load(done, weights_only=True))
    networks.vae.eval()


def as_tensor(pictures: Renders, which: range) -> Tensor:
    """Some renders as [n 3 h w] in -1..1."""
    chosen = pictures.pixels[which.start : which.stop].astype(np.float32)
    return torch.from_numpy(chosen / 127.5 - 1).permute(0, 3, 1, 2)


def text_encoder(networks: Networks, run: Run) -> None:
    """Teach the text encoder to read captions."""
    torch.manual_seed(SEED)
    start_shallow(networks.text, run.recipe.layers)
    teach(networks.text, run.folder, steps=run.text_steps, layers=run.recipe.layers, device=run.device, report=say)


@torch.no_grad()
def sheet(networks: Networks, path: Path, device: str, size: int) -> None:
    """Draw the sixteen prompts of `SHEET` with one seed as a picture of four rows."""
    latents = sample(networks.unet, networks.text, list(SHEET), seed=1, device=device, size=size)
    pictures = networks.vae.to("cpu").decode(latents.cpu() / LATENT_SCALE).sample
    rows = [torch.cat(list(pictures[k : k + 4]), 2) for k in range(0, 16, 4)]
    save_picture(torch.cat(rows, 1), path)


def save_picture(picture: Tensor, path: Path) -> None:
    """Write [3 h w] in -1..1 as a PNG."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


def vocabulary() -> dict[str, Any]:
    """The world's words in both languages, for the page's hints."""
    tables = {"things": THINGS, "colours": COLOURS, "places": PLACES, "lights": LIGHTS}
    tables |= {"where": SPOTS, "sizes": SIZES, "styles": STYLES}
    words: dict[str, Any] = {
        name: [{"name": word.name, "en": list(word.en), "zh": list(word.zh)} for word in table]
        for name, table in tables.items()
    }
    words["backgrounds"] = list(TINTS)
    return words


def metadata(size: int, trained_on: int) -> dict[str, object]:
    """The header of the checkpoint."""
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "Atelier Starter",
        "modelspec.description": "A small picture book: 12 things in 12 colours on plain grounds and in 4 places.",
        "modelspec.author": "Atelier",
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": f"{size}x{size}",
        "modelspec.prediction_type": "epsilon",
        "atelier.vocabulary": vocabulary(),
        "atelier.trained_on": str(trained_on),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run all stages."""
    parser = argparse.ArgumentParser(prog="python -m modules.training.starter", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels, a multiple of 64")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall clock of the UNet's training, over all parts")
    parser.add_argument("--vae-steps", type=int, default=1400)
    parser.add_argument("--text-steps", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=UNET_COUNT, help="pictures that the UNet is trained on")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the UNet together, on a CPU")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument(
        "--text-rate", type=float, default=0.0, help="learning rate of the text encoder beside the UNet"
    )
    parser.add_argument("--whole", action="store_true", help="train the finest attention too (for GPUs)")
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--checkpoint", type=Path, default=Path("models/Stable-diffusion/atelier-starter.safetensors"))
    parser.add_argument("--preview", type=Path, default=Path("models/preview/atelier-starter.safetensors"))
    given = parser.parse_args(arguments)
    recipe = Recipe(given.minutes, given.batch, given.rate, given.text_rate, is_thin=not given.whole)
    run = Run(
        given.folder, given.device, given.size, given.vae_steps, given.text_steps, given.scenes, given.workers, recipe
    )
    make(run, given.checkpoint, given.preview)


def make(run: Run, checkpoint: Path, preview: Path) -> None:
    """All stages, one after the other; now and then a fresh checkpoint in the run's folder."""
    networks = networks_of(STARTER, SEED)
    autoencoder(networks, run)
    text_encoder(networks, run)
    pictures = renders(run.folder / "cache", UNET_SCENES, max(UNET_COUNT, run.scenes), run.size)
    latents = encode_renders(networks.vae.to(run.device), pictures, run.folder / "latents.pt", run.scenes, run.device)
    networks.vae.to("cpu")
    say(f"latents {tuple(latents.shape)} std {[round(v, 3) for v in latents.std((0, 2, 3)).tolist()]}")
    if run.workers == 1:
        diffusion(0, run, None)
    else:
        prepare(networks.unet, run.recipe.is_thin)
        numbers = sum(p.numel() for p in networks.unet.parameters() if p.requires_grad)
        finish(networks.unet)
        spawn(diffusion, (run, Together.of(run.workers, numbers)), nprocs=run.workers)
    export(networks, run, checkpoint)
    if not preview.exists():
        decoder = train_preview(latents, pictures, steps=1500, device=run.device, report=say)
        save_preview_decoder(preview, decoder, {"modelspec.title": "Atelier Starter preview"})


def diffusion(rank: int, run: Run, together: Together | None) -> None:
    """Train the UNet, as one of several workers or alone; the states of the stages before are in the run's folder."""
    networks = networks_of(STARTER, SEED)
    autoencoder(networks, run)
    text_encoder(networks, run)
    pictures = renders(run.folder / "cache", UNET_SCENES, max(UNET_COUNT, run.scenes), run.size)
    latents = torch.load(run.folder / "latents.pt", weights_only=True)[: run.scenes]
    torch.manual_seed(SEED)
    start_quiet(networks.unet)

    def keep(_: object) -> None:
        save_checkpoint(run.folder / "latest.safetensors", networks, metadata(run.size, len(latents)))

    train_unet(
        networks.unet, networks.text, latents, pictures, run.folder, run.recipe,
        device=run.device, report=say, on_average=keep if rank == 0 else None, rank=rank, together=together,
    )  # fmt: skip


def export(networks: Networks, run: Run, checkpoint: Path) -> None:
    """Write the averaged networks of the run's last state as a checkpoint, and a sheet of pictures."""
    state = torch.load(run.folder / "unet.pt", map_location="cpu", weights_only=True)
    networks.unet.load_state_dict({**state["model"], **state["ema"]})
    shallow = Shallow(networks.text, run.recipe.layers)
    networks.text.load_state_dict(state["text"])
    shallow.restore()
    networks.unet.eval()
    size_bytes = save_checkpoint(checkpoint, networks, metadata(run.size, run.scenes))
    say(f"{checkpoint}: {size_bytes / 2**20:.1f} MiB after {state['step']} steps")
    sheet(networks, run.folder / "sheet.png", "cpu", run.size)


if __name__ == "__main__":
    main()
