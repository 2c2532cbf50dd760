"""What a merge costs at Stable Diffusion 1.5's size: time beside copying as many bytes, memory beside one tensor.

    python -m benchmarks.merge [--turns 3]

Three checkpoints (fp16) are made from a seed in a temporary folder. Both are measured in turns in one run, files in the
page cache, each ended by a sync. "memory" is how far RssAnon rose above what it was before, sampled every 10 ms.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

from modules.core.events import AnyEvent
from modules.core.merging import MergeRequest
from modules.core.settings import Settings
from modules.engine.merge import merge
from modules.library.checkpoints import Catalogue
from modules.planning.merging import plan
from modules.training.tinies import FULL_SD1, write_full

MIB = 1024 * 1024
EVERY_S = 0.01


class Silent:
    """A job that nobody watches."""

    def emit(self, event: AnyEvent) -> None: ...

    def check(self) -> None: ...

    def is_skipped(self, picture: int) -> bool:
        return False


def anonymous_bytes() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return int(found[1]) * 1024 if found else 0


class Peak:
    """The highest RssAnon while it is open, above that at its start."""

    def __enter__(self) -> Peak:
        self.start = self.most = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.most = max(self.most, anonymous_bytes())


def copied(source: Path, target: Path) -> float:
    """Seconds for a copy that is on the disk; by reads and writes, since a file system may only link."""
    began = time.perf_counter()
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while content := reader.read(8 * MIB):
            writer.write(content)
        os.fsync(writer.fileno())
    taken = time.perf_counter() - began
    target.unlink()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        models.mkdir()
        for seed, letter in enumerate("abc"):
            write_full(models / f"{letter}.safetensors", FULL_SD1, seed)
        catalogue = Catalogue(Settings(data_dir=name), [models])
        size = (models / "a.safetensors").stat().st_size
        print(f"checkpoint {size / 1e9:.2f} GB, free {shutil.disk_usage(name).free / 1e9:.0f} GB")
        for method in ("weighted", "difference"):
            request = MergeRequest(name="made", a="a", b="b", c="c", method=method)
            made = plan(request, catalogue)
            largest = max(one.size_bytes for one in made.tensors) * 2  # as it is computed, in 32 bit
            for one in made.checkpoints:  # hashed once, in the background, whoever merges
                catalogue._learn_hash(one, "0" * 64)  # pyright: ignore[reportPrivateUsage]
            ratios, peaks = [], []
            for _ in range(turns):
                plain = copied(models / "a.safetensors", models / "copy.bin")
                with Peak() as peak:
                    began = time.perf_counter()
                    merge(request, catalogue, Silent())
                    taken = time.perf_counter() - began
                made.target.unlink()
                catalogue.refresh()
                ratios.append(taken / plain)
                peaks.append(peak.most - peak.start)
            print(
                f"{method}: {statistics.median(ratios):.1f} copies; memory {max(peaks) / MIB:.0f} MiB,"
                f" {max(peaks) / largest:.1f} of the largest tensor in 32 bit"
            )
        catalogue.close()


if __name__ == "__main__":
    main()
