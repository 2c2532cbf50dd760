"""Merged checkpoints: held against the formulas written out here; recipe, errors, cancel, nothing left behind."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from modules.core.errors import BadValue, Cancelled, DiskFull, ModelError
from modules.core.merging import MergeRequest
from modules.engine.merge import merge
from modules.planning import merging
from modules.planning.merging import block_of, plan
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob
from tests.engine.test_loras import SD1, loaded, module, write_lora

UNET = "model.diffusion_model."


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    for seed, name in enumerate(("first", "second", "third"), 1):
        tiny_checkpoint(made.models / f"{name}.safetensors", seed)
    made.catalogue.refresh()
    return made


def request(**changed):
    return MergeRequest.from_data({"name": "made", "a": "first", "b": "second", "precision": "fp32", **changed})


def made(bench, job=None, **changed):
    """The result's tensors."""
    wanted = request(**changed)
    merge(wanted, bench.catalogue, job or KeepingJob())
    bench.catalogue.refresh()
    return load_file(bench.catalogue.find(wanted.name).path)


def source(bench, name):
    return load_file(bench.models / f"{name}.safetensors")


def left_over(bench):
    return [path for path in bench.models.rglob("*") if path.name.endswith(".part")]


def test_a_weighted_sum_is_computed_in_32_bit(bench):
    found, a, b = made(bench, amount=0.3), source(bench, "first"), source(bench, "second")
    assert found.keys() == a.keys()
    for name, value in found.items():
        if a[name].is_floating_point():
            torch.testing.assert_close(value, a[name].float() * 0.7 + b[name].float() * 0.3, rtol=0, atol=1e-6)


def test_a_difference_is_added(bench):
    found = made(bench, method="difference", c="third", amount=0.5)
    a, b, c = (source(bench, name) for name in ("first", "second", "third"))
    name = UNET + "input_blocks.1.0.in_layers.2.weight"
    torch.testing.assert_close(found[name], a[name].float() + 0.5 * (b[name].float() - c[name].float()), rtol=0,
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_what_is_stored_is_rounded_once(bench, precision, dtype):
    found, exact = made(bench, precision=precision), made(bench, name="exact")
    assert all(torch.equal(value, exact[name].to(dtype)) for name, value in found.items())


def test_every_block_has_its_own_weight(bench):
    listed = merging.tensors_of(bench.models / "first.safetensors")
    names = merging.block_names(listed)
    weights = [index / len(names) for index in range(len(names))]
    found, a, b = made(bench, blocks=weights), source(bench, "first"), source(bench, "second")
    seen = set()
    for name, value in found.items():
        block = block_of(name, names)
        seen.add(block)
        m = weights[names.index(block)]
        torch.testing.assert_close(value, a[name].float() * (1 - m) + b[name].float() * m, rtol=0, atol=1e-6)
    assert seen == set(names)
    assert names[0] == "BASE"
    assert "M00" in names
    with pytest.raises(BadValue) as problem:
        plan(request(name="other", blocks=[0.5]), bench.catalogue)
    assert problem.value.field == "blocks"


def test_a_full_models_blocks_are_the_ones_that_people_know():
    numbers = [f"{UNET}{stage}.{n}.0.weight" for stage in ("input_blocks", "output_blocks") for n in range(12)]
    names = merging.block_names([*numbers, UNET + "middle_block.0.weight", "cond_stage_model.x"])
    assert names == ("BASE", *(f"IN{n:02}" for n in range(12)), "M00", *(f"OUT{n:02}" for n in range(12)))
    assert [block_of(name, names) for name in ("cond_stage_model.x", "first_stage_model.x", UNET + "time_embed.0.bias",
            UNET + "out.2.weight")] == ["BASE", "BASE", "IN00", "OUT11"]  # fmt: skip


def test_a_baked_lora_is_the_worn_one(bench):
    bench.catalogue.find("first").path.rename(bench.models / "tiny.safetensors")
    bench.catalogue.refresh()
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1)
    one.adapted.wear(bench.plan(model={"checkpoint": "tiny"}, prompt="cat <lora:paper:0.5:0.8>").adapters)
    made(bench, a="tiny", b="", method="none", loras=[{"name": "paper", "weight": 0.8, "text_weight": 0.5}])
    _, other = loaded(bench, model={"checkpoint": "made"})
    for part, own in SD1.values():
        assert torch.equal(module(one.model, part, own).weight, module(other.model, part, own).weight)


def test_two_loras_add_up_and_one_of_zero_is_nothing(bench):
    bench.catalogue.find("first").path.rename(bench.models / "tiny.safetensors")
    bench.catalogue.refresh()
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1, name="one", seed=1)
    write_lora(bench, one.model, SD1, name="two", seed=50)
    one.adapted.wear(bench.plan(model={"checkpoint": "tiny"}, prompt="<lora:one:0.5> <lora:two:-0.7>").adapters)
    loras = [{"name": "one", "weight": 0.5}, {"name": "two", "weight": -0.7}]
    made(bench, a="tiny", b="", method="none", loras=loras)
    _, other = loaded(bench, model={"checkpoint": "made"})
    for part, own in SD1.values():
        assert torch.equal(module(one.model, part, own).weight, module(other.model, part, own).weight)
    plain = made(bench, name="plain", a="tiny", b="", method="none", loras=[{"name": "one", "weight": 0.0}])
    assert all(torch.equal(value, source(bench, "tiny")[name].float()) for name, value in plain.items())


def test_another_autoencoder_takes_its_own_ones_place(bench):
    inside = {name: value for name, value in source(bench, "third").items() if name.startswith("first_stage_model.")}
    (bench.models / "VAE").mkdir()
    save_file({name.removeprefix("first_stage_model."): value for name, value in inside.items()},
              bench.models / "VAE" / "clear.safetensors")  # fmt: skip
    found = made(bench, vae="clear")
    for name, value in inside.items():
        assert torch.equal(found[name], value.float())
    assert loaded(bench, model={"checkpoint": "made"})


def test_what_training_left_is_dropped_and_marks_stay(bench):
    own = source(bench, "first")
    spare = {"model_ema.decay": torch.ones(1), "v_pred": torch.zeros(0), "betas": torch.ones(4)}
    save_file({**own, **spare}, bench.models / "first.safetensors")
    bench.catalogue.refresh()
    assert set(made(bench)) == {*own, "v_pred", "betas"}
    assert set(made(bench, name="whole", prune=False)) == {*own, *spare}
    bench.catalogue.refresh()
    assert bench.catalogue.find("made").prediction == "v"


def test_an_inpainting_models_extra_channels_stay_its_own(bench):
    own, name = source(bench, "first"), UNET + "input_blocks.0.0.weight"
    wide = torch.cat([own[name], torch.full((own[name].shape[0], 5, 3, 3), 0.25, dtype=own[name].dtype)], 1)
    save_file({**own, name: wide}, bench.models / "first.safetensors")
    bench.catalogue.refresh()
    found, b = made(bench, amount=0.5), source(bench, "second")
    assert bench.catalogue.find("made").variant == "inpaint"
    torch.testing.assert_close(found[name][:, :4], (own[name].float() + b[name].float()) / 2, rtol=0, atol=1e-6)
    assert torch.equal(found[name][:, 4:], wide[:, 4:].float())


def test_the_recipe_names_its_sources_by_their_hashes(bench):
    made(bench)
    made(bench, name="again", a="made", b="third", blocks=(), amount=0.25)
    with safe_open(bench.catalogue.find("again").path, "pt") as file:
        said = file.metadata()
    recipe, models = json.loads(said["sd_merge_recipe"]), json.loads(said["sd_merge_models"])
    assert recipe["interp_method"] == "Weighted sum"
    assert recipe["multiplier"] == 0.25
    first = recipe["primary_model_hash"]
    assert models[first]["name"] == "made.safetensors"
    assert models[first]["sd_merge_recipe"]["multiplier"] == 0.3
    assert len(models) == 4
    assert recipe["tertiary_model_hash"] is None
    assert all(len(one["legacy_hash"]) == 8 and len(sha) == 64 for sha, one in models.items())


def test_what_does_not_fit_is_named(bench, tmp_path):
    with pytest.raises(ModelError) as problem:
        plan(request(b="analytic"), bench.catalogue)
    assert (problem.value.code, problem.value.field) == ("merge_families", "b")
    own, name = source(bench, "second"), UNET + "input_blocks.1.0.in_layers.2.weight"
    for changed in ({key: value for key, value in own.items() if key != name}, {**own, name: own[name][:4]}):
        save_file({key: value.contiguous() for key, value in changed.items()}, bench.models / "second.safetensors")
        bench.catalogue.refresh()
        with pytest.raises(ModelError) as problem:
            plan(request(), bench.catalogue)
        assert (problem.value.code, problem.value.facts["tensor"]) == ("merge_tensor", name)
    for taken in ("FIRST", "Third"):
        with pytest.raises(ModelError) as problem:
            plan(request(name=taken, b="third"), bench.catalogue)
        assert problem.value.code == "merge_exists"
    for name in ("a/b", "../up", "con", ".", "", "x\n", "x" * 200, "x.vae"):
        with pytest.raises(BadValue):
            request(name=name)
    with pytest.raises(BadValue) as problem:
        request(method="difference")
    assert problem.value.field == "c"


def test_a_pickle_is_refused_with_its_hint(bench):
    (bench.models / "old.ckpt").write_bytes(b"\x80\x04.")
    bench.catalogue.refresh()
    with pytest.raises(ModelError) as problem:
        plan(request(b="old"), bench.catalogue)
    assert problem.value.code == "unsafe_format"
    assert "safetensors" in problem.value.hint


def test_a_full_disk_is_told_before_anything_is_written(bench, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(merging.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(DiskFull) as problem:
        made(bench)
    assert problem.value.facts["size_bytes"] > 1_000_000
    assert not left_over(bench)


def test_a_cancelled_merge_leaves_nothing(bench):
    def stop(job, event):
        job.cancelled = event.type == "step"

    with pytest.raises(Cancelled):
        made(bench, KeepingJob(stop))
    assert not left_over(bench)
    assert not list(bench.models.rglob("made.safetensors"))


def test_what_a_dead_engine_left_is_forgotten(bench):
    folder = bench.models / "Stable-diffusion"
    folder.mkdir()
    (folder / ".made.safetensors.3.1f2e3d.part").write_bytes(b"half")
    (folder / ".other.safetensors.3.1f2e3d.part").write_bytes(b"half")
    made(bench)
    assert [path.name for path in left_over(bench)] == [".other.safetensors.3.1f2e3d.part"]


def test_empty_numbers_are_told(bench):
    own, name = source(bench, "second"), UNET + "out.2.bias"
    own[name][0] = float("nan")
    save_file(own, bench.models / "second.safetensors")
    bench.catalogue.refresh()
    job = KeepingJob()
    made(bench, job)
    (warned,) = job.of("warned")
    assert warned.code == "merge_not_finite"
    assert warned.facts["source"] == "second"
    assert warned.facts["tensor"] == name


def test_what_half_precision_cannot_hold_is_told(bench):
    own = {name: value.float() for name, value in source(bench, "second").items()}
    own[UNET + "out.2.bias"][0] = 1e6
    save_file(own, bench.models / "second.safetensors")
    bench.catalogue.refresh()
    job = KeepingJob()
    made(bench, job, precision="fp16")
    assert [warned.code for warned in job.of("warned")] == ["merge_overflow"]


def test_progress_ends_at_one(bench):
    job = KeepingJob()
    made(bench, job)
    steps = [event.progress for event in job.of("step")]
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    assert [event.phase for event in job.of("phase")] == ["reading", "merging"]
