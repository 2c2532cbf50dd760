"""Writes that wait together share a commit; nothing is acknowledged that was not committed."""

import threading
from pathlib import Path

import pytest

from modules.core.errors import DiskFull, WorkbenchError
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal, Transaction
from tests.jobs.conftest import Desk


def test_a_write_that_raises_undoes_itself_alone(desk: Desk) -> None:
    held = threading.Event()
    desk.journal.post(lambda transaction: held.wait(5))  # the next three wait together, so they share a commit

    def bad(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO facts (name, value) VALUES ('bad', '1')")
        raise KeyError("mine")

    def good(transaction: Transaction, name: str) -> None:
        transaction.execute("INSERT INTO facts (name, value) VALUES (?, '1')", (name,))

    actions = (lambda t: good(t, "before"), bad, lambda t: good(t, "after"))
    futures = [desk.journal.post(action) for action in actions]
    held.set()
    with pytest.raises(KeyError, match="mine"):
        futures[1].result(5)
    futures[0].result(5)
    futures[2].result(5)
    names = {row["name"] for row in desk.journal.read("SELECT name FROM facts")}
    assert {"before", "after"} <= names
    assert "bad" not in names


def test_after_closing_writes_are_refused(desk: Desk) -> None:
    desk.close()
    with pytest.raises(WorkbenchError) as caught:
        desk.submit()
    assert caught.value.code == "closed"
    desk.reopen()


def test_a_full_disk_at_any_write_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """SQLite itself runs out of pages at the k-th one, for all k until none is refused."""
    refusals, spare = 0, 0
    while True:
        desk = Desk(tmp_path / f"{spare}.sqlite")
        connection = desk.journal.database
        with connection.reading() as reader:
            pages = reader.execute("PRAGMA page_count").fetchone()[0]
        desk.journal.write(lambda t, room=pages + spare: t.execute(f"PRAGMA max_page_count = {room}").fetchone())
        accepted, refused = [], 0
        for n in range(12):
            try:
                accepted.append(desk.submit(prompt="x" * 900, key=str(n)).id)
            except DiskFull:
                refused += 1
        heard = [event.job for event in desk.bus.since(0)[0]]
        desk.close()
        desk.reopen()
        assert [job.id for job in reversed(desk.queue.jobs())] == accepted
        assert heard == accepted
        retried = [desk.submit(prompt="x" * 900, key=str(n)).id for n in range(12)]
        assert len(set(retried)) == 12
        assert set(accepted) <= set(retried)
        desk.close()
        refusals += refused
        if not refused:
            break
        spare += 1
    assert refusals > 10
    assert spare > 2


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"this was a database once")
    journal = Journal(path)
    Bus(journal)
    assert journal.database.recovered == "empty"
    assert any(".bad-" in file.name for file in tmp_path.iterdir())
    journal.close()
