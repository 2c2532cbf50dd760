"""A tiny random SD 3 checkpoint through this program and through diffusers' pipeline: the same numbers.

Tolerances as in test_sd1.py: text states and one network call 1e-5, a picture at most 1 of 255 levels off.
"""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from modules.core.errors import ModelError
from modules.core.geometry import Size
from modules.engine import attention, loading
from modules.engine.noise import ImageNoise
from modules.engine.run import run
from modules.families import sd3
from modules.families.base import SAFE, Frame
from modules.prompt import emphasis, tokens
from modules.training.tinies import original_layout_of_vae
from tests.engine.bench import Bench, KeepingJob

CPU = torch.device("cpu")
SHIFT, SCALE = 0.0609, 1.5305
WIDE = 160  # of T5's states in the real thing 4096


class Reference:
    """The networks that the checkpoint is written from."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.network = SD3Transformer2DModel(
                sample_size=16, num_layers=2, attention_head_dim=64, num_attention_heads=2, joint_attention_dim=WIDE,
                caption_projection_dim=128, pooled_projection_dim=128, pos_embed_max_size=16,
                dual_attention_layers=(0,), qk_norm="rms_norm",
            )  # fmt: skip
            self.vae = AutoencoderKL(
                block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=16,
                up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, scaling_factor=SCALE, shift_factor=SHIFT,
                use_quant_conv=False, use_post_quant_conv=False,
            )  # fmt: skip
            self.one, self.two = (self._clip(act, layers) for act, layers in (("quick_gelu", 2), ("gelu", 3)))
            for norm in (module for name, module in self.network.named_modules() if ".norm_" in name):
                for weight in norm.parameters(recurse=False):
                    torch.nn.init.normal_(weight, 1.0, 0.3)
            self.one.text_projection.weight.data = torch.eye(64)
        for part in (self.network, self.vae, self.one, self.two):
            part.half().float().eval().requires_grad_(False)

    def _clip(self, activation: str, layers: int) -> CLIPTextModelWithProjection:
        config = CLIPTextConfig(
            vocab_size=49408, hidden_size=64, intermediate_size=256, projection_dim=64, num_hidden_layers=layers,
            num_attention_heads=1, hidden_act=activation, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
        )  # fmt: skip
        return CLIPTextModelWithProjection(config)

    def told(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """What the pipeline's encode_prompt makes of a text without a third encoder, and the two vectors."""
        one = self.one(ids(text), output_hidden_states=True)
        two = self.two(ids(text, "zero"), output_hidden_states=True)
        states = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1)
        states = torch.nn.functional.pad(states, (0, WIDE - states.shape[-1]))
        return torch.cat([states, torch.zeros(1, 256, WIDE)], 1), torch.cat([one.text_embeds, two.text_embeds], -1)

    def written(self) -> dict[str, torch.Tensor]:
        """Every weight as the original single files name it."""
        pieces: dict[str, dict[int, torch.Tensor]] = {}
        weights = self.network.state_dict()
        for name, value in weights.items():
            if name.startswith(("norm_out.", "transformer_blocks.1.norm1_context.")):
                value = torch.cat(value.chunk(2)[::-1])  # files have the shift before the scale
            where = sd3.original(name)
            stem = where.name if where else "final_layer.adaLN_modulation.1." + name.rpartition(".")[2]
            pieces.setdefault("model.diffusion_model." + stem, {})[where.piece if where else 0] = value
        made = {name: torch.cat([parts[n] for n in sorted(parts)]) for name, parts in pieces.items()}
        made |= {"first_stage_model." + name: value for name, value in original_layout_of_vae(self.vae).items()}
        for prefix, text in ((sd3.L, self.one), (sd3.G, self.two)):
            named = {prefix + name: value for name, value in text.state_dict().items() if "position_ids" not in name}
            made |= named
        del made[sd3.L + "text_projection.weight"]  # the identity is left out of files
        return {name: value.half().contiguous() for name, value in made.items()}


def ids(text: str, padding="end") -> torch.Tensor:
    (chunk,) = tokens.chunks(emphasis.runs(text), padding=padding)
    return torch.tensor([chunk.ids])


@pytest.fixture(scope="module")
def reference():
    return Reference()


@pytest.fixture(scope="module")
def bench(tmp_path_factory, reference):
    bench = Bench(tmp_path_factory.mktemp("sd3"))
    weights = reference.written()
    save_file(weights, bench.models / "sd3.safetensors")
    save_file({**weights, sd3.T5 + "transformer.shared.weight": torch.zeros(2, 2)}, bench.models / "sd3_t5.safetensors")
    bare = {name: value for name, value in weights.items() if not name.startswith("text_encoders.")}
    save_file(bare, bench.models / "bare.safetensors")
    return bench


@pytest.fixture(scope="module")
def model(bench):
    return loading.load(bench.plan(model={"checkpoint": "sd3"}).models["model"], SAFE, CPU)


def test_the_family_is_known(bench):
    found = bench.catalogue.find("sd3")
    assert (found.family, found.prediction, found.problem) == ("sd3", "flow", None)
    assert any("T5" in reason for reason in bench.catalogue.find("sd3_t5").reasons)


def test_a_file_without_its_text_encoders_says_what_it_lacks(bench):
    with pytest.raises(ModelError, match="no CLIP-L text encoder and no CLIP-G") as caught:
        bench.catalogue.find("bare")
    assert caught.value.code == "model_lacks_parts"


def test_a_damaged_transformer_names_the_tensor(bench, reference):
    weights = reference.written()
    weights["model.diffusion_model.joint_blocks.0.more"] = torch.zeros(1)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    with pytest.raises(ModelError, match=r"joint_blocks\.0\.more"):
        sd3.SD3.examine(shapes)
    del shapes["model.diffusion_model.joint_blocks.0.more"], shapes["model.diffusion_model.y_embedder.mlp.2.bias"]
    with pytest.raises(ModelError, match=r"y_embedder\.mlp\.2\.bias"):
        sd3.SD3.examine(shapes)


@torch.inference_mode()
def test_the_text_is_told_as_the_pipeline_does(model, reference):
    states, vector = model.read(ids("a red cat"), 1)
    told = model.tell({"context": states, "pooled": vector}, Frame(Size(width=96, height=64)))
    context, pooled = reference.told("a red cat")
    torch.testing.assert_close(told["context"], context, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(told["pooled"], pooled, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("attend", ["sdpa", "sliced"])
def test_one_call_is_that_of_diffusers(model, reference, attend):
    attention.install(model.parts()["network"], attend)
    draw = torch.Generator().manual_seed(0)
    x, pooled = torch.randn(2, 16, 8, 12, generator=draw), torch.randn(2, 128, generator=draw)
    context = torch.randn(2, 90, WIDE, generator=draw)
    times = torch.full((2,), 500.25)
    expected = reference.network(x, context, pooled, times, return_dict=False)[0]
    found = model.network(x, 500.25, {"context": context, "pooled": pooled})
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_latents_are_shifted_and_scaled(model, reference):
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean = reference.vae.encode(pixels).latent_dist.mean
    latents = model.encode_pixels(pixels)
    torch.testing.assert_close(latents, (mean - SHIFT) * SCALE, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.decode(latents), reference.vae.decode(mean).sample, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_canvas_beyond_the_known_places_is_an_error(model):
    cond = {"context": torch.zeros(1, 77, WIDE), "pooled": torch.zeros(1, 128)}
    with pytest.raises(ModelError, match="256 pixels"):
        model.network(torch.zeros(1, 16, 8, 34), 500.0, cond)


def test_every_weight_but_the_turned_ones_comes_from_where_it_says(bench, model):
    with loading.tensors_of(bench.plan(model={"checkpoint": "sd3"}).models["model"]) as (tensors, _):
        for part in ("network", "text", "text_2"):
            weights = model.parts()[part].state_dict()
            unknown = []
            for name, value in weights.items():
                origin = sd3.SD3.origin(part, name, weights.keys(), tensors.shapes)
                if origin is None:
                    unknown.append(name)
                else:
                    assert torch.equal(origin.read(tensors).float(), value), name
            turned = ("norm_out.", "transformer_blocks.1.norm1_context.")
            if part == "network":
                assert unknown
                assert all(name.startswith(turned) for name in unknown)
            else:
                assert unknown == (["text_projection.weight"] if part == "text" else [])


def test_adapters_find_modules_under_both_names():
    whole = sd3.SD3.names_in_files("network", "transformer_blocks.4.ff.net.0.proj", ())
    assert whole == ("joint_blocks.4.x_block.mlp.fc1",)
    assert sd3.SD3.names_in_files("network", "transformer_blocks.4.attn.to_q", ()) == ()


@pytest.mark.parametrize("negative", ["blurry", ""])
def test_the_picture_is_that_of_diffusers(bench, reference, negative):
    asked = {
        "prompt": "a red cat", "negative_prompt": negative, "seed": 11, "size": {"width": 96, "height": 64},
        "sampling": {"sampler": "Euler", "schedule": "Simple", "steps": 8, "cfg_scale": 5.0},
        "model": {"checkpoint": "sd3"},
    }  # fmt: skip
    job = KeepingJob()
    run(bench.plan(**asked), bench.workshop, job)
    pipeline = StableDiffusion3Pipeline(
        transformer=reference.network, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=reference.vae,
        text_encoder=reference.one, tokenizer=None, text_encoder_2=reference.two, tokenizer_2=None,
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        (context, pooled), nothing = reference.told("a red cat"), reference.told(negative)
        expected = pipeline(
            prompt_embeds=context, pooled_prompt_embeds=pooled, negative_prompt_embeds=nothing[0],
            negative_pooled_prompt_embeds=nothing[1], latents=ImageNoise([11], (16, 8, 12)).draw(), width=96,
            height=64, sigmas=np.linspace(1.0, 1 / 8, 8).tolist(), guidance_scale=5.0, output_type="np",
        ).images[0]  # fmt: skip
    difference = np.abs(job.images()[0].astype(int) - np.round(expected * 255).astype(int))
    assert job.images()[0].std() > 5  # a picture, not a flat field
    assert difference.max() <= 1
