"""A merge as a job: queued, stored, made by the real worker, cancelled, and made again."""

import asyncio
from pathlib import Path

import pytest

from modules.core.errors import WorkbenchError
from modules.core.merging import MergeRequest
from modules.core.settings import Settings
from modules.httpapi.server import build_app
from modules.jobs.studio import Studio
from modules.training.tiny import tiny_checkpoint
from tests.httpapi.asgi import ask, post
from tests.jobs.conftest import Desk, ended

WANTED = MergeRequest(name="made", a="first", b="second")


def test_a_stored_merge_is_the_one_that_was_asked_for(desk: Desk) -> None:
    job = desk.queue.submit(WANTED, client="me", workspace="w")
    desk.close()
    desk.reopen()
    assert desk.queue.job(job.id).request == WANTED
    assert desk.queue.job(job.id).summary()["prompt"] == "made"
    taken = desk.ledger.take()
    assert taken is not None
    assert taken.request == WANTED
    assert desk.ledger.recover() == (job.id,)  # the program stopped under it: it waits again


def test_one_that_was_cancelled_can_be_made_again_and_a_finished_one_cannot(desk: Desk) -> None:
    job = desk.queue.submit(WANTED, client="me", workspace="w")
    desk.queue.cancel(job.id)
    again = desk.queue.again(job.id)
    assert again.request == WANTED
    desk.run_all()
    assert desk.queue.job(again.id).state == "finished"
    with pytest.raises(WorkbenchError) as caught:
        desk.queue.again(again.id)
    assert caught.value.code == "nothing_left"


def test_over_http_the_real_worker_makes_one(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("first", "second"), 1):
        tiny_checkpoint(folder / f"{name}.safetensors", seed)
    settings = Settings(data_dir=str(tmp_path / "data"), engine="thread", device="cpu", numerics="safe")
    studio = Studio.open(settings)
    try:
        app = build_app(studio)
        body = WANTED.model_dump(mode="json")
        told = (asyncio.run(ask(app, **post("/api/v1/merges/plan", body)))).json()
        assert told["family"] == "sd1"
        assert told["blocks"][0] == "BASE"
        refused = asyncio.run(ask(app, **post("/api/v1/merges", {"request": {**body, "b": "nobody"}})))
        assert (refused.status, refused.json()["field"]) == (422, "b")
        answer = asyncio.run(ask(app, **post("/api/v1/merges", {"request": body})))
        assert answer.status == 201
        job = ended(studio, answer.json()["id"], 60.0)
        assert (job.state, job.error) == ("finished", None)
        assert (folder / "made.safetensors").stat().st_size > told["size_bytes"]
        shown = asyncio.run(ask(app, f"/api/v1/merges/{job.id}")).json()
        assert shown["request"]["kind"] == "merge"
        assert studio.checkpoints.find("made").family == "sd1"
        assert studio.estimate_merge(told["size_bytes"]) is not None
        taken = asyncio.run(ask(app, **post("/api/v1/merges", {"request": body})))
        assert (taken.status, taken.json()["code"]) == (409, "merge_exists")
    finally:
        studio.close()
