"""A whole Atelier for the tests of A1111's dialect: a real server, the real engine, two exact checkpoints."""

import base64
import io
import json
import socket
import time

import httpx
import pytest
import webuiapi
from PIL import Image

from modules.core.settings import Settings
from modules.families.analytic import write_checkpoint
from modules.httpapi.server import build_app
from modules.httpapi.serving import Serving
from modules.jobs.studio import Studio

SMALL = {"prompt": "a red fox", "steps": 4, "width": 64, "height": 64, "seed": 7}
SLOW = {**SMALL, "prompt": "slow", "override_settings": {"sd_model_checkpoint": "slow"}, "steps": 100}


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.01)
    return found


def picture(answer, index=0):
    return Image.open(io.BytesIO(base64.b64decode(answer["images"][index])))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A whole Atelier on a free port: two analytic checkpoints, the engine as a thread."""
    data = tmp_path_factory.mktemp("data")
    (data / "models").mkdir()
    write_checkpoint(data / "models" / "exact.safetensors")
    write_checkpoint(data / "models" / "slow.safetensors", delay_s=0.05)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(data_dir=str(data), port=port, engine="thread", checkpoint="exact")
    serving = Serving(settings)
    serving.start()
    studio = Studio.open(settings)
    build_app(studio, gate=serving.gate)
    yield studio, serving.url
    serving.stop()
    studio.close()


@pytest.fixture
def studio(program):
    return program[0]


@pytest.fixture
def client(program):
    return webuiapi.WebUIApi(baseurl=f"{program[1]}/sdapi/v1")


@pytest.fixture
def call(program):
    """POST a payload, answer the response."""

    def post(payload, path="txt2img"):
        headers = {"content-type": "application/json"}
        return httpx.post(f"{program[1]}/sdapi/v1/{path}", content=json.dumps(payload), headers=headers, timeout=60)

    return post
