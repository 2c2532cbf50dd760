"""The analytic family through the whole arithmetic: file, prompt, walk, pixels; in every prediction type."""

import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from modules.core.errors import ModelError
from modules.core.sampling import find_sampler
from modules.engine.denoise import denoise
from modules.engine.guidance import Weighted, guide
from modules.engine.noise import ImageNoise
from modules.engine.prediction import Prediction
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import sigmas_for
from modules.families.analytic import ANALYTIC, BLOCKS, colour, pictures, write_checkpoint
from modules.families.base import SAFE, Evidence, recognise

CPU = torch.device("cpu")
WORDS = (320, 736)


class Quiet:
    def check(self):
        pass

    def called(self, call):
        pass

    def after_step(self, step):
        pass


def model(path, **facts):
    weights = load_file(write_checkpoint(path / "analytic.safetensors", **facts))
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert recognise(Evidence(shapes)).family == "analytic"
    return ANALYTIC.build(weights, shapes, SAFE, CPU)


def encoded(loaded, words):
    ids = [49406, *words] + [49407] * (76 - len(words))
    return {"context": loaded.encode(torch.tensor([ids]), 1).flatten(0, 1)[None]}


def made(loaded, words, sampler="Euler", scale=1.0, seeds=(1,), steps=20):
    edge = Prediction.of(loaded.diffusion)
    sigmas = sigmas_for(sampler, "Karras", steps, edge.times)
    noise = ImageNoise(seeds, (4, 8, 12))
    cond, empty = encoded(loaded, words), encoded(loaded, ())
    guided = guide(edge.x0(loaded.network), lambda _: [Weighted(cond)], lambda _: empty, scale, keep_uncond=True)
    x = noise.draw() * edge.noise_scale(sigmas[0])
    return edge.leave(denoise(guided, x, sigmas, SAMPLERS[sampler], noise, Quiet(), Quiet()), sigmas[-1])


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if not find_sampler(name).needs_uncond])
def test_the_prompt_is_in_the_picture(tmp_path, sampler):
    """Whatever the sampler, the walk ends near one of the prompt's three pictures."""
    loaded = model(tmp_path)
    means = pictures(encoded(loaded, WORDS)["context"][0], 8, 12)
    latents = made(loaded, WORDS, sampler)
    nearest = min(float((latents[0] - mean).square().mean().sqrt()) for mean in means)
    assert nearest < 0.2


def test_cfgpp_pulls_towards_the_prompt(tmp_path):
    """Its scale is people's divided by 12.5; it strengthens colours, so likeness is measured by angle."""
    loaded = model(tmp_path)
    means = pictures(encoded(loaded, WORDS)["context"][0], 8, 12).flatten(1)
    latents = made(loaded, WORDS, "DDIM CFG++", scale=7.0 / find_sampler("DDIM CFG++").cfg_divisor)
    assert float(torch.cosine_similarity(latents.flatten(1), means).max()) > 0.95


def test_seeds_decide_which_of_the_three(tmp_path):
    loaded = model(tmp_path)
    means = pictures(encoded(loaded, WORDS)["context"][0], 8, 12)
    latents = made(loaded, WORDS, seeds=range(24))
    distances = (latents[:, None] - means).square().flatten(2).mean(-1)
    assert set(distances.argmin(1).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("prediction", ["v", "x0", "flow"])
def test_every_prediction_type_makes_the_same_kind_of_picture(tmp_path, prediction):
    loaded = model(tmp_path)
    loaded.diffusion = replace(loaded.diffusion, prediction=prediction)
    means = pictures(encoded(loaded, WORDS)["context"][0], 8, 12)
    latents = made(loaded, WORDS, steps=60)
    assert min(float((latents[0] - mean).square().mean().sqrt()) for mean in means) < 0.2


def test_eps_and_v_walk_the_same_way(tmp_path):
    loaded = model(tmp_path)
    eps = made(loaded, WORDS)
    loaded.diffusion = replace(loaded.diffusion, prediction="v")
    assert torch.allclose(made(loaded, WORDS), eps, atol=1e-4)


def test_guidance_moves_away_from_grey(tmp_path):
    loaded = model(tmp_path)
    assert float(made(loaded, WORDS, scale=3.0).abs().mean()) > 1.5 * float(made(loaded, WORDS).abs().mean())


def test_rows_are_the_words_colours(tmp_path):
    loaded = model(tmp_path)
    rows = pictures(encoded(loaded, WORDS)["context"][0], 8, 12)[0]
    assert rows[:3, 0, 0].tolist() == pytest.approx(colour(WORDS[0]))
    assert rows[:3, -1, 0].tolist() == pytest.approx(colour(WORDS[1]))
    assert float(pictures(encoded(loaded, ())["context"][0], 8, 12).abs().max()) == 0


def test_pixels_and_back(tmp_path):
    loaded = model(tmp_path)
    latents = made(loaded, WORDS)
    latents[:, 3] = 0
    pixels = loaded.decode(latents)
    assert pixels.shape == (1, 3, 64, 96)
    assert torch.allclose(loaded.encode_pixels(pixels), latents, atol=1e-6)
    assert loaded.preview(latents).shape == (1, 3, 8, 12)


def test_a_call_takes_its_time_in_blocks(tmp_path):
    loaded, ran = model(tmp_path, delay_s=0.04), []
    for block in loaded.blocks():
        block.register_forward_pre_hook(lambda *_: ran.append(time.perf_counter()))
    begun = time.perf_counter()
    loaded.network(torch.zeros(1, 4, 8, 8), 500.0, encoded(loaded, WORDS))
    assert time.perf_counter() - begun >= 0.04
    assert len(ran) == BLOCKS


def test_a_broken_file_is_named():
    with pytest.raises(ModelError, match=r"analytic\.spread") as problem:
        ANALYTIC.build({}, {"analytic.spread": (2,), "analytic.delay_s": (1,)}, SAFE, CPU)
    assert problem.value.code == "model_layout"
