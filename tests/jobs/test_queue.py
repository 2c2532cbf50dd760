"""The queue accepts, orders, cancels and forgets, and what it accepted survives a restart."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from modules.core import limits
from modules.core.errors import BadValue, Busy, NotFound, WorkbenchError
from modules.core.events import ImageFinished
from tests.jobs.conftest import Desk


def image(job: str, picture: int) -> ImageFinished:
    return ImageFinished(job=job, picture=picture, seed=picture, image=f"{job}{picture}", width=64, height=64)


def test_fifty_parallel_equal_keys_are_one_job(desk: Desk) -> None:
    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(lambda _: desk.submit(key="click"), range(50)))
    assert len({job.id for job in jobs}) == 1
    assert desk.queue.counts()["queued"] == 1
    assert [event.type for event in desk.bus.since(0)[0]].count("queued") == 1
    assert desk.submit("somebody else", key="click").id != jobs[0].id


def test_a_job_of_somebody_else_is_not_found(desk: Desk) -> None:
    job = desk.submit("me")
    for act in (desk.queue.cancel, desk.queue.skip, desk.queue.front, desk.queue.again, desk.queue.job):
        with pytest.raises(NotFound):
            act(job.id, "you")
        with pytest.raises(NotFound):
            act("no such job")
    with pytest.raises(NotFound):
        desk.queue.move(job.id, None, "you")
    assert desk.queue.job(job.id).state == "queued"


def test_a_full_queue_refuses_and_takes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUED_JOBS", 3)
    monkeypatch.setattr(limits, "QUEUED_JOBS_PER_CLIENT", 2)
    desk.submit("a")
    desk.submit("a")
    with pytest.raises(Busy):
        desk.submit("a")
    desk.submit("b")
    with pytest.raises(Busy):
        desk.submit("c")
    assert desk.queue.counts()["queued"] == 3


@pytest.mark.parametrize(
    ("field", "said"), [("client", "a\nb"), ("workspace", "x" * 300), ("key", "\ud800"), ("priority", 1000)]
)
def test_bad_values_name_their_field(desk: Desk, field: str, said: object) -> None:
    named = {"client": "me", "workspace": "w", field: said}
    with pytest.raises(BadValue) as caught:
        desk.queue.submit(desk.submit().request, **named)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_order_is_priority_then_place(desk: Desk) -> None:
    a, b, c, d = (desk.submit() for _ in range(4))
    urgent = desk.submit(priority=5)
    desk.queue.move(d.id, before=b.id)
    desk.queue.front(c.id)
    assert desk.queue.job(c.id).priority == 5
    order = [c.id, urgent.id, a.id, d.id, b.id]
    assert [job.id for job in desk.queue.waiting()] == order
    assert desk.bus.snapshot()["waiting"]["count"] == 5
    assert [row["id"] for row in desk.bus.snapshot()["waiting"]["first"]] == order
    assert desk.run_all() == order


def test_places_never_run_out(desk: Desk) -> None:
    first, *others = (desk.submit() for _ in range(4))
    for turn in range(200):  # each halves the gap before the first: floats have room for about fifty
        desk.queue.move(others[turn % 3].id, before=first.id)
    order = [job.id for job in desk.queue.waiting()]
    assert order == [others[0].id, others[1].id, *[others[2].id], first.id] or order[-1] == first.id
    assert order[:3] == [others[turn % 3].id for turn in (197, 198, 199)]
    desk.queue.move(first.id, None)
    assert [job.id for job in desk.queue.waiting()][-1] == first.id


def test_cancel_of_a_waiting_job_is_idempotent(desk: Desk) -> None:
    job = desk.submit()
    assert desk.queue.cancel(job.id).state == "cancelled"
    assert desk.queue.cancel(job.id).state == "cancelled"
    assert [event.type for event in desk.bus.since(0)[0]] == ["queued", "cancelled"]
    assert desk.ledger.take() is None


def test_pause_lasts_over_a_restart(desk: Desk) -> None:
    job = desk.submit()
    desk.queue.pause("disk_full")
    desk.close()
    desk.reopen()
    assert (desk.queue.paused, desk.queue.pause_reason) == (True, "disk_full")
    assert desk.bus.snapshot()["paused"] is True
    assert desk.ledger.take() is None
    desk.queue.resume()
    assert desk.run_all() == [job.id]


def test_again_makes_what_was_left_with_the_same_seeds(desk: Desk) -> None:
    job = desk.submit(count=4)
    with pytest.raises(WorkbenchError, match="not ended"):
        desk.queue.again(job.id)
    desk.ledger.take()
    desk.ledger.record(image(job.id, 1))
    desk.queue.cancel(job.id)
    desk.ledger.cancelled(job.id)
    rest = desk.queue.again(job.id)
    assert (rest.pictures, rest.request) == ((0, 2, 3), job.request)
    desk.ledger.take()
    for picture in rest.pictures:
        desk.ledger.record(image(rest.id, picture))
    desk.ledger.finish(rest.id, 1.0)
    with pytest.raises(WorkbenchError) as caught:
        desk.queue.again(rest.id)
    assert caught.value.code == "nothing_left"


def test_a_running_job_waits_again_after_a_restart_and_keeps_its_pictures(desk: Desk) -> None:
    job = desk.submit(count=3)
    desk.ledger.take()
    desk.ledger.record(image(job.id, 0))
    for attempt in (2, None):
        desk.close()
        desk.reopen()
        desk.ledger.recover()
        again = desk.queue.job(job.id)
        assert again.unmade == (1, 2)
        if attempt:
            assert (again.state, again.attempt) == ("queued", attempt)
            assert desk.ledger.take()
        else:
            assert again.error is not None
            assert (again.state, again.error["code"]) == ("failed", "set_aside")


def test_a_restart_ends_what_was_being_cancelled(desk: Desk) -> None:
    job = desk.submit()
    desk.ledger.take()
    desk.queue.cancel(job.id)
    desk.close()
    desk.reopen()
    desk.ledger.recover()
    assert desk.queue.job(job.id).state == "cancelled"


def test_a_picture_is_recorded_once_and_an_end_said_once(desk: Desk) -> None:
    job = desk.submit()
    desk.ledger.take()
    assert desk.ledger.record(image(job.id, 0))
    assert not desk.ledger.record(image(job.id, 0))
    desk.queue.cancel(job.id)
    desk.ledger.cancelled(job.id)  # too late: all its pictures are made
    desk.ledger.finish(job.id, 1.0)
    assert desk.queue.job(job.id).state == "finished"
    assert [event.type for event in desk.bus.since(0)[0]] == ["queued", "started", "image", "finished"]


def test_a_request_of_a_newer_version_fails_alone(desk: Desk) -> None:
    job, good = desk.submit(), desk.submit()
    stored = json.dumps({**json.loads(job.request.to_json()), "version": 99})
    desk.journal.write(lambda t: t.execute("UPDATE jobs SET request = ? WHERE id = ?", (stored, job.id)).rowcount)
    assert desk.run_all() == [good.id]
    (row,) = desk.journal.read("SELECT state, error FROM jobs WHERE id = ?", (job.id,))
    assert row["state"] == "failed"
    assert "version 99" in json.loads(row["error"])["message"]
    assert [found.id for found in desk.queue.jobs()] == [good.id]


def test_old_rows_are_forgotten_down_to_their_bounds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDED_JOBS", 5)
    monkeypatch.setattr(limits, "STORED_EVENTS", 6)
    waiting = desk.submit(client="later")
    desk.queue.cancel(waiting.id)
    for _ in range(9):
        desk.submit()
    newest = desk.run_all()[-5:]
    keep = desk.submit()
    desk.ledger.prune()
    assert {job.id for job in desk.queue.jobs()} == {*newest, keep.id}
    assert len(desk.journal.read("SELECT 1 FROM events")) == 6
    last = desk.bus.last_seq
    desk.close()
    desk.reopen()
    assert desk.bus.since(0)[1], "events before the stored ones are gone, and a late listener is told"
    assert desk.bus.last_seq >= last


def test_jobs_are_listed_newest_first_by_state_and_workspace(desk: Desk) -> None:
    first = desk.submit()
    other = desk.queue.submit(first.request, client="me", workspace="v")
    desk.queue.cancel(first.id)
    assert [job.id for job in desk.queue.jobs()] == [other.id, first.id]
    assert [job.id for job in desk.queue.jobs(("cancelled",))] == [first.id]
    assert [job.id for job in desk.queue.jobs(workspace="v")] == [other.id]
    assert desk.queue.jobs(limit=1)[0].id == other.id
    assert desk.queue.counts() == {"queued": 1, "running": 0, "finished": 0, "failed": 0, "cancelled": 1}


@pytest.mark.parametrize("damage", ["zeroed", "halved", "emptied"])
def test_a_damaged_database_comes_back_from_its_copy(desk: Desk, damage: str) -> None:
    jobs = [desk.submit() for _ in range(5)]
    desk.ledger.back_up()
    last = desk.bus.last_seq
    later = desk.submit()
    desk.close()
    whole = desk.path.read_bytes()
    desk.path.write_bytes({"zeroed": bytes(len(whole)), "halved": whole[: len(whole) // 2], "emptied": b""}[damage])
    desk.reopen()
    assert desk.journal.database.recovered == "backup"
    assert [job.id for job in desk.queue.waiting()] == [job.id for job in jobs]
    assert later.id not in {job.id for job in desk.queue.jobs()}, "it came after the copy"
    assert desk.submit().state == "queued"
    assert desk.bus.last_seq > last + 1, "no number is given twice"
