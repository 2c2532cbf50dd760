"""LoRAs and embeddings over HTTP: searched in windows, pictured, told about; no path in either direction."""

import asyncio
import json

import pytest
from PIL import Image

from modules.core.settings import Settings
from modules.library.adapters import Adapters
from tests.httpapi.asgi import ask, post
from tests.library.test_adapters import write


@pytest.fixture
def shelf(desk, tmp_path):
    room = tmp_path / "models" / "Lora"
    for number in range(5):
        write(room / "inks" / f"ink {number}.safetensors")
    (room / "inks" / "ink 1.json").write_text(json.dumps({"activation text": "ink wash", "preferred weight": 0.6}))
    Image.new("RGB", (900, 600), "red").save(room / "inks" / "ink 1.preview.png")
    wide = {"lora_unet_mid_block_attentions_0_transformer_blocks_9_attn2_to_k.lora_down.weight": (4, 2048),
            "lora_unet_mid_block_attentions_0_transformer_blocks_9_attn2_to_k.lora_up.weight": (1280, 4)}  # fmt: skip
    write(room / "wide.safetensors", wide)
    (room / "broken.safetensors").write_bytes(b"nonsense")
    opened = Adapters(Settings(data_dir=str(tmp_path)), [tmp_path / "models"], hashing=True)
    desk.checkpoints.adapters = opened
    for _ in range(500):
        if all(one.facts for one in opened.list("lora")):
            break
        asyncio.run(asyncio.sleep(0.01))
    yield room
    opened.close()


@pytest.fixture
def change(app):
    return lambda path, data: asyncio.run(ask(app, **{**post(path, data), "method": "PATCH"}))


def test_a_window_of_a_search(see, shelf):
    told = see("/api/v1/adapters?q=inks&limit=2&offset=3").json()
    assert [row["name"] for row in told["adapters"]] == ["inks/ink 3", "inks/ink 4"]
    assert (told["total"], told["offset"]) == (5, 3)
    (row,) = see("/api/v1/adapters?q=WASH&kind=lora").json()["adapters"]
    assert (row["name"], row["words"], row["weight"], row["family"]) == ("inks/ink 1", "ink wash", 0.6, "sd1")
    assert see("/api/v1/adapters?kind=embedding").json()["total"] == 0


def test_what_cannot_be_used_says_why_without_a_folder(see, shelf, tmp_path):
    rows = {row["name"]: row for row in see("/api/v1/adapters?checkpoint=starter").json()["adapters"]}
    assert rows["wide"]["incompatible"]["code"] == "adapter_family"
    assert rows["inks/ink 0"]["incompatible"] is None
    assert rows["broken"]["problem"]["message"]
    assert str(tmp_path) not in json.dumps(rows)


def test_its_picture_comes_by_name_small_and_typed(see, shelf):
    answer = see("/api/v1/adapters/lora/inks/ink 1/preview")
    assert (answer.status, answer.header("content-type")) == (200, "image/webp")
    for name in ("inks/ink 0", "inks/../../starter", "nothing"):
        assert see(f"/api/v1/adapters/lora/{name}/preview").status == 404
    assert see("/api/v1/adapters/other/x/preview").status == 422


def test_what_is_no_picture_is_told(desk, see, shelf):
    (shelf / "wide.preview.png").write_bytes(b"<html>")
    desk.checkpoints.adapters.refresh()
    assert 400 <= see("/api/v1/adapters/lora/wide/preview").status < 500


def test_what_a_person_says_counts_first_and_null_takes_it_back(change, see, shelf):
    told = change("/api/v1/adapters/lora/inks/ink 1", {"weight": 0.9, "favourite": True, "words": "mine"}).json()
    assert (told["weight"], told["words"], told["favourite"], told["own"]) == (0.9, "mine", True, ["weight", "words"])
    assert see("/api/v1/adapters").json()["adapters"][0]["name"] == "inks/ink 1"
    told = change("/api/v1/adapters/lora/inks/ink 1", {"words": None}).json()
    assert (told["weight"], told["words"]) == (0.9, "ink wash")
    assert json.loads((shelf / "inks" / "ink 1.json").read_text())["preferred weight"] == 0.6


@pytest.mark.parametrize("body", [{"weight": 1e9}, {"weight": "1"}, {"notes": "x" * 2_001}, {"path": "/etc"}])
def test_nonsense_is_refused(change, shelf, body):
    answer = change("/api/v1/adapters/lora/wide", body)
    assert (answer.status, answer.json()["field"]) == (422, next(iter(body)))
