"""The event stream under load: how late events arrive at many clients, and how soon a client that comes back is live.

    python benchmarks/api_events.py [clients] [seconds]

A server process says 20 steps and 5 previews of 30 KB a second; the clients read them here. Prints latencies in
milliseconds (from saying to reading), events missing or twice, and the time from a new connection that replays 10 s of
events to its first live one.
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
from itertools import pairwise
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SERVER = """
import sys, time
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from modules.core.events import Preview, StepFinished
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
settings = Settings(data_dir=sys.argv[2], port=int(sys.argv[3]))
journal = Journal(settings.data / "jobs.sqlite")
bus = Bus(journal)
studio = SimpleNamespace(settings=settings, bus=bus, queue=Queue(journal, bus), gallery=None, checkpoints=None,
                         blobs=Blobs(settings.data / "blobs"), canvases=Canvases(settings.data / "canvas.sqlite"),
                         phrases=Phrases(settings.data), extensions=Registry([]))
serving = Serving(settings)
build_app(studio, gate=serving.gate)
serving.start()
jpeg, call = bytes(30_000), 0
while True:
    call += 1
    bus.publish(StepFinished(job="j", picture=0, call=call))
    if call % 4 == 0:
        bus.publish(Preview(job="j", picture=0, width=512, height=512, jpeg=jpeg))
    time.sleep(0.05)
"""


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listen(port: int, seconds: float, after: int | None = None) -> list[tuple[int, float, float]]:
    """(number, latency in s, seconds since connecting) of every event heard in so many seconds."""
    heard: list[tuple[int, float, float]] = []
    began = time.perf_counter()
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    wire.request("GET", "/api/v1/events" + (f"?after={after}" if after is not None else ""))
    stream = wire.getresponse()
    while time.perf_counter() - began < seconds:
        line = stream.readline()
        if line.startswith(b"data: ") and b'"at"' in line:
            told = json.loads(line[6:])
            heard.append((told["seq"], time.time() - told["at"], time.perf_counter() - began))
    wire.close()
    return heard


def wait_for(port: int) -> None:
    """Until the server answers."""
    while True:
        try:
            wire = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            wire.request("GET", "/healthz")
            wire.getresponse().read()
            return
        except ConnectionError:
            time.sleep(0.05)


def main() -> int:
    clients, seconds = (int(word) for word in (sys.argv[1:] + ["20", "10"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(CHECKOUT), folder, str(port)])
        try:
            wait_for(port)
            heard: list[list[tuple[int, float, float]]] = [[] for _ in range(clients)]

            def one(index: int) -> None:
                heard[index] = listen(port, seconds)

            threads = [threading.Thread(target=one, args=(index,)) for index in range(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            back = listen(port, 2.0, heard[0][0][0])
        finally:
            server.kill()
            server.wait()
    late = sorted(latency for one in heard for _, latency, _ in one)
    gaps = sum(second - first != 1 for one in heard for (first, *_), (second, *_) in pairwise(one))
    live = next(since for _, latency, since in back if latency < 0.2)
    print(
        f"{clients} clients, {len(late)} events heard: latency p50 {statistics.median(late) * 1e3:.1f}  "
        f"p99 {late[int(len(late) * 0.99) - 1] * 1e3:.1f} ms; missing or twice {gaps}; "
        f"back with {len(back)} events, live after {live * 1e3:.0f} ms"
    )
    return 0 if gaps == 0 and live < 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
