"""The durable queue: 1,000 jobs at 200 a second from ten clients, none lost; then kill -9 while submitting.

    python benchmarks/durable_queue.py [jobs] [per second] [kills]

Prints acknowledgement times in milliseconds (each is a commit with synchronous=FULL), the rate without pacing, how
long taking and ending a job costs, how fairly ten clients wait, and what was lost in programs that were killed.
"""

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path = [str(CHECKOUT), *[entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT / "benchmarks"]]

from modules.core.request import GenerationRequest
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from modules.jobs.ledger import Ledger
from modules.jobs.queue import Queue

CLIENTS = 10
SUBMITTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from modules.core.request import GenerationRequest
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from modules.jobs.queue import Queue
journal = Journal(Path(sys.argv[2]))
queue = Queue(journal, Bus(journal))
while True:
    print(queue.submit(GenerationRequest(seed=1), client="me", workspace="w").id, flush=True)
"""


def submit(queue: Queue, jobs: int, per_second: float) -> tuple[list[str], list[float], float]:
    """Ids, acknowledgement times in ms, and the seconds it took in all."""
    ids: list[str] = []
    times: list[float] = []
    began = time.monotonic()

    def client(number: int) -> None:
        for turn in range(number, jobs, CLIENTS):
            due = began + turn / per_second if per_second else 0.0
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            job = queue.submit(GenerationRequest(seed=turn, prompt="a red fox"), client=f"c{number}", workspace="w")
            times.append(1000 * (time.monotonic() - started))
            ids.append(job.id)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ids, times, time.monotonic() - began


def row(name: str, *cells: object) -> None:
    """One line of the table."""
    print(f"{name:<44}", *(f"{cell:>10.2f}" if isinstance(cell, float) else f"{cell:>10}" for cell in cells))


def paced(folder: Path, jobs: int, per_second: float) -> None:
    """Submit, restart, take everything."""
    path = folder / f"{per_second}.sqlite"
    journal = Journal(path)
    ids, times, seconds = submit(Queue(journal, Bus(journal)), jobs, per_second)
    journal.close()
    times.sort()
    name = f"{per_second:.0f} a second" if per_second else "as fast as it goes"
    row(f"submit, {name}: jobs/s | p50 | p95 | p99 ms", len(ids) / seconds, statistics.median(times),
        times[int(0.95 * len(times))], times[int(0.99 * len(times))])  # fmt: skip

    journal = Journal(path)
    bus = Bus(journal)
    queue = Queue(journal, bus)
    ledger = Ledger(journal, queue)
    row("  lost after a restart", len(set(ids) - {job.id for job in queue.jobs(limit=jobs)}))
    waits: dict[str, list[int]] = {}
    began = time.monotonic()
    taken = 0
    while job := ledger.take():
        waits.setdefault(job.client, []).append(taken)
        ledger.finish(job.id, 0.0)
        taken += 1
    seconds = time.monotonic() - began
    means = [statistics.mean(places) for places in waits.values()]
    row(
        "  take and end a job: ms each | max/mean wait",
        1000 * seconds / max(taken, 1),
        max(means) / statistics.mean(means),
    )
    journal.close()


def kills(folder: Path, rounds: int) -> None:
    """Kill a submitting program again and again on one database; count acknowledged jobs that are gone."""
    path = folder / "killed.sqlite"
    chance, acknowledged = random.Random(1), set[str]()
    for _ in range(rounds):
        program = subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(CHECKOUT), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout
        acknowledged.add(program.stdout.readline().strip())
        time.sleep(chance.uniform(0.0, 0.1))
        program.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in program.stdout if len(line) == 17}
        program.wait()
        # The queue is bounded: what was checked makes room for the next round.
        journal = Journal(path)
        Bus(journal)
        found = {found["id"] for found in journal.read("SELECT id FROM jobs")}
        sound = journal.read("PRAGMA integrity_check")[0][0]
        if acknowledged - found or sound != "ok":
            row("  LOST", len(acknowledged - found), sound)
        journal.write(lambda transaction: transaction.execute("UPDATE jobs SET state = 'cancelled'").rowcount)
        journal.close()
    row("kill -9 while submitting: kills | acked | lost", rounds, len(acknowledged), len(acknowledged - found))


def main(jobs: int = 1_000, per_second: int = 200, rounds: int = 15) -> None:
    """Everything, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as name:
        paced(Path(name), jobs, float(per_second))
        paced(Path(name), jobs, 0.0)
        kills(Path(name), rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
