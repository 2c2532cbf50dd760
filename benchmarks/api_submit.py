"""Submitting over HTTP: 1,000 jobs at 200 a second from several clients, none lost, and how long each waits.

    python benchmarks/api_submit.py [jobs] [per second] [clients]

The server is a process of its own (gate, API, durable queue; no engine, so that nothing else competes); each client
keeps one connection. Prints the acknowledgement times in milliseconds, the rate, what was lost, and the answer times of
/healthz meanwhile; the same again without pacing.
"""

import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SERVER = """
import sys, time
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from modules.core.settings import Settings
from modules.extend.loader import Registry
from modules.httpapi.server import build_app
from modules.httpapi.serving import Serving
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from modules.jobs.queue import Queue
from modules.library.blobs import Blobs
from modules.library.canvases import Canvases
from modules.planning.phrases import Phrases
from modules.families.analytic import write_checkpoint
from modules.library.checkpoints import Catalogue
settings = Settings(data_dir=sys.argv[2], port=int(sys.argv[3]))
journal = Journal(settings.data / "jobs.sqlite")
bus = Bus(journal)
shelf = settings.data / "models" / "Stable-diffusion"
shelf.mkdir(parents=True)
write_checkpoint(shelf / "m.safetensors")
studio = SimpleNamespace(settings=settings, bus=bus, queue=Queue(journal, bus), gallery=None,
                         checkpoints=Catalogue(settings), blobs=Blobs(settings.data / "blobs"),
                         canvases=Canvases(settings.data / "canvas.sqlite"), phrases=Phrases(settings.data),
                         extensions=Registry([]))
serving = Serving(settings)
build_app(studio, gate=serving.gate)
serving.start()
time.sleep(600)
"""
BODY = json.dumps({"request": {"prompt": "a red fox in the snow", "seed": 7}, "workspace": "bench"})
JSON = {"content-type": "application/json"}


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port: int) -> http.client.HTTPConnection:
    """A connection to a server that answers, waiting for it at first."""
    end = time.monotonic() + 60
    while True:
        wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            wire.request("GET", "/healthz")
            wire.getresponse().read()
            return wire
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def submit(port: int, jobs: int, per_s: float, clients: int) -> tuple[list[float], list[str], float]:
    """(seconds to each acknowledgement, acknowledged ids, seconds in all); ``per_s`` 0 is as fast as it goes."""
    waits: list[float] = []
    ids: list[str] = []

    def one(first: int) -> None:
        wire = connect(port)
        for number in range(first, jobs, clients):
            if per_s:
                time.sleep(max(0.0, began + number / per_s - time.perf_counter()))
            start = time.perf_counter()
            wire.request("POST", "/api/v1/jobs", BODY, {**JSON, "atelier-client": f"client {first}"})
            answer = wire.getresponse()
            told = json.loads(answer.read())
            waits.append(time.perf_counter() - start)
            if answer.status == 201:
                ids.append(told["id"])

    threads = [threading.Thread(target=one, args=(first,)) for first in range(clients)]
    began = time.perf_counter() + 0.1
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits, ids, time.perf_counter() - began


def pulse(port: int, stop: threading.Event, into: list[float]) -> None:
    """Ask /healthz ten times a second."""
    wire = connect(port)
    while not stop.wait(0.1):
        start = time.perf_counter()
        wire.request("GET", "/healthz")
        wire.getresponse().read()
        into.append(time.perf_counter() - start)


def measure(jobs: int, per_s: float, clients: int) -> bool:
    """One run against a fresh server; prints its line, returns whether nothing was lost."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(CHECKOUT), folder, str(port)])
        try:
            connect(port)
            stop, health = threading.Event(), list[float]()
            heart = threading.Thread(target=pulse, args=(port, stop, health))
            heart.start()
            waits, ids, seconds = submit(port, jobs, per_s, clients)
            stop.set()
            heart.join()
            wire = connect(port)
            wire.request("GET", "/api/v1/jobs?limit=1")
            stored = json.loads(wire.getresponse().read())["counts"]["queued"]
        finally:
            server.kill()
            server.wait()
    ordered = sorted(waits)
    lost = len(ids) - stored
    print(
        f"{jobs} jobs, {clients} clients, "
        f"{f'{per_s:g}/s asked' if per_s else 'unpaced'}: {len(ids) / seconds:6.0f}/s   "
        f"ack p50 {statistics.median(ordered) * 1e3:5.1f}  p99 {ordered[int(len(ordered) * 0.99) - 1] * 1e3:6.1f} ms   "
        f"healthz max {max(health, default=0) * 1e3:5.1f} ms   acknowledged {len(ids)}, lost {lost}, "
        f"twice {len(ids) - len(set(ids))}"
    )
    return lost == 0 and len(set(ids)) == jobs


def main() -> int:
    jobs, per_s, clients = (int(word) for word in (sys.argv[1:] + ["1000", "200", "4"][len(sys.argv) - 1 :]))
    return 0 if all([measure(jobs, per_s, clients), measure(jobs, 0, clients)]) else 1


if __name__ == "__main__":
    sys.exit(main())
