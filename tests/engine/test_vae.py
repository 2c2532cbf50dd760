"""Autoencoders from files of their own: by name beside a checkpoint, by choice, in both namings, refused by name."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.core.errors import ModelError
from modules.engine import loading
from modules.engine.run import run
from modules.families.base import SAFE
from modules.planning.check import check
from modules.training import tinies
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob, request

CPU = torch.device("cpu")
VAE = "first_stage_model."


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("source") / "tiny.safetensors", 1)


@pytest.fixture(scope="module")
def other():
    """The autoencoder of another checkpoint, as diffusers names it."""
    return tinies.networks_of(tinies.TINY_SD2, 9).vae.half()


@pytest.fixture
def bench(tmp_path, source):
    bench = Bench(tmp_path)
    (bench.models / "tiny.safetensors").write_bytes(source.read_bytes())
    (bench.models / "VAE").mkdir()
    return bench


def original(vae):
    return {name: value.contiguous() for name, value in tinies.original_layout_of_vae(vae).items()}


def write_vae(path, vae, prefix="", naming="original"):
    weights = original(vae) if naming == "original" else dict(vae.state_dict())
    save_file({prefix + name: value.contiguous() for name, value in weights.items()}, path)
    return path


def file_of(bench, **changed):
    return bench.plan(model={"checkpoint": "tiny"}, **changed).models["model"]


def decoded(bench, **changed):
    model = loading.load(file_of(bench, **changed), SAFE, CPU)
    with torch.inference_mode():
        return model.decode(torch.ones(1, 4, 4, 4) * 0.3)


@pytest.mark.parametrize(("prefix", "naming"), [("", "original"), (VAE, "original"), ("", "diffusers")])
def test_a_chosen_one_decodes(bench, other, prefix, naming):
    write_vae(bench.models / "VAE" / "fine.safetensors", other, prefix, naming)
    with torch.inference_mode():
        expected = other.float().decode(torch.ones(1, 4, 4, 4) * 0.3 / 0.18215).sample
        other.half()
    torch.testing.assert_close(decoded(bench, vae="fine"), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(decoded(bench), expected, atol=1e-2)


@pytest.mark.parametrize("place", ["tiny.vae.safetensors", "VAE/tiny.safetensors", "VAE/tiny.vae.safetensors"])
def test_one_of_the_checkpoints_name_is_taken_unless_told_otherwise(bench, other, place):
    write_vae(bench.models / place, other)
    assert file_of(bench).vae.path.endswith(place)
    assert file_of(bench, vae="none").vae is None
    assert [one.name for one in bench.catalogue.list()] == ["analytic", "tiny"]


def test_one_that_is_not_there_is_told_with_the_nearest(bench, other):
    write_vae(bench.models / "VAE" / "fine.safetensors", other)
    (problem,) = check(request(model={"checkpoint": "tiny"}, vae="fin"), bench.catalogue)
    assert (problem.field, problem.code, problem.facts["nearest"]) == ("vae", "unknown_vae", "fine")


def test_a_file_that_is_none_is_refused_when_it_is_chosen(bench, source):
    save_file({"x": torch.zeros(1)}, bench.models / "VAE" / "odd.safetensors")
    (bench.models / "VAE" / "short.safetensors").write_bytes(source.read_bytes()[:1000])
    for name, code in (("odd", "model_layout"), ("short", "model_incomplete")):
        (problem,) = check(request(model={"checkpoint": "tiny"}, vae=name), bench.catalogue)
        assert (problem.field, problem.code) == ("vae", code)


def test_one_of_other_latents_is_refused(bench, other):
    weights = original(other)
    weights["decoder.conv_in.weight"] = torch.zeros(32, 16, 3, 3, dtype=torch.float16)
    save_file(weights, bench.models / "VAE" / "wide.safetensors")
    with pytest.raises(ModelError, match="16 planes") as caught:
        loading.examine(file_of(bench, vae="wide"))
    assert caught.value.code == "vae_differs"


def test_one_with_a_tensor_missing_is_named(bench, other):
    weights = original(other)
    del weights["decoder.mid.block_1.conv1.weight"]
    save_file(weights, bench.models / "VAE" / "part.safetensors")
    with pytest.raises(ModelError, match=r"decoder\.mid_block"):
        loading.load(file_of(bench, vae="part"), SAFE, CPU)


def test_one_replaced_since_planning_is_refused(bench, other):
    path = write_vae(bench.models / "VAE" / "fine.safetensors", other)
    file = file_of(bench, vae="fine")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ModelError) as caught:
        loading.load(file, SAFE, CPU)
    assert caught.value.code in ("model_changed", "model_incomplete")


def test_both_are_kept_beside_one_another(bench, other):
    write_vae(bench.models / "VAE" / "fine.safetensors", other)
    made = []
    for vae in ("none", "fine", "none"):
        job = KeepingJob()
        run(bench.plan(model={"checkpoint": "tiny"}, vae=vae), bench.workshop, job)
        made.append(job.images()[0])
    np.testing.assert_array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[1])
    assert len(bench.workshop.residency.ledger()) == 2


def test_the_checkpoints_tensors_are_read_from_its_own_file(bench, other, source):
    write_vae(bench.models / "VAE" / "fine.safetensors", other)
    with loading.tensors_of(file_of(bench, vae="fine")) as (tensors, match):
        assert match.family == "sd1"
        name = next(name for name in load_file(source) if name.startswith("model.diffusion_model."))
        assert torch.equal(tensors[name], load_file(source)[name])
        assert not torch.equal(
            tensors[VAE + "decoder.conv_in.weight"], load_file(source)[VAE + "decoder.conv_in.weight"]
        )
