"""Files that cannot be used are typed errors within a second, and cost nobody else's model."""

import json
import os
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.core.errors import ModelError
from modules.core.plan import ModelFile
from modules.engine import loading
from modules.engine.residency import Residency
from modules.engine.run import run
from modules.families.base import SAFE
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", 1)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def file(path, family="sd1") -> ModelFile:
    return ModelFile(name=path.stem, path=str(path), family=family, stamp=loading.stamp(path))


def with_header(content: bytes, change) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + content[8 + length :]


UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"
NORM = "model.diffusion_model.out.0.weight"


def set_entry(name, **values):
    return lambda content: with_header(content, lambda header: header[name].update(values))


def reshaped(content, name, shape):
    return with_header(content, lambda header: header[name].update(shape=shape))


BROKEN = {
    "empty": lambda content: b"",
    "seven bytes": lambda content: content[:7],
    "a header that is cut": lambda content: content[:500],
    "half of the data": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte too many": lambda content: content + b"\0",
    "a giant header length": lambda content: b"\xff" * 8 + content[8:],
    "no JSON": lambda content: content[:8] + b"\0" * 64 + content[72:],
    "noise": lambda content: os.urandom(4096),
    "a pointer to large storage": lambda content: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    ),
    "offsets outside the file": set_entry(UNET_IN, data_offsets=[10**15, 10**15 + 2304]),
    "an unknown element type": set_entry(UNET_IN, dtype="Q4_K"),
    "a shape that does not fit its bytes": set_entry(UNET_IN, shape=[32, 4, 3, 4]),
    "a negative shape": set_entry(UNET_IN, shape=[-32, -4, 3, 3]),
    "another shape of the same size": lambda content: reshaped(content, NORM, [4, 8]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_a_typed_error_in_time(tiny, tmp_path, how):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(BROKEN[how](tiny.read_bytes()))
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        loading.load(file(path), SAFE, CPU)
    assert time.monotonic() - began < 30.0
    assert caught.value.code in ("model_incomplete", "model_damaged", "model_too_large", "model_layout")
    assert caught.value.hint


def test_an_incomplete_file_says_how_much_of_it_is_there(tiny, tmp_path):
    path = tmp_path / "half.safetensors"
    path.write_bytes(tiny.read_bytes()[:5_000_000])
    with pytest.raises(ModelError, match=r"incomplete: 5\.00 of \d+\.\d\d MB"):
        loading.load(file(path), SAFE, CPU)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: weights.pop("first_stage_model.decoder.conv_in.bias"), "decoder.conv_in.bias"),
        (lambda weights: weights.pop("model.diffusion_model.middle_block.1.norm.weight"), "mid_block"),
        (lambda weights: weights.update({"control_model.x": torch.zeros(1)}), "control_model.x"),
        (lambda weights: weights.update({"first_stage_model.more": torch.zeros(1)}), "first_stage_model.more"),
    ],
)
def test_missing_and_left_over_tensors_are_named(tiny, tmp_path, change, named):
    weights = load_file(tiny)
    change(weights)
    path = tmp_path / "changed.safetensors"
    save_file(weights, path)
    with pytest.raises(ModelError, match=named) as caught:
        loading.load(file(path), SAFE, CPU)
    assert caught.value.code == "model_layout"
    with pytest.raises(ModelError, match=named):
        loading.examine(file(path))


def test_tensors_that_need_not_be_there_do_no_harm(tiny, tmp_path):
    weights = load_file(tiny)
    weights["model_ema.decay"] = torch.zeros(1)
    weights["alphas_cumprod"] = torch.zeros(1000)
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    path = tmp_path / "more.safetensors"
    save_file(weights, path)
    assert loading.load(file(path), SAFE, CPU).family.name == "sd1"


def test_a_file_of_another_family_is_refused(bench):
    with pytest.raises(ModelError) as caught:
        loading.load(file(bench.models / "analytic.safetensors", "sd1"), SAFE, CPU)
    assert caught.value.code == "model_unknown"


def test_a_file_replaced_since_planning_is_refused(tiny, tmp_path):
    path = tmp_path / "one.safetensors"
    path.write_bytes(tiny.read_bytes())
    planned = file(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError) as caught:
        loading.load(planned, SAFE, CPU)
    assert caught.value.code == "model_changed"


def test_a_file_cut_short_while_it_is_read_is_an_error_and_no_crash(tiny, tmp_path):
    path = tmp_path / "one.safetensors"
    path.write_bytes(tiny.read_bytes())
    asked = []

    def cut():
        asked.append(1)
        if len(asked) == 20:
            os.truncate(path, 100_000)

    with pytest.raises(ModelError) as caught:
        loading.load(file(path), SAFE, CPU, cut)
    assert caught.value.code in ("model_incomplete", "model_changed")


def test_loading_stops_when_the_job_does(tiny):
    class Stop(Exception):
        pass

    asked = []

    def check():
        asked.append(1)
        if len(asked) > 10:
            raise Stop

    with pytest.raises(Stop):
        loading.load(file(tiny), SAFE, CPU, check)


def test_a_file_that_cannot_be_used_costs_nobody_elses_place(tiny, tmp_path):
    residency = Residency(CPU, loading.load, loading.examine, room_bytes=0)
    old = residency.model(file(tiny), SAFE)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny.read_bytes()[:-1])
    with pytest.raises(ModelError):
        residency.model(file(broken), SAFE)
    assert residency.model(file(tiny), SAFE) is old


def test_a_file_replaced_under_a_loaded_model_flags_the_picture(bench):
    plan = bench.plan()
    first = KeepingJob()
    run(plan, bench.workshop, first)
    assert first.of("image_made")[0].facts["model_changed"] is False
    path = bench.models / "analytic.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    job = KeepingJob()
    run(plan, bench.workshop, job)
    assert job.of("image_made")[0].facts["model_changed"] is True
    assert [warning.code for warning in job.of("warned")] == ["model_changed"]
