"""A tiny random SD1 checkpoint, through this program and through diffusers' own pipeline: the same picture.

Tolerances: text states and one network call 1e-5 (the same arithmetic in another order); the picture after eight steps
at most 1 of 255 levels off anywhere. Wrong heads, groups, activation or latent scale are tens of levels off.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from safetensors.torch import load_file

from modules.core.plan import ModelFile
from modules.engine import loading
from modules.engine.noise import ImageNoise
from modules.engine.run import run
from modules.families.base import SAFE
from modules.families.sd1 import TEXT
from modules.prompt import emphasis, tokens
from modules.training.networks import TINY, Networks, networks_of
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob

CPU = torch.device("cpu")
SEED = 3


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("reference"))
    tiny_checkpoint(bench.models / "tiny.safetensors", SEED)
    return bench


@pytest.fixture(scope="module")
def reference() -> Networks:
    """The networks that the checkpoint was written from, rounded to the file's 16 bits."""
    networks = networks_of(TINY, SEED)
    for one in (networks.unet, networks.vae, networks.text):
        one.half().float().eval()
    return networks


@pytest.fixture(scope="module")
def ours(bench):
    return loading.load(file_of(bench, "tiny"), SAFE, CPU)


def file_of(bench, name) -> ModelFile:
    return bench.plan(model={"checkpoint": name}).models["model"]


def ids(text: str) -> torch.Tensor:
    (chunk,) = tokens.chunks(emphasis.runs(text))
    return torch.tensor([chunk.ids])


@torch.inference_mode()
def test_text_states_are_those_of_transformers(ours, reference):
    answer = reference.text(input_ids=ids("a red cat"), output_hidden_states=True)
    torch.testing.assert_close(ours.encode(ids("a red cat"), 1), answer.last_hidden_state, atol=1e-5, rtol=1e-5)
    final = getattr(reference.text, "text_model", reference.text).final_layer_norm
    torch.testing.assert_close(ours.encode(ids("a red cat"), 2), final(answer.hidden_states[-2]), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_one_call_is_that_of_diffusers(ours, reference):
    draw = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 4, 12, 8, generator=draw), torch.randn(2, 77, 64, generator=draw)
    expected = reference.unet(x, 500.25, encoder_hidden_states=context).sample
    torch.testing.assert_close(ours.network(x, 500.25, {"context": context}), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_pixels_there_and_back_are_those_of_diffusers(ours, reference):
    draw = torch.Generator().manual_seed(0)
    latents, pixels = torch.randn(1, 4, 8, 6, generator=draw), torch.rand(1, 3, 64, 48, generator=draw) * 2 - 1
    torch.testing.assert_close(
        ours.decode(latents), reference.vae.decode(latents / 0.18215).sample, atol=1e-4, rtol=1e-4
    )
    expected = reference.vae.encode(pixels).latent_dist.mean * 0.18215
    torch.testing.assert_close(ours.encode_pixels(pixels), expected, atol=1e-4, rtol=1e-4)


def test_the_picture_is_that_of_diffusers(bench, reference):
    asked = {
        "prompt": "a red cat",
        "negative_prompt": "blurry",
        "seed": 11,
        "size": {"width": 96, "height": 64},
        "sampling": {"sampler": "Euler", "schedule": "Karras", "steps": 8, "cfg_scale": 6.0},
        "model": {"checkpoint": "tiny"},
    }
    job = KeepingJob()
    run(bench.plan(**asked), bench.workshop, job)
    pipeline = StableDiffusionPipeline(
        vae=reference.vae, text_encoder=reference.text, tokenizer=None, unet=reference.unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True, steps_offset=1,
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        told, not_told = (reference.text(ids(text)).last_hidden_state for text in ("a red cat", "blurry"))
        expected = pipeline(
            prompt_embeds=told, negative_prompt_embeds=not_told, latents=ImageNoise([11], (4, 8, 12)).draw(),
            num_inference_steps=8, guidance_scale=6.0, output_type="np",
        ).images[0]  # fmt: skip
    difference = np.abs(job.images()[0].astype(int) - np.round(expected * 255).astype(int))
    assert job.images()[0].std() > 5  # a picture, not a flat field
    assert difference.max() <= 1


@pytest.mark.parametrize("level", ["text_model.", ""])
def test_text_keys_load_with_and_without_their_level(bench, ours, level):
    from safetensors.torch import save_file

    weights = load_file(bench.models / "tiny.safetensors")
    renamed = {name.replace(TEXT + "text_model.", TEXT + level): value for name, value in weights.items()}
    path = bench.models / f"level{len(level)}.safetensors"
    save_file(renamed, path)
    file = replace_file(file_of(bench, "tiny"), path)
    other = loading.load(file, SAFE, CPU)
    with torch.inference_mode():
        assert torch.equal(other.encode(ids("a red cat"), 1), ours.encode(ids("a red cat"), 1))


def replace_file(file: ModelFile, path) -> ModelFile:
    return file.model_copy(update={"path": str(path), "stamp": loading.stamp(path), "name": path.stem})


def test_every_attention_is_ours(ours):
    from modules.engine.attention import Attention

    unet = ours.parts()["network"]
    processors = unet.attn_processors.values()
    assert len(processors) == 32
    assert all(isinstance(processor, Attention) for processor in processors)


def test_a_checkpoint_in_32_bit_is_loaded_too(bench, ours):
    from safetensors.torch import save_file

    path = bench.models / "wide.safetensors"
    save_file({name: value.float() for name, value in load_file(bench.models / "tiny.safetensors").items()}, path)
    other = loading.load(replace_file(file_of(bench, "tiny"), path), replace(SAFE, name="same"), CPU)
    assert other.parts()["vae"].dtype == torch.float32
