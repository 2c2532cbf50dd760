"""The extensions that ship with Atelier do what they say."""

import importlib.util
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def load(name: str):
    file = CHECKOUT / "extensions" / f"builtin-{name}" / "extension.py"
    spec = importlib.util.spec_from_file_location("builtin_" + name.replace("-", "_"), file)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_tokens_shows_text_ids_and_weights():
    table = load("tokens").rows("a (red:1.2) house")
    assert [row[1] for row in table] == ["a", "red", "house"]
    assert [row[3] for row in table] == [1.0, 1.2, 1.0]
    assert [row[2] for row in table] == [320, 736, 1212]  # CLIP's published vocabulary


def test_tokens_starts_a_chunk_after_75_and_at_break():
    rows = load("tokens").rows
    assert {row[0] for row in rows("cat " * 80)} == {1, 2}
    assert [row[0] for row in rows("cat BREAK dog")] == [1, 2]


def test_rescale_cfg_gives_the_contrast_of_the_conditional_prediction():
    """At amount 1 the v-prediction's standard deviation is the conditional one's (arXiv:2305.08891, equation 15)."""
    torch = pytest.importorskip("torch")
    from modules.engine.guidance import Guided

    generator = torch.Generator().manual_seed(1)
    x, cond, uncond = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(3))
    guided = Guided(x, 1.7, cond, uncond, uncond + 7 * (cond - uncond))
    kind = load("rescale-cfg").RescaleCFG
    before = guided.denoised
    kind(amount=0.0).after_guidance(guided)
    torch.testing.assert_close(guided.denoised, before, atol=1e-5, rtol=1e-5)
    kind(amount=1.0).after_guidance(guided)
    got = guided.as_v(guided.denoised).std(dim=(1, 2, 3))
    torch.testing.assert_close(got, guided.as_v(cond).std(dim=(1, 2, 3)), atol=1e-5, rtol=1e-5)
