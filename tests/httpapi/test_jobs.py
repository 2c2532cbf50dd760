"""The queue over HTTP: what is accepted, what is refused and by which name, and every verb."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.httpapi.asgi import ask, post

REQUEST = {"prompt": "a red fox", "seed": 7, "size": {"width": 128, "height": 128}}


def submit(tell, request=REQUEST, **more):
    return tell("/api/v1/jobs", {"request": request, **more})


def test_a_request_is_stored_and_shown(tell, see, desk):
    answer = submit(tell, workspace="w1", priority=2)
    job = answer.json()
    assert (answer.status, job["state"], job["workspace"], job["priority"]) == (201, "queued", "w1", 2)
    assert job["request"]["prompt"] == "a red fox"
    assert desk.queue.job(job["id"]).request.seed == 7
    assert see(answer.header("location")).json() == job
    listed = see("/api/v1/jobs?state=queued&workspace=w1").json()
    assert [row["id"] for row in listed["jobs"]] == [job["id"]]
    assert listed["counts"]["queued"] == 1
    assert see("/api/v1/jobs?workspace=other").json()["jobs"] == []


@pytest.mark.parametrize("seed", [{}, {"seed": -1}])
def test_a_missing_seed_is_drawn_at_once(tell, seed):
    seeds = {submit(tell, {"prompt": "x", **seed}).json()["request"]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= found < 2**32 for found in seeds)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (b'{"request":{"sampling":{"cfg_scale":NaN}}}', "request.sampling.cfg_scale"),
        (b'{"request":{"sampling":{"cfg_scale":-Infinity}}}', "request.sampling.cfg_scale"),
        (b'{"request":{"sampling":{"cfg_scale":1e999}}}', "request.sampling.cfg_scale"),
        ({"request": {"sampling": {"cfg_scale": "nan"}}}, "sampling.cfg_scale"),
        ({"request": {"size": {"width": -5, "height": 64}}}, "size.width"),
        ({"request": {"size": {"width": 64, "height": 0}}}, "size.height"),
        ({"request": {"size": {"width": 10**20, "height": 64}}}, "size.width"),
        ({"request": {"size": {"width": True, "height": 64}}}, "size.width"),
        ({"request": {"size": {"width": "512", "height": 64}}}, "size.width"),
        ({"request": {"sampling": {"steps": 10**9}}}, "sampling.steps"),
        ({"request": {"count": 10**6}}, "count"),
        ({"request": {"size": {"width": 4096, "height": 4096}, "hires": {"scale": 4.0}}}, "hires.scale"),
        ({"request": {"stpes": 3}}, "stpes"),
        ({"request": {"prompt": "x" * 20_001}}, "prompt"),
        ({"request": {"prompt": "\ud800"}}, "request.prompt"),
        ({"request": {"sampling": {"sampler": "Eulerr"}}}, "sampling.sampler"),
        ({"request": {"seed": True}}, "seed"),
        ({"request": {"seed": -1.0}}, "seed"),
        ({"request": {"seed": 2**32}}, "seed"),
        ({"request": {"model": {"checkpoint": "nothing"}}}, "model.checkpoint"),
        ({"request": {"extensions": {"unknown": {}}}}, "extensions.unknown"),
        ({"request": []}, "request"),
        ({"request": {}, "priority": 101}, "priority"),
        ({"request": {}, "priority": 10**30}, "priority"),
        ({"request": {}, "workspace": 3}, "workspace"),
        ({"request": {}, "wrkspace": "x"}, "wrkspace"),
        ({}, "request"),
    ],
)
def test_bad_values_are_422_naming_the_field(tell, desk, request_, field):
    answer = tell("/api/v1/jobs", request_)
    assert (answer.status, answer.json()["field"]) == (422, field)
    assert answer.json()["code"]
    assert answer.json()["message"]
    assert desk.queue.counts()["queued"] == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"request":{},"request":{}}', b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900,
     b'{"priority":' + b"9" * 5_000 + b"}", b"null", b"[]", b'"x"', b"3"],
)  # fmt: skip
def test_what_is_no_usable_json_object_is_4xx(tell, body):
    answer = tell("/api/v1/jobs", body)
    assert answer.status in (400, 422)
    assert answer.json()["request_id"]


def test_parallel_posts_with_one_key_are_one_job(app, desk):
    async def run():
        request = post("/api/v1/jobs", {"request": REQUEST}, headers={"idempotency-key": "once"})
        return await asyncio.gather(*[ask(app, **request) for _ in range(50)])

    answers = asyncio.run(run())
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert desk.queue.counts()["queued"] == 1


def test_the_verbs(tell, see, desk):
    first, second, third = (submit(tell).json()["id"] for _ in range(3))
    assert tell(f"/api/v1/jobs/{third}/front", b"").status == 200
    assert [job.id for job in desk.queue.waiting()] == [third, first, second]
    assert tell(f"/api/v1/jobs/{second}/move", {"before": first}).status == 200
    assert [job.id for job in desk.queue.waiting()] == [third, second, first]
    assert tell(f"/api/v1/jobs/{third}/move", {"before": None}).status == 200
    assert [job.id for job in desk.queue.waiting()] == [second, first, third]
    assert tell(f"/api/v1/jobs/{second}/again", b"").status == 409
    assert tell(f"/api/v1/jobs/{second}/cancel", b"").json()["state"] == "cancelled"
    assert tell(f"/api/v1/jobs/{second}/cancel", b"").status == 200
    again = tell(f"/api/v1/jobs/{second}/again", b"").json()
    assert (again["state"], again["request"]["seed"]) == ("queued", 7)
    assert tell(f"/api/v1/jobs/{first}/skip", b"").json()["state"] == "queued"
    assert see("/api/v1/state").json()["waiting"]["count"] == 3


def test_pause_and_resume(tell, see, desk):
    assert tell("/api/v1/queue/pause", {"reason": "lunch"}).json() == {"paused": True}
    assert (desk.queue.paused, see("/api/v1/state").json()["reason"]) == (True, "lunch")
    assert tell("/api/v1/queue/resume", b"").json() == {"paused": False}
    assert not desk.queue.paused
    assert tell("/api/v1/queue/pause", b"").status == 200


@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs/none", "/api/v1/jobs/..", "/api/v1/jobs/" + "x" * 100, "/api/v1/jobs/%2e%2e", "/api/v1/jobs/a\x00b",
     "/api/v1/nothing", "/media/none", "/media/../secret", "/media/none/thumb", "/api/v1/images/none"],
)  # fmt: skip
def test_unknown_things_are_404(see, path):
    answer = see(path)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("verb", ["cancel", "skip", "front", "again", "explode"])
def test_verbs_on_unknown_jobs_are_404(tell, verb):
    assert tell(f"/api/v1/jobs/none/{verb}", b"").status == 404


@pytest.mark.parametrize("query", ["state=dreaming", "limit=0", "limit=x", "limit=99999", "workspace=" + "x" * 65])
def test_bad_queries_are_422_naming_the_field(see, query):
    answer = see(f"/api/v1/jobs?{query}")
    assert (answer.status, answer.json()["field"]) == (422, query.partition("=")[0])


def test_a_wrong_method_is_405(see):
    assert see("/api/v1/jobs", method="DELETE").status == 405


def test_no_answer_names_a_folder(tell, see, desk):
    home = re.compile(
        r"/home/|site-packages|Traceback|" + re.escape(str(desk.settings.data)) + "|" + re.escape(str(Path.home()))
    )
    texts = [tell("/api/v1/jobs", {"request": {"model": {"checkpoint": "nothing"}}}).body, see("/api/v1/state").body]
    texts.append(see("/openapi.json").body)
    assert not any(home.search(text.decode()) for text in texts)
