"""Upscalers as files: found where people have them, pickles converted once, their names known everywhere."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.core import upscaling
from modules.core.errors import BadValue, ModelError
from modules.library import upscalers
from modules.library.upscalers import Upscalers

WEIGHTS = {"body.0.weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture(autouse=True)
def names_put_back():
    yield
    upscaling.set_upscalers(())


def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for place in ("ESRGAN", "RealESRGAN", "upscale_models/mine", "Lora"):
        (root / place).mkdir(parents=True)
    torch.save({"params_ema": WEIGHTS}, root / "ESRGAN" / "4x-Sharp.pth")
    save_file(WEIGHTS, root / "ESRGAN" / "both.safetensors")
    torch.save(WEIGHTS, root / "ESRGAN" / "both.pth")
    save_file(WEIGHTS, root / "upscale_models" / "mine" / "RealESRGAN_x2plus.safetensors")
    save_file(WEIGHTS, root / "Lora" / "no.safetensors")
    return root


def test_files_are_found_by_folder_and_their_names_known_to_requests(tmp_path):
    found = Upscalers([models(tmp_path)], tmp_path / "data")
    assert [one.name for one in found.list()] == ["4x-Sharp", "both", "RealESRGAN_x2plus"]
    assert found.find("BOTH").path.suffix == ".safetensors"
    assert [one.facts.factor for one in found.list()] == [4, 0, 2]
    assert upscaling.find_upscaler("4X-sharp").name == "4x-Sharp"
    assert [row.name for row in upscaling.UPSCALERS][-3:] == ["4x-Sharp", "both", "RealESRGAN_x2plus"]


def test_a_new_file_is_known_after_looking_again_and_a_gone_one_is_told(tmp_path):
    root = models(tmp_path)
    found = Upscalers([root], tmp_path / "data")
    found.refresh()
    save_file(WEIGHTS, root / "RealESRGAN" / "new.safetensors")
    assert found.find("new").path.name == "new.safetensors"
    (root / "RealESRGAN" / "new.safetensors").unlink()
    with pytest.raises(BadValue):
        found.find("new")


def test_a_pickle_is_converted_once_and_again_when_its_file_changed(tmp_path, monkeypatch):
    root = models(tmp_path)
    found = Upscalers([root], tmp_path / "data")
    calls = []
    whole = upscalers.convert
    monkeypatch.setattr(upscalers, "convert", lambda *given: calls.append(given) or whole(*given))
    first = found.weights(found.find("4x-Sharp"))
    assert torch.equal(load_file(first)["body.0.weight"], WEIGHTS["body.0.weight"])
    assert found.weights(found.find("4x-Sharp")) == first
    assert len(calls) == 1
    assert tmp_path / "data" in first.parents
    torch.save({"params": {"other": torch.ones(4)}}, root / "ESRGAN" / "4x-Sharp.pth")
    second = found.weights(found.find("4x-Sharp"))
    assert list(load_file(second)) == ["other"]


def test_a_pickle_with_code_is_refused(tmp_path):
    root = models(tmp_path)
    (root / "ESRGAN" / "bad.pth").write_bytes(b"no weights")
    found = Upscalers([root], tmp_path / "data")
    with pytest.raises(ModelError) as refused:
        found.weights(found.find("bad"))
    assert refused.value.code == "unsafe_format"
