"""Previews: small, cut like the picture, never above their share of time, and no harm where they fail."""

import io

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core import limits
from modules.core.geometry import Box, Size
from modules.engine import preview
from modules.engine.preview import Previewer, by_line, decoder_file, fitted_line
from modules.engine.preview_decoder import PreviewDecoder
from modules.engine.run import run
from tests.engine.bench import Bench, KeepingJob

CANVAS, BOX = Size(width=104, height=64), Box(left=2, top=0, width=100, height=64)
X0 = torch.zeros(1, 4, 8, 13)


class Clock:
    """Time that passes when told to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(preview.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def loaded(tmp_path):
    bench = Bench(tmp_path)
    return bench.workshop.residency.model(bench.plan().models["model"], bench.workshop.numerics("safe"))


def offered(previewer, loaded, clock, seconds, every=0.05):
    for _ in range(round(seconds / every)):
        clock.now += every
        previewer.offer(loaded, X0, 0, CANVAS, BOX)


def test_a_preview_is_a_small_jpeg_of_the_picture(loaded, clock):
    seen = []
    offered(Previewer(seen.append), loaded, clock, 1.0)
    opened = Image.open(io.BytesIO(seen[0].jpeg))
    assert (opened.format, opened.size, seen[0].width, seen[0].height) == ("JPEG", (100, 64), 100, 64)


def test_at_most_five_a_second(loaded, clock):
    seen = []
    offered(Previewer(seen.append), loaded, clock, 10.0, every=0.01)
    assert 40 <= len(seen) <= 10 * limits.PREVIEWS_PER_SECOND


def test_dear_previews_come_seldom_enough(loaded, clock):
    seen = []

    def dear(event):
        clock.now += 0.5
        seen.append(event)

    previewer = Previewer(dear)
    began = clock.now
    offered(previewer, loaded, clock, 100.0)
    assert 1 < len(seen) * 0.5 <= limits.PREVIEW_SHARE * (clock.now - began) + 0.5


def test_switched_off_there_are_none(loaded, clock):
    seen = []
    offered(Previewer(seen.append, enabled=False), loaded, clock, 5.0)
    assert seen == []


def test_a_preview_that_fails_is_the_last_and_harms_nothing(tmp_path, monkeypatch):
    bench, tried = Bench(tmp_path, delay_s=0.5), []

    def fails(*unused):
        tried.append(1)
        raise ValueError("on purpose")

    monkeypatch.setattr(preview, "_small", fails)
    job = KeepingJob()
    run(bench.plan(), bench.workshop, job)
    assert len(job.images()) == 1
    assert len(tried) == 1


def test_large_pictures_are_shown_small(loaded, clock):
    seen, size = [], Size(width=2048, height=1024)
    previewer = Previewer(seen.append)
    clock.now += 10
    previewer.offer(loaded, torch.zeros(1, 4, 128, 256), 0, size, Box(left=0, top=0, width=2048, height=1024))
    assert (seen[0].width, seen[0].height) == (limits.PREVIEW_SIDE, limits.PREVIEW_SIDE // 2)


def test_the_fitted_line_is_that_of_a_decoder_that_is_one(loaded):
    line = fitted_line(loaded.model)  # the analytic decoder copies three planes to red, green and blue
    x0 = torch.rand(1, 4, 6, 6) * 0.2
    torch.testing.assert_close(by_line(x0, line), x0[:, :3], atol=0.25, rtol=0)  # it clamps bright random colours


def test_the_decoder_beside_a_checkpoint_is_found(tmp_path):
    checkpoint = tmp_path / "Stable-diffusion" / "one.safetensors"
    assert decoder_file(checkpoint) is None
    decoder = tmp_path / "preview" / "one.safetensors"
    decoder.parent.mkdir()
    save_file(PreviewDecoder(4, 8).state_dict(), decoder)
    assert decoder_file(checkpoint) == decoder
    assert decoder_file(tmp_path / "one.safetensors") == decoder
    assert decoder_file(tmp_path / "two.safetensors") is None
