"""Settings of pictures and texts over HTTP, field by field."""

import asyncio
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.core.request import GenerationRequest
from modules.library import infotext, metadata
from modules.library.blobs import Blobs
from tests.httpapi.asgi import ask, post

BYTES = {"content-type": "application/octet-stream"}
A1111 = """a fox, ink
Negative prompt: blur
Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 5.5, Seed: 99, Size: 640x512, Model hash: abababab, \
Model: starter-old, Clip skip: 2, NGMS: 2, Hires upscale: 1.5, Hires upscaler: Latent, Denoising strength: 0.4, \
ControlNet 0: "x: y", \
Version: v1.10.1"""


def png(**texts):
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    out = io.BytesIO()
    Image.new("RGB", (24, 16)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


@pytest.fixture
def settings_of(app, desk, tmp_path):
    """Upload a picture's bytes and ask for its settings."""
    desk.blobs = Blobs(tmp_path / "blobs")

    def settings(data):
        sent = asyncio.run(ask(app, **post("/api/v1/blobs", data, method="PUT", headers=BYTES)))
        assert sent.status == 201, sent.body
        return asyncio.run(ask(app, f"/api/v1/blobs/{sent.json()['sha256']}/settings"))

    return settings


def rows(told):
    return {row["name"]: {value["field"]: value["value"] for value in row["values"]} for row in told["rows"]}


def test_a1111_s_picture_field_by_field(settings_of):
    told = settings_of(png(parameters=A1111)).json()
    assert (told["program"], told["width"], told["height"]) == ("A1111", 24, 16)
    found = rows(told)
    assert found["prompt"]["prompt"] == "a fox, ink"
    assert found["size"] == {"size.width": 640, "size.height": 512}
    assert found["sampler"] == {"sampling.sampler": "DPM++ 2M", "sampling.schedule": "Karras"}
    assert found["model"] == {"model.checkpoint": "starter"}  # found by its hash, whatever its name
    assert found["hires"]["hires.denoise_strength"] == 0.4
    assert found["clip_skip"] == {"clip_skip": 2}
    (compat,) = (row["values"][0] for row in told["rows"] if row["name"] == "compat")
    assert (compat["word"], compat["said"]) == ("a1111", True)
    assert {row["name"]: row["missing"] for row in told["rows"] if row["missing"]} == {"extensions": ["ngms"]}
    assert told["unknown"] == {"ControlNet 0": "x: y"}
    assert {"refiner", "vae", "tiling"} <= told["rest"].keys()
    assert not told["rest"].keys() & {"prompt", "count", "model.sha256"}


def test_the_rows_are_a_request_again(settings_of):
    request = GenerationRequest.from_data(
        {"seed": 5, "prompt": "a fox", "tiling": "x", "sampling": {"rho": 5.0, "steps": 9}, "compat": ["comfy"],
         "variation": {"seed": 4, "strength": 0.5}, "refiner": {"checkpoint": "starter", "switch_at": 0.5}}
    )  # fmt: skip
    options, _ = metadata.pack("png", "", {"request": request.model_dump(mode="json"), "seed": 7})
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", **options)
    told = settings_of(out.getvalue()).json()
    fields = {field: value for row in rows(told).values() for field, value in row.items()}
    from modules.library.recall import Recall

    again = Recall({**fields, **told["rest"]}).apply(GenerationRequest(seed=0))
    assert again == request.model_copy(update={"seed": 7})
    assert told["program"] == "Atelier"


def test_what_was_typed_comes_back_where_it_gives_the_same_words(settings_of, tmp_path, tell):
    tell("/api/v1/styles", {"name": "ink", "prompt": "ink"})
    request = GenerationRequest(
        prompt="a fox, ink", prompt_template="a fox", negative_prompt_template="", styles=("ink",), seed=3
    )
    found = rows(settings_of(png(parameters=infotext.write(request, {}, 0))).json())
    assert found["prompt"] == {"prompt": "a fox", "styles": ["ink"], "prompt_template": None, "combinations": False}
    tell("/api/v1/styles/remove", {"name": "ink"})
    found = rows(settings_of(png(parameters=infotext.write(request, {}, 0))).json())
    assert found["prompt"]["prompt"] == "a fox, ink"


def test_styles_in_another_program_s_prompt_become_styles_again(settings_of, tell):
    tell("/api/v1/styles", {"name": "ink", "prompt": "{prompt}, ink", "negative_prompt": "blur"})
    found = rows(settings_of(png(parameters=A1111)).json())
    assert (found["prompt"]["prompt"], found["prompt"]["styles"]) == ("a fox", ["ink"])
    tell("/api/v1/styles", {"name": "ink", "prompt": "{prompt},  ink", "negative_prompt": "blur", "instead_of": "ink"})
    assert rows(settings_of(png(parameters=A1111)).json())["prompt"]["prompt"] == "a fox, ink"  # spaced otherwise


def test_a_picture_without_settings_and_a_model_that_is_not_here(settings_of, tell):
    assert settings_of(png()).json()["rows"] == []
    told = tell("/api/v1/infotext", {"text": A1111.replace("abababab", "12345678")}).json()
    (model,) = (row for row in told["rows"] if row["name"] == "model")
    assert (model["values"], model["missing"]) == ([], ["starter-old"])
    assert tell("/api/v1/infotext", {"text": "only a prompt"}).json()["rows"] == []
    graph = json.dumps({"1": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 9}}})
    assert tell("/api/v1/infotext", {"text": graph}).json()["program"] == "ComfyUI"


def test_what_is_no_picture_or_not_there_is_refused(settings_of, see, app, desk):
    gone = see(f"/api/v1/blobs/{'0' * 64}/settings")
    assert (gone.status, gone.json()["code"]) == (404, "no_blob")
    sent = asyncio.run(ask(app, **post("/api/v1/blobs", b"text", method="PUT", headers=BYTES)))
    assert sent.status == 415
