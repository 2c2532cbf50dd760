"""The steps of the recipe do what their names say, on networks small enough to try."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modules.training.autoencoder import Trimmed, start_linear, whiten
from modules.training.clock import Clock, falling
from modules.training.diffusion import (
    Recipe,
    Trainer,
    finish,
    prepare,
    sample,
    sample_times,
    signal_shares,
    start_quiet,
    train_unet,
)
from modules.training.ema import Ema
from modules.training.gallery import Gallery, signed
from modules.training.latents import Latents
from modules.training.networks import STARTER, TINY, networks_of, vae_of
from modules.training.pool import COVERED, FREE, SQUARE, Layout, Pool, fill, scene_of, sides, write_lessons
from modules.training.questions import EMPTY
from modules.training.reading import Lessons, Shallow, start_shallow, teach
from modules.training.scenes import paint, sample_scene


def pool_of(folder: Path, count: int = 24) -> Pool:
    """A pool with `count` pictures of 64 pixels a side and 40 lessons."""
    pool, rng = Pool(Layout(folder, 64, count, 40, 1, 1)), np.random.default_rng(0)
    for slot in range(count):
        fill(pool, slot, slot, rng)
    write_lessons(pool, 0, 100, rng)
    return pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return pool_of(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return signed(torch.from_numpy(np.stack([paint(sample_scene(k), 64).pixels for k in range(4)])))


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
    assert (made - batch).abs().mean() < 0.2


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
    assert (before - after).abs().max() < 0.02


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


def test_averages_follow_are_shown_and_are_written_back() -> None:
    module = torch.nn.Linear(2, 2)
    ema = Ema(module, 0.5)
    first = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1
    ema.update(step=1000)
    with ema.shown():
        assert torch.allclose(module.weight, first + 0.5)
    assert torch.allclose(module.weight, first + 1)
    ema.copy_to(module)
    assert torch.allclose(module.weight, first + 0.5)


def test_a_clock_ends_at_its_deadline_and_goes_on_where_a_run_stopped() -> None:
    assert Clock(100, spent=50).done == pytest.approx(0.5, abs=0.05)
    assert Clock(100, deadline=0).done == 1
    assert falling(0.0) == falling(0.3) == 1
    assert falling(0.6) < 0.9
    assert falling(1.0) == pytest.approx(0.02)


def test_a_slot_holds_the_picture_of_its_scene_with_marks_and_captions(pool: Pool) -> None:
    for slot in range(len(pool.ready())):
        scene, shape = scene_of(int(pool["seed"][slot]))
        where = np.array([slot])
        painted = paint(scene, sides(64, shape))
        assert np.array_equal(pool.pictures(where, shape)[0], painted.pixels)
        covered = (pool.marks(where, shape)[0] & COVERED) > 0
        seen = np.maximum.reduce(painted.covered)
        means = seen.reshape(seen.shape[0] // 2, 2, -1, 2).mean((1, 3))
        assert np.array_equal(covered, np.maximum.reduce([
            c.reshape(means.shape[0], 2, means.shape[1], 2).mean((1, 3)) > 0.5 for c in painted.covered
        ]))  # fmt: skip
        assert (pool["captions"][slot, :, 0] == EMPTY[0]).all()


def test_crops_lie_on_the_latents_grid_and_weigh_things_more(pool: Pool) -> None:
    gallery = Gallery(pool, "cpu", 10, held_back=2)
    gallery.wait(10)
    pictures, weights = gallery.crops(32, 6, torch.Generator().manual_seed(0))
    assert pictures.shape == (6, 3, 32, 32)
    assert {round(weight, 3) for weight in weights.unique().tolist()} <= {0.6, 2.6}
    whole = gallery.whole(torch.arange(2, 10))
    grid = [whole[..., y : y + 32, x : x + 32] for y in range(0, 33, 8) for x in range(0, 33, 8)]
    patches = torch.cat([torch.cat([part, part.flip(-1)]) for part in grid])
    for picture in pictures:
        assert any(torch.equal(picture, patch) for patch in patches)


def test_latents_are_taken_in_and_slots_given_back(tmp_path: Path) -> None:
    pool, vae = pool_of(tmp_path), networks_of(TINY, 1).vae.eval()
    before = len(pool.ready(SQUARE))
    assert before >= 16
    latents = Latents(pool, vae, "cpu", 20)
    latents.fill(16, 16, np.random.default_rng(0), until=0)
    assert latents.count[SQUARE] == 15 or latents.count[SQUARE] == 16
    assert len(pool.ready(SQUARE)) == before - latents.count[SQUARE]
    assert (pool["ready"] == FREE).sum() == latents.count[SQUARE]
    clean, ids = latents.batch(SQUARE, 40, False, torch.Generator().manual_seed(0))
    assert clean.shape == (40, 4, 8, 8)
    assert ids.shape == (40, 1, 77)
    assert 0 < sum(row.tolist() == EMPTY for row in ids[:, 0]) < 20
    assert latents.batch(SQUARE, 2, True, torch.Generator())[1].shape == (2, 2, 77)


def test_the_reader_learns_from_the_pools_lessons(pool: Pool, tmp_path: Path) -> None:
    lessons = Lessons(pool, "cpu")
    lessons.grow()
    ids, positions, known = lessons.batch(30, torch.Generator().manual_seed(0))
    assert (ids[torch.arange(30), positions.long()] == EMPTY[-1]).all()  # at the end or in what follows it
    assert known.shape[0] == 30
    lines: list[str] = []
    text = networks_of(TINY, 1).text
    before = text.embeddings.token_embedding.weight.detach().clone()
    for seconds in (0.5, 1.0):  # the second run takes up the first one's state
        teach(text, pool, tmp_path, lambda spent, s=seconds: Clock(s, spent=spent), layers=1, batch=4, device="cpu",
              report=lines.append)  # fmt: skip
    assert not torch.equal(before, text.embeddings.token_embedding.weight)
    assert torch.load(tmp_path / "text.pt", weights_only=True)["spent"] >= 1.0
    assert "thing1" in lines[-1]


def test_training_starts_goes_on_and_ends(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    pool = pool_of(tmp_path / "pool")
    networks = networks_of(TINY, 1)
    start_quiet(networks.unet)
    latents = Latents(pool, networks.vae.eval(), "cpu", 20)
    latents.fill(16, 16, np.random.default_rng(0), until=0)
    lines: list[str] = []
    moments: list[float] = []
    recipe = Recipe(batch=2, rate=1e-3, text_rate=1e-4, layers=1, is_thin=False, is_compiled=False, moments=(0.0,))
    for seconds in (1.5, 3.0):  # the second run takes up the first one's state
        trainer = Trainer(networks, recipe, "cpu")
        train_unet(trainer, latents, tmp_path, lambda spent, s=seconds: Clock(s, spent=spent), report=lines.append,
                   on_moment=moments.append)  # fmt: skip
    state = torch.load(tmp_path / "unet.pt", weights_only=True)
    assert state["step"] > 1
    assert state["spent"] >= 3.0
    assert len(networks.text.encoder.layers) == 2
    made = sample(networks.unet, networks.text, ["red cat", "蓝色的猫"], seed=1, size=(80, 48), steps=2)
    assert made.shape == (2, 4, 6, 10)
    assert made.isfinite().all()
