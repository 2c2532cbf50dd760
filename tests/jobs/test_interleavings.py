"""Whatever happens in whatever order: no job is lost, made twice, ended twice, or stopped for another one."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from modules.core.errors import NotFound, WorkbenchError
from modules.core.events import ENDINGS
from modules.jobs.collect import Collector
from modules.jobs.conductor import Conductor
from modules.jobs.estimates import Estimates
from tests.jobs.conftest import Desk
from tests.jobs.doubles import MemoryOutputs, ScriptedEngine


class Interleavings(RuleBasedStateMachine):
    """Clients, the engine and accidents take steps; the conductor's rounds come between them."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.folder.name) / "jobs.sqlite")
        self.outputs = MemoryOutputs()
        self.engine = ScriptedEngine()
        self.asked: set[str] = set()
        self.accepted: set[str] = set()
        self.stopped: list[str] = []
        self.begin()

    def begin(self) -> None:
        bus, queue, ledger = self.desk.bus, self.desk.queue, self.desk.ledger
        collector = Collector(self.outputs, self.outputs, ledger, bus.publish)
        self.conductor = Conductor(queue, ledger, bus, self.engine, collector, Estimates(self.desk.journal))
        ledger.recover()

    def teardown(self) -> None:
        self.outputs.problem = None
        self.desk.queue.resume()
        for _ in range(400):
            self.conductor.turn()
            self.engine.make_one()
        states = {id: self.desk.queue.job(id).state for id in self.accepted}
        self.desk.close()
        self.folder.cleanup()
        assert set(states.values()) <= {"finished", "failed", "cancelled"}, states

    @rule(target=jobs, client=st.sampled_from("ab"), count=st.integers(1, 3), priority=st.integers(0, 1))
    def submit(self, client: str, count: int, priority: int) -> str:
        id = self.desk.submit(client, count=count, priority=priority).id
        self.accepted.add(id)
        return id

    @rule(target=jobs, job=jobs)
    def again(self, job: str):
        try:
            id = self.desk.queue.again(job).id
        except WorkbenchError as problem:
            if problem.code not in ("not_ended", "nothing_left"):
                raise
            return multiple()
        self.accepted.add(id)
        return id

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        if not self.desk.queue.job(job).has_ended:
            self.asked.add(job)
        self.desk.queue.cancel(job)

    @rule(job=jobs)
    def cancel_of_somebody_else(self, job: str) -> None:
        for id, client in ((job, "nobody"), ("no such job", "a")):
            try:
                self.desk.queue.cancel(id, client)
            except NotFound:
                continue
            raise AssertionError("it was found")

    @rule()
    def round(self) -> None:
        self.conductor.turn()

    @rule(rounds=st.integers(1, 4))
    def engine_works(self, rounds: int) -> None:
        for _ in range(rounds):
            self.engine.make_one()
            self.conductor.turn()

    @rule()
    def engine_makes_a_picture(self) -> None:
        self.engine.make_one()

    @rule()
    def engine_dies(self) -> None:
        self.engine.end("died")

    @rule()
    def engine_fails(self) -> None:
        self.engine.end("failed", {"code": "model", "message": "no", "hint": ""})

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        if full:
            self.outputs.fill()
        else:
            self.outputs.problem = None
            self.desk.queue.resume()

    @rule(job=jobs, other=jobs)
    def reorder(self, job: str, other: str) -> None:
        self.desk.queue.front(job)
        try:
            self.desk.queue.move(job, other)
        except WorkbenchError as problem:
            if problem.code != "not_queued":
                raise

    @rule()
    def program_is_killed(self) -> None:
        self.stopped += self.engine.stopped
        self.engine = ScriptedEngine()
        self.desk.close()
        self.desk.reopen()
        self.begin()

    @invariant()
    def only_asked_jobs_are_stopped(self) -> None:
        assert set(self.engine.stopped) | set(self.stopped) <= self.asked

    @invariant()
    def every_accepted_job_is_there_and_ends_once(self) -> None:
        ends: dict[str, int] = {}
        for row in self.desk.journal.read("SELECT job, type FROM events"):
            if row["type"] in ENDINGS:
                ends[row["job"]] = ends.get(row["job"], 0) + 1
        for job in self.desk.queue.jobs(limit=1000):
            assert ends.get(job.id, 0) == job.has_ended
            assert (job.state == "cancelled") <= (job.id in self.asked)
            assert (job.state == "finished") == (job.has_ended and not job.unmade)
        assert {job.id for job in self.desk.queue.jobs(limit=1000)} == self.accepted

    @invariant()
    def every_picture_is_saved_once(self) -> None:
        saved = [(file.job, file.picture) for file in self.outputs.files]
        assert len(saved) == len(set(saved))


Interleavings.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestInterleavings = Interleavings.TestCase
