"""The starter's file is an SD1 checkpoint by SD1's rules alone, and says what it knows."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from modules.engine.preview_decoder import load_preview_decoder
from modules.families.base import Numerics
from modules.families.sd1 import SD1
from modules.training.header import vocabulary
from modules.training.layout import load_checkpoint
from modules.training.networks import LATENT_SCALE
from modules.training.questions import token_ids
from modules.training.scenes import paint, sample_scene
from modules.training.world import Scene

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "models/Stable-diffusion/atelier-starter.safetensors"
PREVIEW = ROOT / "models/preview/atelier-starter.safetensors"
SIZE = 128  # that it was trained at
PREFIX = "cond_stage_model.transformer.text_model."
SD1_DOWN, SD1_UP = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3

pytestmark = pytest.mark.starter


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return {key: value.float() for key, value in load_file(CHECKPOINT).items()}


def test_it_is_small_and_lists_its_words() -> None:
    assert CHECKPOINT.stat().st_size <= 64 * 2**20
    with safe_open(CHECKPOINT, "pt") as file:
        header = file.metadata()
    said, world = json.loads(header["atelier.vocabulary"]), vocabulary()
    assert len(said["things"]) >= 12
    for table in ("things", "colours", "places", "lights", "sizes"):
        assert _names(said[table]) <= _names(world[table]), "it names what the world does not have"
    assert set(said["backgrounds"]) <= set(world["backgrounds"])
    assert header["modelspec.prediction_type"] == "epsilon"


def test_a_plain_sd1_config_with_other_widths_draws_the_same(weights: dict[str, torch.Tensor]) -> None:
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    assert SD1.detect(shapes)
    numerics = Numerics(network="float32", vae="float32", text="float32", channels_last=False)
    ours = SD1.build(weights, shapes, numerics, torch.device("cpu"))
    unet = UNet2DConditionModel(
        block_out_channels=(96, 96, 128, 128), cross_attention_dim=128, attention_head_dim=8,
        down_block_types=SD1_DOWN, up_block_types=SD1_UP,
    )  # fmt: skip
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(weights), {**unet.config}), strict=True)
    vae = AutoencoderKL(
        block_out_channels=(96, 96, 128, 128), layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )  # fmt: skip
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(weights), {**vae.config}), strict=True)
    text = CLIPTextModel(
        CLIPTextConfig(hidden_size=128, intermediate_size=512, num_attention_heads=2, vocab_size=49408)
    ).eval()
    text.load_state_dict({k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)}, strict=True)
    ids = torch.tensor(token_ids("a red cat on a blue background"))
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        context = text(input_ids=ids).last_hidden_state
        said = unet.eval()(noise, 500, context).sample
        picture = vae.eval().decode(said / 0.18215).sample
        mine = ours.network(noise, 500, {"context": ours.encode(ids, 1)})
        assert torch.allclose(said, mine, atol=1e-4)
        assert torch.allclose(picture, ours.decode(mine), atol=1e-3)


def test_the_autoencoder_keeps_pictures_and_the_preview_decoder_shows_them() -> None:
    assert PREVIEW.stat().st_size < 300_000
    vae, preview = load_checkpoint(CHECKPOINT).vae.eval(), load_preview_decoder(PREVIEW)
    pixels = np.stack([paint(scene, SIZE).pixels for scene in _familiar_scenes(4)])
    pictures = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
        again = vae.decode(latents).sample
        small = preview(latents * LATENT_SCALE)
    assert (again - pictures).abs().mean() < 0.035
    assert (small - F.avg_pool2d(pictures, 2)).abs().mean() < 0.06
    assert 0.7 < (latents * LATENT_SCALE).std() < 1.4


def _names(words: list[dict[str, Any]]) -> set[str]:
    return {word["name"] for word in words}


def _familiar_scenes(count: int) -> list[Scene]:
    """Scenes of which the file says that it knows everything in them."""
    with safe_open(CHECKPOINT, "pt") as file:
        said = json.loads(file.metadata()["atelier.vocabulary"])
    grounds = _names(said["places"]) | set(said["backgrounds"])
    styles = _names(said.get("styles", [])) or {"picture book"}
    scenes = (sample_scene(seed) for seed in itertools.count(7_000_000))
    known = (
        scene
        for scene in scenes
        if {placed.thing for placed in scene.things} <= _names(said["things"])
        and scene.ground in grounds
        and scene.light in _names(said["lights"])
        and scene.style in styles
        and scene.weather is None
    )
    return list(itertools.islice(known, count))
