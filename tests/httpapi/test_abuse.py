"""Strangers at every door: whatever is sent to whatever route, the answer is 2xx or 4xx, and it names no folder."""

import asyncio
import base64
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest
from modules.httpapi.sdoptions import OPTIONS
from modules.httpapi.sdpayload import ImageToImage, TextToImage
from modules.httpapi.sdrequest import translate
from modules.library.blobs import Blobs
from tests.httpapi.asgi import ask, post

LEAKS = re.compile(re.escape(str(Path.home())) + r"|/home/|/tmp/|C:\\\\|site-packages|Traceback|File \"")
BODIES = (
    "/api/v1/jobs", "/api/v1/jobs/x/move", "/api/v1/queue/pause", "/api/v1/images/trash", "/api/v1/images/restore",
    "/api/v1/images/purge", "/api/v1/images/seen", "/api/v1/extensions/x", "/api/v1/tokens", "/api/v1/check",
    "/sdapi/v1/options", "/sdapi/v1/png-info", "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images",
    "/api/v1/settings",
)  # fmt: skip
WORDS = """request prompt seed size width count sampling steps cfg_scale hires scale extensions model checkpoint
workspace priority ids text before enabled reason image sd_model_checkpoint samples_format theme extensions_off
image_quality previews compat version noise sampler eta jpeg_quality CLIP_stop_at_last_layers"""
NAMES = st.sampled_from(WORDS.split())
PAYLOAD = st.sampled_from([*TextToImage.model_fields, *ImageToImage.model_fields, "unknown"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    | st.sampled_from(["../../etc/passwd", "\x00", "%2e%2e", "\u202e", "🦊" * 9, "nan", "-1", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ROUTE = st.sampled_from(BODIES)


@pytest.fixture
def blobs(desk, tmp_path):
    desk.blobs = Blobs(tmp_path / "blobs")
    return desk.blobs


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=ROUTE, data=st.dictionaries(NAMES, ANYTHING, max_size=6) | ANYTHING)
def test_any_json_at_any_route_is_2xx_or_4xx(app, path, data):
    method = "PATCH" if path == "/api/v1/settings" else "POST"
    answer = asyncio.run(ask(app, **post(path, json.dumps(data).encode(), method=method)))
    assert 200 <= answer.status < 500, answer.body
    assert not LEAKS.search(answer.body.decode())
    if answer.status >= 400:
        assert {"code", "message", "hint", "field", "request_id"} <= set(answer.json())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.dictionaries(PAYLOAD, ANYTHING, max_size=6),
    options=st.dictionaries(st.sampled_from([*OPTIONS, "sd_model_checkpoint"]), ANYTHING, max_size=3),
    kind=st.sampled_from([TextToImage, ImageToImage]),
)
def test_any_payload_of_the_dialect_is_a_request_or_a_named_error(desk, blobs, data, options, kind):
    picture = base64.b64encode(png(colour="white")).decode()
    assert status_of({"init_images": [picture], **data}, kind, desk) in (200, 400, 404, 415, 422)
    asked = {"init_images": [picture], "mask": picture, "override_settings": options}
    assert status_of(asked, kind, desk) in (200, 400, 422)


def status_of(data, kind, desk):
    try:
        translate(kind.from_json(json.dumps(data).encode()), {}, desk)
    except WorkbenchError as problem:
        return problem.status
    return 200


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=ROUTE, body=st.binary(max_size=60))
def test_any_bytes_at_any_route_are_2xx_or_4xx(app, path, body):
    answer = asyncio.run(ask(app, **post(path, body)))
    assert 200 <= answer.status < 500, answer.body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/api/v1/jobs", "/api/v1/images", "/api/v1/images/count", "/api/v1/events", "/media/x"]),
    name=st.sampled_from(["state", "workspace", "limit", "before", "q", "trashed", "download"]),
    value=st.text(alphabet="abz019%-\"'*()/\\ :;=,", max_size=40),
)
def test_any_query_is_2xx_or_4xx(app, path, name, value):
    if path == "/api/v1/events":
        name, value = "after", "x" + value
    answer = asyncio.run(ask(app, f"{path}?{name}={value}"))
    assert 200 <= answer.status < 500, answer.body
    assert not LEAKS.search(answer.body.decode("latin-1"))


def test_a_full_queue_is_429_and_says_when_to_come_back(tell, monkeypatch):
    monkeypatch.setattr(limits, "QUEUED_JOBS", 3)
    found = [tell("/api/v1/jobs", {"request": {}}) for _ in range(5)]
    assert [answer.status for answer in found] == [201, 201, 201, 429, 429]
    assert found[-1].header("retry-after") == "5"


def test_the_same_get_twice_changes_nothing(see, desk):
    desk.blobs = Blobs(desk.settings.data / "blobs")
    desk.outputs.save(
        bytes(64 * 64 * 3), width=64, height=64, request=GenerationRequest(seed=1), facts={}, picture=0, seed=1,
        job="j", elapsed_s=0.0,
    )  # fmt: skip
    (id,) = (row["id"] for row in see("/api/v1/images").json()["items"])
    gets = [path for path, verbs in see("/openapi.json").json()["paths"].items() if "get" in verbs]
    named = {"{id}": id, "{kind}": "lora", "{name}": "nobody"}
    gets = [
        re.sub(r"{\w+}", lambda found: named.get(found[0], found[0]), path) for path in gets if path != "/api/v1/events"
    ]
    before = [row["new"] for row in see("/api/v1/images").json()["items"]], desk.bus.last_seq
    for path in [*gets, *gets]:
        assert see(path).status in (200, 404)
    assert before == ([row["new"] for row in see("/api/v1/images").json()["items"]], desk.bus.last_seq)


def png(size=(8, 8), colour="black"):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def put(app, body, length=True):
    headers = {"content-type": "image/png", **({"content-length": str(len(body))} if length else {})}
    pieces = tuple(body[start : start + 1000] for start in range(0, len(body), 1000)) or (b"",)
    return asyncio.run(ask(app, "/api/v1/blobs", method="PUT", headers=headers, chunks=pieces))


def test_a_picture_is_taken_in_by_its_content(app, blobs):
    first, again = put(app, png()), put(app, png(), length=False)
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    assert blobs.get(first.json()["sha256"]).read_bytes() == png()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<svg onload='x'/>", 415), (b"<html>", 415), (b"%PDF-1.7", 415), (b"PK\x03\x04", 415), (b"", 415),
     (png()[:-5], 422)],
)  # fmt: skip
def test_what_is_no_picture_is_not_taken_in(app, blobs, body, status):
    answer = put(app, body)
    assert answer.status == status
    assert list(blobs.folder.rglob("*.part")) == []


def test_a_body_that_breaks_off_leaves_nothing(app, blobs):
    async def run():
        headers = {"content-type": "image/png", "content-length": "5000"}
        task = asyncio.ensure_future(
            ask(app, "/api/v1/blobs", method="PUT", headers=headers, chunks=(png(),), stall=True)
        )
        while not list(blobs.folder.rglob("*.part")):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert list(blobs.folder.rglob("*.part")) == []
