"""Upscalers from files: tiles leave no seam, a stop comes between tiles, and hires fix uses them by name."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.core import upscaling
from modules.core.errors import BadValue, Cancelled
from modules.core.geometry import Size
from modules.engine import upscalers
from modules.engine.architectures import network_of, spandrel
from modules.engine.residency import Residency
from modules.engine.run import run
from modules.engine.upscale import enlarge_pixels
from modules.engine.upscalers import OVERLAP, TILE, FileUpscaler, finder, spans
from modules.library.upscalers import Upscalers
from tests.engine.bench import Bench, KeepingJob
from tests.engine.test_architectures import compact

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def names_put_back():
    yield
    upscaling.set_upscalers(())


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (210, 400, 3), np.uint8)


@pytest.fixture
def files(tmp_path):
    spandrel()
    (tmp_path / "ESRGAN").mkdir()
    save_file(compact(2), tmp_path / "ESRGAN" / "2x-Tiny.safetensors")
    torch.save({"params": compact(4)}, tmp_path / "ESRGAN" / "4x-Pickle.pth")
    return Upscalers([tmp_path], tmp_path / "data")


def residency():
    return Residency(CPU, lambda *_: pytest.fail("no model is loaded here"))


@pytest.mark.parametrize("length", [1, TILE, TILE + 1, 2 * TILE - OVERLAP, 2 * TILE - OVERLAP + 1, 1000])
def test_tiles_cover_a_side_and_lie_over_each_other(length):
    found = spans(length)
    assert (found[0][0], found[-1][1]) == (0, length)
    assert all(one[1] - other[0] >= OVERLAP for one, other in itertools.pairwise(found))


def test_tiles_give_the_picture_that_the_whole_gives(picture, files, monkeypatch):
    """The tiny network sees 3 pixels far, less than what tiles share: but for their last rows nothing may differ."""
    network = network_of(compact(2), "x")
    tiled = FileUpscaler(network, CPU, lambda: None).enlarge(picture, 2)
    monkeypatch.setattr(upscalers, "TILE", 1000)
    whole = FileUpscaler(network, CPU, lambda: None).enlarge(picture, 2)
    assert tiled.shape == whole.shape == (420, 800, 3)
    assert np.abs(tiled.astype(int) - whole).mean() < 0.05


def test_a_stop_comes_between_tiles(picture):
    spandrel()
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        FileUpscaler(network_of(compact(2), "x"), CPU, check).enlarge(picture, 2)
    assert len(calls) == 3


@pytest.mark.parametrize("name", ["2x-Tiny", "4x-Pickle"])
def test_a_picture_gets_exactly_the_wanted_size(picture, files, name):
    find = finder(files, residency(), lambda: None)
    made = enlarge_pixels(picture[:40, :50], Size(width=150, height=120), name, find)
    assert made.shape == (120, 150, 3)


def test_one_is_kept_and_leaves_with_the_rest(picture, files):
    held = residency()
    find = finder(files, held, lambda: None)
    find("2x-Tiny"), find("4x-Pickle")
    (row,) = held.ledger()
    assert row["name"] == "4x-Pickle"
    assert row["bytes"] == sum(4 * tensor.numel() for tensor in compact(4).values())
    held.unload()
    assert held.ledger() == []


def test_one_that_is_gone_is_told(files):
    with pytest.raises(BadValue):
        finder(files, residency(), lambda: None)("nowhere")


def test_hires_enlarges_by_a_file(tmp_path):
    """From the request's name through planning to the network: the picture differs from a resampled one."""
    spandrel()
    bench = Bench(tmp_path)
    folder = bench.workshop.settings.models / "ESRGAN"
    folder.mkdir(parents=True)
    save_file(compact(2), folder / "2x-Tiny.safetensors")
    bench.catalogue.refresh()
    made = {}
    for name in ("2x-Tiny", "Lanczos"):
        job = KeepingJob()
        run(bench.plan(hires={"scale": 2.0, "denoise_strength": 0.0, "upscaler": name}), bench.workshop, job)
        (made[name],) = job.images()
    assert made["2x-Tiny"].shape == made["Lanczos"].shape
    assert not np.array_equal(made["2x-Tiny"], made["Lanczos"])
    assert bench.workshop.residency.ledger()[0]["name"] == "2x-Tiny"
