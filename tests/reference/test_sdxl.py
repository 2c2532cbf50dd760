"""Tiny random SDXL, refiner and SD 2 checkpoints, through this program and through diffusers: the same numbers.

Tolerances as in test_sd1.py: text states and one network call 1e-5, a picture at most 1 of 255 levels off.
"""

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

from modules.core.geometry import Size
from modules.core.plan import ModelFile
from modules.engine import conditioning, loading
from modules.engine.noise import ImageNoise
from modules.engine.run import run
from modules.families.base import SAFE, Frame
from modules.prompt import emphasis, tokens
from modules.training.tinies import TINY_REFINER, TINY_SD2, TINY_SDXL, networks_of, write_checkpoint
from tests.engine.bench import Bench, KeepingJob

CPU = torch.device("cpu")
SEED = 3
SHAPES = {"sdxl": TINY_SDXL, "sdxl-refiner": TINY_REFINER, "sd2": TINY_SD2}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("reference"))
    for name, shape in SHAPES.items():
        write_checkpoint(bench.models / f"{name}.safetensors", shape, SEED)
    return bench


@pytest.fixture(scope="module")
def references():
    """The networks that each checkpoint was written from, rounded to the file's 16 bits."""
    made = {name: networks_of(shape, SEED) for name, shape in SHAPES.items()}
    for networks in made.values():
        for one in networks.all():
            one.half().float().eval().requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def models(bench):
    return {name: loading.load(file_of(bench, name), SAFE, CPU) for name in SHAPES}


def file_of(bench, name) -> ModelFile:
    return bench.plan(model={"checkpoint": name}).models["model"]


def ids(text: str, padding="end") -> torch.Tensor:
    (chunk,) = tokens.chunks(emphasis.runs(text), padding=padding)
    return torch.tensor([chunk.ids])


@pytest.mark.parametrize("name", SHAPES)
def test_the_family_is_known(bench, name):
    assert file_of(bench, name).family == name


@torch.inference_mode()
def test_both_encoders_are_read_at_the_layer_before_the_last(models, references):
    states, pooled = models["sdxl"].read(ids("a red cat"), 1)
    one = references["sdxl"].text(ids("a red cat"), output_hidden_states=True)
    two = references["sdxl"].open_text(ids("a red cat", "zero"), output_hidden_states=True)
    expected = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, two.text_embeds, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_clip_skip_reads_an_earlier_layer_and_leaves_the_vector(models, references):
    plain, vector = models["sdxl"].read(ids("a red cat"), 2)
    torch.testing.assert_close(plain, models["sdxl"].encode(ids("a red cat"), 1))
    states, same = models["sdxl"].read(ids("a red cat"), 3)
    two = references["sdxl"].open_text(ids("a red cat", "zero"), output_hidden_states=True)
    torch.testing.assert_close(states[..., 64:], two.hidden_states[-3], atol=1e-5, rtol=1e-5)
    assert torch.equal(vector, same)


@torch.inference_mode()
def test_the_refiner_reads_openclip_alone(models, references):
    states, pooled = models["sdxl-refiner"].read(ids("a red cat"), 1)
    two = references["sdxl-refiner"].open_text(ids("a red cat", "zero"), output_hidden_states=True)
    torch.testing.assert_close(states, two.hidden_states[-2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, two.text_embeds, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_sd2_reads_the_layer_before_the_last_normalised(models, references):
    two = references["sd2"].open_text
    answer = two(ids("a red cat", "zero"), output_hidden_states=True)
    expected = two.text_model.final_layer_norm(answer.hidden_states[-2])
    torch.testing.assert_close(models["sd2"].encode(ids("a red cat"), 1), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", SHAPES)
def test_one_call_is_that_of_diffusers(models, references, name):
    draw = torch.Generator().manual_seed(0)
    shape, numbers = SHAPES[name], 6 if name == "sdxl" else 5
    context = references[name].unet.config.cross_attention_dim
    x, told = torch.randn(2, 4, 16, 8, generator=draw), torch.randn(2, 77, context, generator=draw)
    pooled, sizes = torch.randn(2, shape.open_clip[0], generator=draw), torch.rand(2, numbers, generator=draw) * 1000
    added = None if name == "sd2" else {"text_embeds": pooled, "time_ids": sizes}
    expected = references[name].unet(x, 500.25, encoder_hidden_states=told, added_cond_kwargs=added).sample
    given = {"context": told, "pooled": pooled, "sizes": sizes}
    torch.testing.assert_close(models[name].network(x, 500.25, given), expected, atol=1e-5, rtol=1e-4)


def test_sizes_are_those_of_the_pass(models):
    cond = {"context": torch.ones(1, 77, 128), "pooled": torch.ones(1, 64)}
    told = models["sdxl"].tell(cond, Frame(Size(width=96, height=64)))
    assert told["sizes"].tolist() == [[64.0, 96.0, 0.0, 0.0, 64.0, 96.0]]
    refiner = models["sdxl-refiner"]
    assert refiner.tell(cond, Frame(Size(width=96, height=64)))["sizes"].tolist() == [[64, 96, 0, 0, 6.0]]
    assert refiner.tell(cond, Frame(Size(width=96, height=64), negative=True))["sizes"].tolist() == [
        [64, 96, 0, 0, 2.5]
    ]


@pytest.mark.parametrize("negative", ["blurry", ""])
def test_the_picture_is_that_of_diffusers(bench, references, negative):
    asked = {
        "prompt": "a red cat", "negative_prompt": negative, "seed": 11, "size": {"width": 96, "height": 64},
        "sampling": {"sampler": "Euler", "schedule": "Karras", "steps": 8, "cfg_scale": 6.0},
        "model": {"checkpoint": "sdxl"},
    }  # fmt: skip
    job = KeepingJob()
    run(bench.plan(**asked), bench.workshop, job)
    reference = references["sdxl"]
    pipeline = StableDiffusionXLPipeline(
        vae=reference.vae, text_encoder=reference.text, text_encoder_2=reference.open_text, tokenizer=None,
        tokenizer_2=None, unet=reference.unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True, steps_offset=1,
        ),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)

    def told(text):
        one = reference.text(ids(text), output_hidden_states=True).hidden_states[-2]
        two = reference.open_text(ids(text, "zero"), output_hidden_states=True)
        return torch.cat([one, two.hidden_states[-2]], -1), two.text_embeds

    with torch.inference_mode():
        context, pooled = told("a red cat")
        # force_zeros_for_empty_prompt, as the published base model's pipeline is configured
        nothing = told(negative) if negative else (torch.zeros_like(context), torch.zeros_like(pooled))
        expected = pipeline(
            prompt_embeds=context, pooled_prompt_embeds=pooled, negative_prompt_embeds=nothing[0],
            negative_pooled_prompt_embeds=nothing[1], latents=ImageNoise([11], (4, 8, 12)).draw(), width=96, height=64,
            num_inference_steps=8, guidance_scale=6.0, output_type="np",
        ).images[0]  # fmt: skip
    difference = np.abs(job.images()[0].astype(int) - np.round(expected * 255).astype(int))
    assert job.images()[0].std() > 5  # a picture, not a flat field
    assert difference.max() <= 1


def test_weights_of_emphasis_restore_each_encoders_mean_by_itself(models):
    reader = conditioning.Reader(models["sdxl"], conditioning.Cache())
    plain, loud = (reader.states([text], conditioning.Reading())[0] for text in ("cat", "(cat:1.4)"))
    for part in (slice(0, 64), slice(64, 128)):
        torch.testing.assert_close(
            plain["context"][..., part].mean(), loud["context"][..., part].mean(), atol=1e-5, rtol=1e-4
        )
    assert not torch.equal(plain["context"], loud["context"])
    assert torch.equal(plain["pooled"], loud["pooled"])
