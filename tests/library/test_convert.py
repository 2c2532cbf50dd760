"""A pickled file becomes safetensors in a process of its own, or is refused and leaves nothing behind."""

import os
import pickle
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import torch
from safetensors.torch import load_file

from modules.core.errors import ModelError
from modules.library.convert import convert


def test_tensors_come_out_equal_by_their_names(tmp_path: Path) -> None:
    weights = {"a.weight": torch.randn(3, 4), "a.half": torch.randn(5).half()}
    weights["tied"] = weights["a.weight"]
    torch.save({"params_ema": weights, "step": 7}, tmp_path / "x.pth")
    found = load_file(convert(tmp_path / "x.pth", tmp_path / "out" / "x.safetensors"))
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.safetensors"]


def test_an_embedding_keeps_its_nested_name(tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": torch.ones(2, 8)}, "name": "word"}, tmp_path / "x.pt")
    assert list(load_file(convert(tmp_path / "x.pt", tmp_path / "x.safetensors"))) == ["string_to_param.*"]


class _Runs:
    """Unpickled by an unrestricted reader, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("override", [False, True])
def test_code_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: bool) -> None:
    if override:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "ran"
    torch.save({"w": torch.ones(1), "x": _Runs(mark)}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError) as refused:
        convert(tmp_path / "x.ckpt", tmp_path / "x.safetensors")
    assert refused.value.code == "unsafe_format"
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]


@pytest.mark.parametrize("data", [b"", b"no pickle at all", pickle.dumps({"p": PurePosixPath("/x")}), pickle.dumps({})])
def test_what_holds_no_weights_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(ModelError) as refused:
        convert(tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert refused.value.code == "unsafe_format"
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_nothing_is_left_out_silently(tmp_path: Path) -> None:
    deep: object = torch.ones(1)
    for _ in range(9):
        deep = {"k": deep}
    refused = {
        "deep": deep,
        "twice": {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}},
        "sparse": torch.eye(2).to_sparse(),
    }
    for name, value in refused.items():
        torch.save({"w": torch.ones(1), "x": value}, tmp_path / f"{name}.pt")
        with pytest.raises(ModelError, match=r"deeper|two tensors|sparse"):
            convert(tmp_path / f"{name}.pt", tmp_path / "x.safetensors")
        assert not (tmp_path / "x.safetensors").exists()


def test_a_process_past_its_time_leaves_nothing(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(ModelError) as stopped:
        convert(tmp_path / "x.pt", tmp_path / "x.safetensors", time_s=0.001)
    assert stopped.value.code == "conversion_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_the_parent_imports_no_torch() -> None:
    told = "import sys, modules.library.convert; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
