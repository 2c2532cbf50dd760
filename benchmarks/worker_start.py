"""How long a worker takes until it is ready, against importing torch and diffusers alone.

    python benchmarks/worker_start.py [--rounds 3]

Both are fresh processes, in turn. Target: ready within 2 times of the imports. Ready means what the program says: the
engine told that it waits for jobs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[0] = str(CHECKOUT)

IMPORTS = "import torch, diffusers"


def imports_s() -> float:
    """Seconds of a process that only imports what the engine is made of."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, cwd=CHECKOUT)
    return time.perf_counter() - began


def worker_s(data: str) -> float:
    """Seconds from starting the engine's process to its word that it is ready."""
    from modules.core.settings import Settings
    from modules.jobs.local import LocalEngine

    began = time.perf_counter()
    engine = LocalEngine("modules.jobs.maker:open_maker", {"settings": asdict(Settings(data_dir=data))})
    try:
        while engine.describe()["state"] != "ready":
            engine.events(0.05)
        return time.perf_counter() - began
    finally:
        engine.close(10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        imports_s()  # the files are in the page cache from now on
        rows = [(imports_s(), worker_s(data)) for _ in range(given.rounds)]
    imported, ready = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"| torch and diffusers imported | {imported:.2f} s |")
    print(f"| worker ready | {ready:.2f} s |")
    print(f"| ratio | {ready / imported:.2f} (target: below 2) |")


if __name__ == "__main__":
    main()
