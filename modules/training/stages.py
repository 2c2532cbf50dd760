"""The stages of the training in two processes: one learns to see (autoencoder, judge), one to read and to draw."""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from modules.training import networks as shapes
from modules.training.autoencoder import start_linear, train_autoencoder, whiten
from modules.training.clock import Clock
from modules.training.compiling import load_compiled, save_compiled
from modules.training.diffusion import Recipe, Trainer, sample, start_quiet, train_unet
from modules.training.gallery import Gallery
from modules.training.header import metadata
from modules.training.judge import load_judge, train_judge
from modules.training.latents import Latents
from modules.training.layout import load_checkpoint, save_checkpoint
from modules.training.measure import draw, judge_itself, report_figures, table
from modules.training.networks import LATENT_SCALE, Networks, networks_of
from modules.training.parts import split
from modules.training.plan import JUDGE_SHARE, NAME, PREVIEW_SHARE, Plan
from modules.training.pool import SQUARE, Layout, Pool
from modules.training.preview import save_preview_decoder, train_preview
from modules.training.reading import start_shallow, teach
from modules.training.sheets import PROMPTS, grid, save_sheet

SEED = 0
VAE_DONE = "vae-done.pt"


def _networks(plan: Plan) -> Networks:
    if plan.start:
        return load_checkpoint(plan.start)
    return networks_of(getattr(shapes, plan.widths), SEED)


def _set_up(plan: Plan) -> None:
    if plan.device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def see(plan: Plan, layout: Layout) -> None:
    """The autoencoder, then the judge and the preview decoder; their files tell the other process."""
    _set_up(plan)
    sizes, pool = plan.sizes, Pool(layout)
    vae, done = _networks(plan).vae, plan.folder / VAE_DONE
    gallery = Gallery(pool, plan.device, sizes.gallery, sizes.held_back)
    if plan.start and not done.exists():
        torch.save(vae.state_dict(), done)
    if not done.exists():
        load_compiled(plan.compiled, "compiled-vae", plan.say)
        start_linear(vae)
        train_autoencoder(
            vae, gallery, plan.folder, plan.clock("autoencoder"), batch=sizes.vae_batch, crop=sizes.vae_crop,
            rate=sizes.vae_rate, device=plan.device, is_trimmed=sizes.is_thin, is_compiled=sizes.is_compiled,
            state_seconds=plan.state_seconds, report=plan.say,
        )  # fmt: skip
        some = gallery.whole(torch.arange(min(256, gallery.count), device=plan.device))
        spread = whiten(vae, some, LATENT_SCALE)
        plan.say(f"latents: std before whitening {[round(v, 3) for v in spread.diagonal().sqrt().tolist()]}")
        torch.save(vae.state_dict(), done.with_suffix(".part"))
        done.with_suffix(".part").replace(done)
        save_compiled(plan.keep_compiled, "compiled-vae", plan.folder, plan.say)
    vae.load_state_dict(torch.load(done, map_location=plan.device, weights_only=True))
    vae.to(plan.device).eval()
    networks = Networks(None, vae, None)  # type: ignore[arg-type]
    _show_autoencoder(plan, gallery, networks)
    judge_path, preview_path = plan.out / "judge.pt", plan.out / f"{NAME}-preview.safetensors"
    if not judge_path.exists():
        gallery.wait(2 * sizes.held_back)
        judge = train_judge(
            gallery, judge_path, Clock(JUDGE_SHARE * plan.seconds), device=plan.device, batch=sizes.judge_batch,
            report=plan.say,
        )  # fmt: skip
        held_back = range(sizes.held_back)
        plan.say("\n".join(table("judge on renders", judge_itself(judge, gallery, held_back, None, plan.device))))
        after = judge_itself(judge, gallery, held_back, networks, plan.device)
        plan.say("\n".join(table("judge on renders after the autoencoder", after)))
    if not preview_path.exists():
        decoder = train_preview(gallery, vae, Clock(PREVIEW_SHARE * plan.seconds), device=plan.device, report=plan.say)
        save_preview_decoder(preview_path, decoder, {"modelspec.title": "Atelier Starter preview"})


@torch.no_grad()
def _show_autoencoder(plan: Plan, gallery: Gallery, networks: Networks) -> None:
    """Say the error on pictures held back; eight of them and what became of them are kept for the sheet."""
    gallery.wait(8)
    pictures = gallery.whole(torch.arange(min(32, gallery.count, plan.sizes.held_back), device=plan.device))
    again = torch.cat([networks.vae(some).sample for some in pictures.split(8)])
    latents = torch.cat([networks.vae.encode(some).latent_dist.mean for some in pictures.split(8)]) * LATENT_SCALE
    error, spread = (again - pictures).abs().mean().item(), latents.std((0, 2, 3)).tolist()
    plan.say(f"autoencoder on {len(pictures)} pictures held back: mean error {error:.4f} of 2, "
             f"latents' std {[round(v, 3) for v in spread]}")  # fmt: skip
    grid(torch.cat([pictures[:8], again[:8]])).save(plan.folder / "vae-sheet.png")


def make(plan: Plan, layout: Layout, is_seeing: Callable[[], bool]) -> None:
    """The text encoder and the UNet, the checkpoint and its figures; `is_seeing`: does the other process live?"""
    _set_up(plan)
    sizes, pool, networks = plan.sizes, Pool(layout), _networks(plan)
    if not plan.start:
        torch.manual_seed(SEED)
        start_shallow(networks.text, sizes.text_layers)
        start_quiet(networks.unet)
        if not (plan.folder / "unet.pt").exists():
            teach(
                networks.text, pool, plan.folder, plan.clock("reading"), layers=sizes.text_layers,
                batch=sizes.text_batch, device=plan.device, state_seconds=plan.state_seconds, report=plan.say,
            )  # fmt: skip
    recipe = Recipe(
        batch=sizes.unet_batch, rate=sizes.unet_rate, text_rate=sizes.text_rate, layers=sizes.text_layers,
        is_thin=sizes.is_thin, is_compiled=sizes.is_compiled, encode_batch=sizes.encode_batch,
        start_with=sizes.start_with, state_seconds=plan.state_seconds, moments=sizes.moments,
    )  # fmt: skip
    trainer = Trainer(networks, recipe, plan.device)
    if recipe.is_compiled:
        load_compiled(plan.compiled, "compiled-unet", plan.say)
        trainer.warm_up(plan.size // 8, plan.say)
        save_compiled(plan.keep_compiled, "compiled-unet", plan.folder, plan.say)
    wait_for(plan, VAE_DONE, is_seeing)
    networks.vae.load_state_dict(torch.load(plan.folder / VAE_DONE, map_location="cpu", weights_only=True))
    networks.vae.to(plan.device, memory_format=torch.channels_last).eval().requires_grad_(False)
    latents = Latents(pool, networks.vae, plan.device, sizes.latents)
    patience = time.time() + 0.03 * plan.seconds
    latents.fill(recipe.start_with, recipe.encode_batch, np.random.default_rng(SEED), patience)
    plan.say(f"first latents: {latents.count[SQUARE]} squares, std {latents.spread()}")

    def show(moment: float) -> None:
        export(plan, networks, trainer.step * recipe.batch)
        save_sheet(plan.out / "sheet.webp", draw_sheets(plan, networks))
        plan.say(f"kept at {moment:.0%}")

    train_unet(trainer, latents, plan.folder, plan.clock("unet"), report=plan.say, on_moment=show)
    export(plan, networks, trainer.step * recipe.batch)
    measure(plan, networks, is_seeing)


def wait_for(plan: Plan, name: str, is_seeing: Callable[[], bool]) -> None:
    """Until the other process has written a file of the run."""
    while not (plan.folder / name).exists():
        if not is_seeing():
            raise RuntimeError(f"The process that makes {name} has ended without it; its message stands above.")
        time.sleep(0.05)


def measure(plan: Plan, networks: Networks, is_seeing: Callable[[], bool]) -> None:
    """Say the figures and write the last sheet."""
    for module in (networks.unet, networks.vae, networks.text):
        module.to(plan.device).eval()
    sheets = draw_sheets(plan, networks)
    save_sheet(plan.out / "sheet.webp", sheets)
    while is_seeing() and not (plan.out / "judge.pt").exists():
        time.sleep(0.05)
    over = plan.begin + 0.985 * plan.seconds
    pictures = report_figures(
        networks, load_judge(plan.out / "judge.pt", plan.device), say=plan.say, device=plan.device, size=plan.size,
        limit=plan.prompts, pairs=plan.prompts // 3, others=plan.prompts // 6, batch=plan.sizes.draw_batch,
        is_over=lambda: time.time() > over,
    )  # fmt: skip
    save_sheet(plan.out / "sheet.webp", [*sheets, grid(pictures)])


def export(plan: Plan, networks: Networks, trained_on: int) -> None:
    """Write the networks as they are as a checkpoint, whole or in parts."""
    path = (plan.folder if plan.in_parts else plan.out) / f"{NAME}.safetensors"
    size_bytes = save_checkpoint(path, networks, metadata(plan.size, trained_on))
    if plan.in_parts:
        packed = path.with_suffix(".safetensors.gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), 1))
        parts = split(packed, plan.out, packed.name)
        plan.say(f"{len(parts)} parts, {packed.stat().st_size / 2**20:.1f} MiB; "
                 f"cat {packed.name}.part-* | gunzip > {path.name}")  # fmt: skip
    plan.say(f"{path.name}: {size_bytes / 2**20:.1f} MiB after {trained_on} pictures")


def draw_sheets(plan: Plan, networks: Networks) -> list[Image.Image]:
    """The autoencoder's pictures, the prompts of `sheets.PROMPTS`, and some of them in a wide ratio."""
    is_training = networks.unet.training
    networks.unet.eval()
    prompts = list(PROMPTS[: plan.sizes.sheet])
    drawn = draw(
        networks, prompts, guidance_scale=6.0, steps=20, size=plan.size, device=plan.device,
        batch=plan.sizes.draw_batch,
    )  # fmt: skip
    seen = plan.folder / "vae-sheet.png"
    first = [Image.open(seen)] if seen.exists() else []
    wide = draw_wide(plan, networks)
    networks.unet.train(is_training)
    return [*first, grid(drawn), wide]


@torch.no_grad()
def draw_wide(plan: Plan, networks: Networks) -> Image.Image:
    """Some prompts in the ratio 5:3."""
    width, height = plan.size * 5 // 4, plan.size * 3 // 4
    prompts = list(PROMPTS[: min(6, plan.sizes.sheet)])
    latents = sample(networks.unet, networks.text, prompts, seed=3, size=(width, height), device=plan.device)
    decoded = networks.vae.decode(latents.to(networks.vae.dtype) / LATENT_SCALE).sample
    return grid(decoded.float().clamp(-1, 1), 6)
