"""A finished picture is never lost: not to a full disk, not to a crash between file and row, not to its warnings."""

import pytest

from modules.core import limits
from modules.core.errors import WorkbenchError
from modules.core.events import ImageMade, Warned
from modules.jobs import conductor as conducting
from modules.jobs.collect import Collector
from modules.jobs.conductor import Conductor
from modules.jobs.estimates import Estimates
from tests.jobs.conftest import Desk, until
from tests.jobs.doubles import MemoryOutputs, ScriptedEngine
from tests.jobs.fakes import pixels


class Stage:
    """A desk with a conductor that the test turns by hand."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.outputs = MemoryOutputs()
        self.engine = ScriptedEngine()
        self.collector = Collector(self.outputs, self.outputs, desk.ledger, desk.bus.publish)
        self.conductor = Conductor(
            desk.queue, desk.ledger, desk.bus, self.engine, self.collector, Estimates(desk.journal)
        )

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.engine.make_one()
            self.conductor.turn()


@pytest.fixture
def stage(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(conducting, "TURN_S", 0.001)
    return Stage(desk)


def test_pictures_wait_in_memory_while_the_disk_is_full(stage: Stage) -> None:
    job = stage.desk.submit(count=3)
    stage.conductor.turn()
    stage.outputs.fill()
    stage.rounds(5)
    queue = stage.desk.queue
    assert (queue.paused, queue.pause_reason, stage.collector.kept) == (True, "disk_full", 3)
    assert queue.job(job.id).state == "running", "it has not ended: its pictures are not files yet"
    warned = [event for event in stage.desk.bus.since(0)[0] if isinstance(event, Warned)]
    assert [(event.code, event.job) for event in warned] == [("disk_full", job.id)]
    stage.outputs.problem = None
    queue.resume()
    stage.rounds(2)
    done = queue.job(job.id)
    assert (done.state, len(done.images), queue.paused) == ("finished", 3, False)
    assert [file.pixels for file in stage.outputs.files] == [pixels(7 + n, 8, 8) for n in range(3)]


def test_a_timer_saves_again_by_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    job = stage.desk.submit()
    stage.conductor.turn()
    stage.outputs.fill()
    stage.rounds(2)
    stage.outputs.problem = None
    stage.rounds(2)
    assert stage.collector.kept == 1, "not before its time"
    monkeypatch.setattr(conducting.time, "monotonic", lambda now=conducting.time.monotonic: now() + 6.0)
    stage.rounds(2)
    assert stage.desk.queue.job(job.id).state == "finished"
    assert not stage.desk.queue.paused


def test_at_most_eight_pictures_wait_and_the_engine_waits_with_the_ninth(stage: Stage) -> None:
    job = stage.desk.submit(count=12)
    stage.conductor.turn()
    stage.outputs.fill()
    stage.rounds(30)
    assert stage.collector.kept == limits.SPOOL_PICTURES
    stage.outputs.problem = None
    stage.desk.queue.resume()
    stage.rounds(10)
    assert len(stage.desk.queue.job(job.id).images) == 12


@pytest.mark.parametrize("is_first", [True, False])
def test_somebodys_own_pause_outlasts_the_saving(stage: Stage, is_first: bool) -> None:
    stage.desk.submit()
    stage.conductor.turn()
    stage.outputs.fill()
    if is_first:
        stage.desk.queue.pause("mine")
    stage.rounds(2)
    if not is_first:
        stage.desk.queue.pause("mine")
    stage.outputs.problem = None
    stage.conductor._save_again_at = 0.0  # pyright: ignore[reportPrivateUsage]
    stage.rounds(2)
    assert (stage.collector.kept, stage.desk.queue.pause_reason) == (0, "mine")


def test_a_file_whose_row_was_never_written_is_adopted_not_made_again(stage: Stage) -> None:
    job = stage.desk.submit(count=3)
    stage.conductor.turn()
    # The program was killed after the file of picture 0, before the queue heard of it.
    stage.outputs.save(
        pixels(7, 8, 8), request=job.request, facts={}, picture=0, seed=7, job=job.id, elapsed_s=0, width=8, height=8
    )
    stage.desk.close()
    after = Stage(stage.desk.reopen())
    after.outputs = after.collector._outputs = after.collector._gallery = stage.outputs  # pyright: ignore[reportPrivateUsage]
    after.conductor.start()
    until(lambda: after.engine.tasks)
    assert after.engine.tasks[0].pictures == (1, 2)
    assert after.engine.tasks[0].made == (0,)
    after.conductor.close()


def test_warnings_of_saving_are_told_and_cost_nothing(stage: Stage) -> None:
    stage.outputs.warnings = (WorkbenchError("no thumbnail", code="thumbnail_failed"),)
    job = stage.desk.submit()
    stage.conductor.turn()
    stage.rounds(3)
    assert stage.desk.queue.job(job.id).state == "finished"
    assert [e.code for e in stage.desk.bus.since(0)[0] if isinstance(e, Warned)] == ["thumbnail_failed"]


def test_pixels_that_no_file_can_hold_fail_the_job_with_their_reason(stage: Stage) -> None:
    job, good = stage.desk.submit(count=2), stage.desk.submit()
    stage.conductor.turn()
    stage.outputs.problem = WorkbenchError("3 bytes are no picture.", code="bad_pixels")
    stage.engine.make_one()
    stage.conductor.turn()
    stage.outputs.problem = None
    stage.rounds(6)
    error = stage.desk.queue.job(job.id).error
    assert error is not None
    assert error["code"] == "bad_pixels"
    assert stage.desk.queue.job(good.id).state == "finished"


def test_the_same_picture_twice_is_one_file(stage: Stage) -> None:
    job = stage.desk.submit(count=2)
    made = ImageMade(job=job.id, picture=0, seed=7, width=8, height=8, pixels=pixels(7, 8, 8))
    for _ in range(2):
        assert stage.collector.take(job, made, 0.1) is None
    assert len(stage.outputs.files) == 1


def test_an_engine_that_has_grown_too_large_is_renewed_between_jobs(stage: Stage) -> None:
    for rss_bytes, recycled in ((10**6, 0), (10**15, 1)):
        stage.engine.rss_bytes = rss_bytes
        job = stage.desk.submit()
        stage.rounds(3)
        assert stage.desk.queue.job(job.id).state == "finished"
        assert stage.engine.recycled == recycled
