"""The gallery's figures: first screen, deep pages, search, saving, start and rebuilding, with many pictures.

.venv/bin/python benchmarks/gallery.py [rows, 10000 by default] [files, 2000 by default]
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.library.pictures import Entry

SCREEN = 60
PROMPTS = (
    "a red apple on a table, masterpiece",
    "two cats at night, oil painting",
    "桌上的红苹果",
    "a boat, soft light",
)


def main() -> None:
    rows, files = (int(text) for text in (*sys.argv[1:], "10000", "2000")[:2])
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'figure':<44}{'median':>12}{'p95':>12}  bound")
        of_rows(Path(folder) / "rows", rows)
        of_files(Path(folder) / "files", files)


def of_rows(data: Path, rows: int) -> None:
    """Figures that depend on the index alone."""
    gallery = Gallery(data, background=False)
    requests = [GenerationRequest(prompt=prompt, seed=1) for prompt in PROMPTS]
    with gallery._database.writing() as connection:
        for number in range(rows):
            Entry(
                path=f"2026/{number}.png", width=512, height=512, created_at=float(number), size_bytes=1, mtime_ns=1,
                seed=number, request=requests[number % len(requests)], infotext=f"Steps: 20, Seed: {number}",
            ).insert(connection, number + 1)  # fmt: skip
    gallery.close()
    opened: list[Gallery] = []

    def first_screen() -> None:
        opened.append(Gallery(data, background=False))
        opened[-1].page(SCREEN)
        opened[-1].count()

    show(f"first screen of {rows:,} rows, index opened", first_screen, "300 ms", repeat=1)
    gallery = opened[0]
    show("first screen again", lambda: gallery.page(SCREEN), "")
    show("page at the far end", lambda: gallery.page(SCREEN, before=str(SCREEN + 1)), "100 ms")
    for query in ("apple", "red apple", "nowhere to be found", "苹果", "红", str(rows // 2)):
        show(f"search {query!r}", lambda query=query: gallery.page(SCREEN, query=query), "")
    show("count of a common word", lambda: gallery.count("apple"), "")
    gallery.close()


def of_files(data: Path, files: int) -> None:
    """Figures that depend on files: one real picture of 512x512, copied."""
    gallery = Gallery(data, background=False)
    outputs = Outputs(gallery, Settings())
    pixels = os.urandom(512 * 512 * 3)
    request = GenerationRequest(prompt=PROMPTS[0], seed=1)

    def save() -> object:
        return outputs.save(
            pixels, request=request, facts={}, picture=0, seed=1, job="job", elapsed_s=0.0, width=512, height=512
        )

    show("save 512x512 of noise: PNG, thumbnail, row", save, "")
    show("page while 5 threads save", lambda: gallery.page(SCREEN), "100 ms", repeat=100, beside=[save] * 5)
    whole = gallery.path(gallery.page(1).items[0].id).read_bytes()
    for number in range(files):
        place = data / "outputs" / f"day {number // 1000}" / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(whole)
    for folder in (data / "outputs").rglob("*/"):
        os.utime(folder, (1e9, 1e9))
    os.utime(data / "outputs", (1e9, 1e9))
    show(f"index {files:,} files from nothing", gallery.reconcile, "", repeat=1)
    show(f"start with {files:,} unchanged files", gallery.reconcile, "1 s")
    fresh = [picture.id for picture in gallery.page(SCREEN).items]
    show(f"{SCREEN} thumbnails from files", lambda: [gallery.thumbnail(id) for id in fresh], "", repeat=1)
    show(f"{SCREEN} thumbnails that exist", lambda: [gallery.thumbnail(id) for id in fresh], "")
    gallery.close()


def show(
    figure: str, run: Callable[[], object], bound: str, repeat: int = 15, beside: Sequence[Callable[[], object]] = ()
) -> None:
    """Print the median and the 95th percentile of some runs, with other work going on in threads ``beside``."""
    done = threading.Event()

    def work(job: Callable[[], object]) -> None:
        while not done.is_set():
            job()

    threads = [threading.Thread(target=work, args=(job,)) for job in beside]
    for thread in threads:
        thread.start()
    times: list[float] = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    done.set()
    for thread in threads:
        thread.join()
    times.sort()
    p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
    print(f"{figure:<44}{statistics.median(times):>9.1f} ms{p95:>9.1f} ms  {bound}", flush=True)


if __name__ == "__main__":
    main()
