"""Models in folders, as diffusers itself writes them: every weight where the single file has it, and typed errors."""

import json
import time

import pytest
import torch

from modules.core.errors import ModelError
from modules.core.settings import Settings
from modules.engine import loading
from modules.engine.run import run
from modules.families.base import SAFE
from modules.library import folders
from modules.library.checkpoints import Catalogue
from modules.training.tinies import TINY_REFINER, TINY_SD2, TINY_SDXL, Shape, networks_of, write_checkpoint
from tests.engine.bench import Bench, KeepingJob

CPU = torch.device("cpu")
SEED = 5
TINY_SD1 = Shape("sd1", (32, 32, 64, 64), (1, 1, 1, 0), 1, (32, 32, 32, 32), (64, 2), None)
SHAPES = {"sd1": TINY_SD1, "sd2": TINY_SD2, "sdxl": TINY_SDXL, "sdxl-refiner": TINY_REFINER}


def write_folder(path, shape, *, prediction="epsilon", shard="1GB", variant=None):
    """The folder that diffusers' pipeline of these networks would save."""
    networks = networks_of(shape, SEED)
    for one in networks.all():
        one.half()
    clip, big = networks.text, networks.open_text
    first, second = (clip or big, None) if shape.family in ("sd1", "sd2") else (clip, big)
    parts = {"unet": networks.unet, "vae": networks.vae, "text_encoder": first, "text_encoder_2": second}
    for name, network in parts.items():
        if network is not None:
            network.save_pretrained(path / name, max_shard_size=shard, **({"variant": variant} if variant else {}))
    index = {name: ["diffusers", type(one).__name__] if one else [None, None] for name, one in parts.items()}
    (path / folders.INDEX).write_text(json.dumps({"_class_name": "Any", "safety_checker": [None, None], **index}))
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": prediction}))
    return path


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def load(bench, name):
    return loading.load(bench.plan(model={"checkpoint": name}).models["model"], SAFE, CPU)


@pytest.mark.parametrize("name", SHAPES)
def test_every_weight_is_where_the_single_file_has_it(bench, name):
    write_folder(bench.models / "parts", SHAPES[name])
    write_checkpoint(bench.models / "whole.safetensors", SHAPES[name], SEED)
    parts, whole = load(bench, "parts").parts(), load(bench, "whole").parts()
    assert parts.keys() == whole.keys()
    for part in parts:
        ours, theirs = parts[part].state_dict(), whole[part].state_dict()
        if name == "sd2" and part == "text":  # a folder's text encoder ends where its maker cut it
            ours = {key: ours[key] for key in theirs}
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), part


def test_shards_and_variants_are_read_and_give_the_same_picture(bench):
    write_folder(bench.models / "plain", TINY_SD1)
    write_folder(bench.models / "sharded", TINY_SD1, shard="300KB")
    write_folder(bench.models / "half", TINY_SD1, variant="fp16")
    assert len(list((bench.models / "sharded" / "unet").glob("*.safetensors"))) > 1
    made = {}
    for name in ("plain", "sharded", "half"):
        job = KeepingJob()
        run(bench.plan(model={"checkpoint": name}), bench.workshop, job)
        (made[name],) = job.images()
    assert (made["plain"] == made["sharded"]).all()
    assert (made["plain"] == made["half"]).all()


def test_the_scheduler_says_what_is_predicted(bench):
    write_folder(bench.models / "v", TINY_SD2, prediction="v_prediction")
    found = bench.catalogue.find("v")
    assert (found.family, found.prediction) == ("sd2", "v")
    assert any("metadata" in reason for reason in found.reasons)


def test_a_folder_is_hashed_and_its_parts_are_not_listed(tmp_path):
    write_folder(tmp_path / "models" / "Stable-diffusion" / "a.1", TINY_SD1)
    catalogue = Catalogue(Settings(data_dir=str(tmp_path)), [tmp_path / "models"], hashing=True)
    try:
        assert [one.name for one in catalogue.list()] == ["a.1"]
        end = time.monotonic() + 60
        while catalogue.find("a.1").sha256 is None and time.monotonic() < end:
            time.sleep(0.01)
        assert catalogue.find(catalogue.find("a.1").sha256 or "-").name == "a.1"
    finally:
        catalogue.close()


def cut(folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def lose(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def pickle(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")


def garble(folder):
    (folder / folders.INDEX).write_text("{")


def list_it(folder):
    (folder / folders.INDEX).write_text("[1]")


def escape(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"conv_in.weight": "../../elsewhere.safetensors"}})
    )


def no_unet(folder):
    index = json.loads((folder / folders.INDEX).read_text())
    (folder / folders.INDEX).write_text(json.dumps({**index, "unet": [None, None]}))


BROKEN = {
    cut: "model_incomplete", lose: "model_layout", pickle: "unsafe_format", garble: "model_damaged",
    list_it: "model_damaged", escape: "model_damaged", no_unet: "unknown_family",
}  # fmt: skip


@pytest.mark.parametrize("harm", BROKEN, ids=lambda harm: harm.__name__)
def test_a_broken_folder_says_what_is_broken(bench, harm):
    harm(write_folder(bench.models / "broken", TINY_SD1))
    with pytest.raises(ModelError) as caught:
        bench.catalogue.find("broken")
    assert caught.value.code == BROKEN[harm]
    assert "broken" in caught.value.message


def test_a_part_that_changes_is_seen(bench):
    folder = write_folder(bench.models / "parts", TINY_SD1)
    planned = bench.plan(model={"checkpoint": "parts"}).models["model"]
    assert not loading.changed(planned)
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes())
    assert loading.changed(planned)
    with pytest.raises(ModelError) as caught:
        loading.load(planned, SAFE, CPU)
    assert caught.value.code == "model_changed"


def test_edm_checkpoints_are_refused_with_the_reason(bench):
    write_checkpoint(bench.models / "edm.safetensors", TINY_SDXL, SEED, markers=("edm_mean",))
    with pytest.raises(ModelError) as caught:
        bench.catalogue.find("edm")
    assert caught.value.code == "model_prediction"
    assert "edm_mean" in caught.value.message
