"""spandrel without torchvision: it imports, knows an upscaler by its tensors, and refuses what is none."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modules.core.errors import ModelError
from modules.engine.architectures import network_of, spandrel

CHECKOUT = Path(__file__).resolve().parents[2]


def compact(scale: int = 2) -> dict[str, torch.Tensor]:
    """A tiny network of the layout of realesr-general."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    return SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=scale).state_dict()


def test_it_imports_without_torchvision_and_leaves_nothing_of_it_behind():
    code = (
        "import sys; from modules.engine.architectures import spandrel; spandrel();"
        "assert not [name for name in sys.modules if name.startswith('torchvision')];"
        "import importlib.util as u; assert u.find_spec('torchvision') is None;"
        "from transformers.utils import is_torchvision_available; assert not is_torchvision_available()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=100)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_network_is_known_by_its_tensors(scale):
    spandrel()
    found = network_of(compact(scale), "x.pth")
    assert found.scale == scale
    with torch.inference_mode():
        assert found(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8 * scale, 12 * scale)


@pytest.mark.parametrize("change", [
    lambda weights: {"a.weight": torch.ones(3, 3)},
    lambda weights: {name: tensor for name, tensor in weights.items() if name != "body.2.weight"},
])  # fmt: skip
def test_tensors_of_nothing_known_are_refused_by_name(change):
    spandrel()
    with pytest.raises(ModelError) as refused:
        network_of(change(compact()), "strange.pth")
    assert refused.value.code == "model_layout"
    assert "strange.pth" in refused.value.message


def test_without_the_library_the_command_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ModelError) as refused:
        spandrel()
    assert refused.value.code == "no_spandrel"
    assert "--no-deps" in refused.value.hint
