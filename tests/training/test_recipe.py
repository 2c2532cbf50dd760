"""The steps of the recipe do what their names say, on networks small enough to try."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modules.training.autoencoder import Trimmed, start_linear, whiten
from modules.training.cache import Renders, renders
from modules.training.diffusion import (
    Recipe,
    finish,
    pictures_with_captions,
    prepare,
    sample,
    sample_times,
    signal_shares,
    start_quiet,
    train_unet,
)
from modules.training.ema import Ema
from modules.training.networks import STARTER, TINY, networks_of, vae_of
from modules.training.reading import Shallow, start_shallow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Renders:
    return renders(tmp_path_factory.mktemp("cache"), 0, 8, 64, workers=1)


@pytest.fixture(scope="module")
def batch(pictures: Renders) -> torch.Tensor:
    return torch.from_numpy(pictures.pixels[:4].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)


def test_the_autoencoder_starts_as_interpolated_block_means(batch: torch.Tensor) -> None:
    vae = vae_of(STARTER)
    start_linear(vae)
    with torch.no_grad():
        latents = vae.encode(batch).latent_dist.mean
        made = vae.decode(latents).sample
    means = F.avg_pool2d(batch, 8)
    assert (latents[:, :3] - means).abs().mean() < 0.1
    for channel in range(3):
        pair = torch.stack([latents[:, channel].flatten(), means[:, channel].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.99
    assert (made - batch).abs().mean() < 0.15


def test_blocks_left_out_in_training_change_nothing(batch: torch.Tensor) -> None:
    vae = vae_of(STARTER)
    start_linear(vae)
    with torch.no_grad():
        whole = vae(batch).sample
        trimmed = Trimmed(vae)
        part = vae(batch).sample
        trimmed.restore()
    assert torch.equal(whole, part)
    assert len(vae.encoder.down_blocks[0].resnets) == 2


def test_whitening_evens_the_latents_and_keeps_the_picture(batch: torch.Tensor) -> None:
    vae = vae_of(STARTER)
    start_linear(vae)
    torch.nn.init.normal_(vae.encoder.conv_out.weight[3], std=0.05)
    with torch.no_grad():
        before = vae.decode(vae.encode(batch).latent_dist.mean).sample
        whiten(vae, batch, 0.18215)
        latents = vae.encode(batch).latent_dist.mean
        after = vae.decode(latents).sample
    covariance = torch.cov((latents * 0.18215).permute(1, 0, 2, 3).flatten(1))
    assert torch.allclose(covariance, torch.eye(4), atol=0.02)
    assert (before - after).abs().max() < 0.01


def test_passing_most_of_the_finest_level_by_changes_nothing() -> None:
    unet = networks_of(TINY, 1).unet.eval()
    start_quiet(unet)
    torch.nn.init.normal_(unet.conv_out.weight, std=0.1)
    x, context = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 64)
    with torch.no_grad():
        whole = unet(x, 500, context).sample
        prepare(unet, is_thin=True)
        thin = unet(x, 500, context).sample
        finish(unet)
        again = unet(x, 500, context).sample
    assert torch.allclose(whole, thin, atol=1e-5)
    assert torch.equal(whole, again)


def test_identity_layers_of_the_text_encoder_change_nothing() -> None:
    text = networks_of(TINY, 1).text.eval()
    start_shallow(text, 1)
    ids = torch.randint(0, 49000, (2, 77))
    with torch.no_grad():
        whole = text(input_ids=ids).last_hidden_state
        shallow = Shallow(text, 1)
        assert len(text.encoder.layers) == 1
        assert torch.allclose(whole, text(input_ids=ids).last_hidden_state, atol=1e-6)
        shallow.restore()


def test_signal_shares_are_sd1s() -> None:
    shares = signal_shares()
    assert shares[0] == pytest.approx(0.99915, abs=1e-6)
    assert shares[-1] == pytest.approx(0.0046599, abs=1e-6)


def test_times_lean_to_the_noisy_side() -> None:
    times = sample_times(4000, np.random.default_rng(0))
    assert times.min() >= 0
    assert times.max() < 1000
    assert 520 < times.float().mean() < 600


def test_averages_follow_and_are_written_back() -> None:
    module = torch.nn.Linear(2, 2)
    ema = Ema(module, 0.5)
    first = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1
    ema.update(module, step=1000)
    ema.copy_to(module)
    assert torch.allclose(module.weight, first + 0.5)


def test_training_starts_goes_on_and_ends(pictures: Renders, tmp_path: Path) -> None:
    networks = networks_of(TINY, 1)
    start_quiet(networks.unet)
    latents = torch.randn(8, 4, 8, 8)
    lines: list[str] = []
    for minutes in (0.03, 0.06):  # the second run takes up the first one's state
        recipe = Recipe(minutes=minutes, batch=2, layers=1)
        train_unet(networks.unet, networks.text, latents, pictures, tmp_path, recipe, report=lines.append)
    state = torch.load(tmp_path / "unet.pt", weights_only=True)
    assert state["step"] > 0
    assert state["spent"] >= 0.06 * 60
    made = sample(networks.unet, networks.text, ["red cat", "蓝色的猫"], seed=1, size=64, steps=2)
    assert made.shape == (2, 4, 8, 8)
    assert made.isfinite().all()


def test_batches_have_captions_of_whole_chunks(pictures: Renders) -> None:
    batches = pictures_with_captions(torch.randn(8, 4, 8, 8), pictures, 2, np.random.default_rng(0))
    shapes = {tuple(next(batches)[1].shape) for _ in range(60)}
    assert shapes == {(2, 1, 77), (2, 2, 77)}
