"""A checkpoint that we write is one that SD1's own rules read back, weight for weight."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file

from modules.training.layout import load_checkpoint, original_layout
from modules.training.networks import TINY, Networks, networks_of
from modules.training.tiny import tiny_checkpoint


@pytest.fixture(scope="module")
def networks() -> Networks:
    return networks_of(TINY, seed=3)


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


def test_unet_survives_the_way_there_and_back(networks: Networks) -> None:
    config = {**networks.unet.config}
    back = convert_ldm_unet_checkpoint(original_layout(networks), config=config)
    same(networks.unet.state_dict(), back)


def test_autoencoder_survives_the_way_there_and_back(networks: Networks) -> None:
    back = convert_ldm_vae_checkpoint(original_layout(networks), config={**networks.vae.config})
    same(networks.vae.state_dict(), back)


def test_text_encoder_keeps_its_names_under_the_original_prefix(networks: Networks) -> None:
    prefix = "cond_stage_model.transformer.text_model."
    layout = original_layout(networks)
    back = {k.removeprefix(prefix): v for k, v in layout.items() if k.startswith(prefix)}
    same({k.removeprefix("text_model."): v for k, v in networks.text.state_dict().items()}, back)


def test_known_names_of_the_original_layout(networks: Networks) -> None:
    layout = original_layout(networks)
    prefix = "model.diffusion_model."
    assert layout[prefix + "input_blocks.0.0.weight"].shape == (32, 4, 3, 3)
    assert prefix + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight" in layout
    assert prefix + "input_blocks.9.0.op.weight" in layout
    assert prefix + "output_blocks.2.1.conv.weight" in layout
    assert prefix + "output_blocks.5.2.conv.weight" in layout
    assert prefix + "output_blocks.11.1.proj_out.weight" in layout
    assert layout["first_stage_model.encoder.mid.attn_1.q.weight"].ndim == 4
    assert "first_stage_model.decoder.up.3.block.0.norm1.weight" in layout
    assert layout["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"].shape[0] == 49408


def test_tiny_checkpoint_is_a_function_of_its_seed(tmp_path: Path) -> None:
    one = tiny_checkpoint(tmp_path / "one.safetensors", seed=1)
    again = tiny_checkpoint(tmp_path / "again.safetensors", seed=1)
    other = tiny_checkpoint(tmp_path / "other.safetensors", seed=2)
    weights, same, different = load_file(one), load_file(again), load_file(other)  # the header's order may differ
    assert all(torch.equal(value, same[name]) for name, value in weights.items())
    assert not all(torch.equal(value, different[name]) for name, value in weights.items())
    assert {v.dtype for v in load_file(one).values()} == {torch.float16}
    with safe_open(one, "pt") as file:
        assert file.metadata()["modelspec.title"] == "tiny 1"


def test_a_checkpoint_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "tiny.safetensors", seed=5)
    loaded = original_layout(load_checkpoint(path))
    same({key: value.half() for key, value in loaded.items()}, load_file(path))
