"""A whole run of the training by its command, with tiny networks: every file that is promised is there."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modules.engine.preview_decoder import load_preview_decoder
from modules.training.diffusion import sample
from modules.training.judge import load_judge
from modules.training.layout import load_checkpoint
from modules.training.parts import split

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *more: str) -> str:
    command = [sys.executable, "-m", "modules.training.starter", "--small", "--size", "64", "--seconds", "8"]
    command += ["--prompts", "6", "--folder", str(folder / "states"), "--out", str(folder / "out"), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(1100)
def test_a_run_makes_all_files_and_a_second_one_goes_on(tmp_path: Path) -> None:
    said = run(tmp_path, "--parts")
    assert "one thing, 6 prompts" in said
    assert "judge on renders after the autoencoder" in said
    out = tmp_path / "out"
    packed = b"".join(part.read_bytes() for part in sorted(out.glob("atelier-starter.safetensors.gz.part-*")))
    checkpoint = tmp_path / "joined.safetensors"
    checkpoint.write_bytes(gzip.decompress(packed))
    networks = load_checkpoint(checkpoint)
    assert sample(networks.unet, networks.text, ["cat"], seed=1, size=64, steps=1).isfinite().all()
    load_judge(out / "judge.pt")
    assert load_preview_decoder(out / "atelier-starter-preview.safetensors")(torch.zeros(1, 4, 8, 8)).shape[-1] == 32
    assert (out / "sheet.webp").stat().st_size > 0
    assert said in (out / "log.txt").read_text("utf-8")
    first = torch.load(tmp_path / "states/unet.pt", weights_only=True)["step"]
    run(tmp_path, "--seconds", "9")
    assert torch.load(tmp_path / "states/unet.pt", weights_only=True)["step"] > first
    assert load_checkpoint(out / "atelier-starter.safetensors").unet.config["block_out_channels"] == (32, 32, 64, 64)


def test_parts_are_small_and_make_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(250)) * 4)
    out = tmp_path / "out"
    assert len(split(path, out, "file", part_bytes=100)) == 10
    parts = split(path, out, "file", part_bytes=400)
    assert [part.name for part in parts] == ["file.part-1", "file.part-2", "file.part-3"]
    assert b"".join(part.read_bytes() for part in sorted(out.iterdir())) == path.read_bytes()
