"""The whole program is killed or asked to stop with jobs in its queue; every accepted job is still made, once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from modules.jobs.journal import Journal
from modules.library.index import Gallery
from tests.jobs.fakes import pixels

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills by POSIX signals")
PROGRAM = Path(__file__).with_name("program.py")
ROUNDS = int(os.environ.get("ATELIER_FAULT_ROUNDS", "3"))


class Program:
    """The small program as a process, and the lines that it said."""

    def __init__(self, tmp_path: Path, jobs: int, pictures: int = 2, step_s: float = 0.005) -> None:
        words = [tmp_path / "data", tmp_path, jobs, pictures, step_s]
        command = [sys.executable, str(PROGRAM), *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.lines = self.process.stdout

    def until(self, word: str) -> list[str]:
        """The lines before this one."""
        said = []
        for line in self.lines:
            if line.strip() == word:
                return said
            said.append(line.strip())
        raise AssertionError(f"it ended with {self.process.wait()} before it said {word!r}")

    def end(self, by: int) -> tuple[int, list[psutil.Process]]:
        """Send a signal, wait for the end; returns the exit status and the processes that it had started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(by)
        code = self.process.wait(20)
        self.lines.close()
        return code, children


def states(data: Path) -> dict[str, tuple[str, str | None]]:
    journal = Journal(data / ".atelier" / "jobs.sqlite")
    rows = journal.read("SELECT id, state, error FROM jobs")
    assert journal.read("PRAGMA integrity_check")[0][0] == "ok"
    assert journal.database.recovered is None
    journal.close()
    return {row["id"]: (row["state"], row["error"]) for row in rows}


def test_kill_the_program_with_twenty_jobs_queued(tmp_path: Path) -> None:
    chance = random.Random(7)
    data = tmp_path / "data"
    first = Program(tmp_path, 20)
    first.until("open")
    accepted = first.until("submitted")
    assert len(accepted) == 20
    program = first
    for turn in range(ROUNDS):
        time.sleep(chance.uniform(0.0, 0.4))
        code, children = program.end(signal.SIGKILL)
        assert code == -signal.SIGKILL
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive, "the engine dies with the program"
        program = Program(tmp_path, 0 if turn else 1)
        program.until("open")
        accepted += program.until("submitted")
    program.until("idle")
    assert program.end(signal.SIGTERM)[0] == 0

    found = states(data)
    lost = [id for id in accepted if found.get(id, ("lost", None))[0] not in ("finished", "failed")]
    assert lost == []
    assert all(error for state, error in found.values() if state == "failed")
    gallery = Gallery(data, background=False)
    for number, id in enumerate(accepted[:20]):
        pictures = gallery.of_job(id)
        assert [picture.picture for picture in pictures] == sorted({picture.picture for picture in pictures})
        if found[id][0] == "finished":
            assert len(pictures) == 2
        for picture in pictures:
            with Image.open(picture.path) as image:
                assert image.convert("RGB").tobytes() == pixels(100 * number + picture.picture, 64, 64)
    gallery.close()
    assert list(data.rglob("*.part")) == []


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_keeps_everything_and_exits_with_0(tmp_path: Path, by: int) -> None:
    program = Program(tmp_path, 3, pictures=4, step_s=0.05)
    program.until("open")
    accepted = program.until("submitted")
    time.sleep(1.5)
    began = time.monotonic()
    code, children = program.end(by)
    assert code == 0
    assert time.monotonic() - began < 60.0
    assert psutil.wait_procs(children, timeout=2)[1] == []
    found = states(tmp_path / "data")
    assert {found[id][0] for id in accepted} <= {"finished", "queued"}
    assert list((tmp_path / "data").rglob("*.part")) == []
    again = Program(tmp_path, 0)
    again.until("idle")
    assert again.end(signal.SIGTERM)[0] == 0
    assert {state for state, _ in states(tmp_path / "data").values()} == {"finished"}
    journal = Journal(tmp_path / "data" / ".atelier" / "jobs.sqlite")
    assert {row["attempt"] for row in journal.read("SELECT attempt FROM jobs")} == {1}, "stopping is no crash"
    journal.close()


def test_ctrl_c_in_a_terminal_reaches_the_engine_too_and_harms_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path, 1, pictures=4, step_s=0.05)
    program.until("open")
    program.until("submitted")
    time.sleep(1.0)
    for child in psutil.Process(program.process.pid).children(recursive=True):
        for by in (signal.SIGINT, signal.SIGTERM):
            child.send_signal(by)
    assert program.end(signal.SIGINT)[0] == 0
    (state,) = states(tmp_path / "data").values()
    assert state[0] in ("queued", "finished")


def test_twenty_kills_leave_a_folder_that_opens(tmp_path: Path) -> None:
    for _ in range(ROUNDS):
        program = Program(tmp_path, 1)
        program.until("open")
        assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL
    second = Program(tmp_path, 0)
    second.until("idle")
    assert second.end(signal.SIGTERM)[0] == 0
