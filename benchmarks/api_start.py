"""How soon the gate answers: time to the first /healthz of a fresh process, beside a bare ``import gradio``.

    python benchmarks/api_start.py [rounds]

Prints the medians in seconds and their ratio, which must stay at or under 0.25.
"""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TARGET = 0.25
SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from modules.core.settings import Settings
from modules.httpapi.serving import Serving
serving = Serving(Settings(data_dir=sys.argv[2], port=int(sys.argv[3])))
serving.start()
import gradio
time.sleep(60)
"""


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_healthy(folder: str) -> float:
    """Seconds from starting Python to a 200 of /healthz, while the same process goes on to import gradio."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(CHECKOUT), folder, str(port)])
    try:
        while True:
            try:
                wire = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                wire.request("GET", "/healthz")
                if wire.getresponse().status == 200:
                    return time.perf_counter() - began
            except ConnectionError:
                time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


def import_gradio() -> float:
    """Seconds of ``python -c "import gradio"``."""
    began = time.perf_counter()
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    subprocess.run([sys.executable, "-c", "import gradio"], check=True, env=environment)
    return time.perf_counter() - began


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        import_gradio()  # fills the file cache for both
        pairs = [(until_healthy(folder), import_gradio()) for _ in range(rounds)]
    healthy, gradio = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"/healthz {healthy:.3f} s   import gradio {gradio:.3f} s   ratio {healthy / gradio:.3f} (target {TARGET})")
    return 0 if healthy / gradio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
