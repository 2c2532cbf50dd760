"""Fresh pictures without end: processes that paint scenes and phrase captions into memory shared with the training.

No torch here, so that a painter starts at once. A slot is written by one painter alone, marked as ready when whole and
free again when the training has taken it; lessons for the text encoder are written once.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modules.training.questions import POSITIONS, QUESTIONS, answers, lesson, long_ids, short_ids
from modules.training.scenes import Painted, paint, sample_scene
from modules.training.world import THINGS, Scene

SHAPES: tuple[tuple[int, int], ...] = ((4, 4), (5, 4), (4, 5), (5, 3), (3, 5))  # widths and heights in quarters
SQUARE = 0
SHAPE_SHARES = (0.76, 0.06, 0.06, 0.06, 0.06)
CAPTIONS = 8
FREE, READY = 0, 1
COVERED = 128  # this bit of a mark: some thing covers the pixel; the others: 1 + the thing whose main part it is
LESSONS_AT_ONCE = 250
SPARE_BYTES = 1 << 30
MOST_SHOWN = 3
THING_NUMBERS = {thing.name: number for number, thing in enumerate(THINGS, 1)}


def sides(size: int, shape: int) -> tuple[int, int]:
    """Width and height in pixels of one of `SHAPES` for squares of `size` pixels."""
    width, height = SHAPES[shape]
    return size * width // 4, size * height // 4


@dataclass(frozen=True)
class Layout:
    """How much the pool holds: pictures whose squares have `size` pixels a side, and lessons; and who fills it."""

    folder: Path
    size: int
    slots: int
    lessons: int
    workers: int
    first_seed: int

    def fields(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """The arrays of the pool: shape and type by name."""
        pixels = max(width * height for width, height in (sides(self.size, k) for k in range(len(SHAPES))))
        n, lessons = self.slots, self.lessons
        return {
            "pixels": ((n, 3 * pixels), np.uint8),
            "marks": ((n, pixels // 4), np.uint8),
            "shape": ((n,), np.uint8),
            "seed": ((n,), np.int64),
            "facts": ((n, len(QUESTIONS)), np.uint8),
            "captions": ((n, CAPTIONS, POSITIONS), np.uint16),
            "longs": ((n, 2 * POSITIONS), np.uint16),
            "ready": ((n,), np.uint8),
            "lesson_ids": ((lessons, POSITIONS), np.uint16),
            "lesson_ends": ((lessons,), np.uint8),
            "lesson_facts": ((lessons, len(QUESTIONS)), np.uint8),
            "lesson_count": ((self.workers,), np.int64),
            "stop": ((1,), np.uint8),
        }


def shared_folder(layout_bytes: int) -> Path:
    """A new folder in memory where there is room, else on disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > layout_bytes + SPARE_BYTES
    return Path(tempfile.mkdtemp(prefix="starter-pool-", dir=memory if roomy else None))


class Pool:
    """The shared arrays, by name; every process opens its own view of the same files."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.arrays: dict[str, NDArray[np.generic]] = {}
        for name, (shape, dtype) in layout.fields().items():
            path = layout.folder / name
            self.arrays[name] = np.memmap(path, dtype, "r+" if path.exists() else "w+", shape=shape)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return self.arrays[name]

    def ready(self, shape: int | None = None) -> NDArray[np.intp]:
        """The slots that hold a whole picture (of one shape)."""
        is_ready = self["ready"] == READY
        return np.flatnonzero(is_ready if shape is None else is_ready & (self["shape"] == shape))

    def pictures(self, slots: NDArray[np.intp], shape: int) -> NDArray[np.uint8]:
        """Pixels of slots of one shape: [n h w 3]."""
        width, height = sides(self.layout.size, shape)
        return np.asarray(self["pixels"][slots, : 3 * width * height]).reshape(-1, height, width, 3)  # type: ignore[return-value]

    def marks(self, slots: NDArray[np.intp], shape: int) -> NDArray[np.uint8]:
        """Marks of slots of one shape, at half the side: [n h/2 w/2]."""
        width, height = sides(self.layout.size, shape)
        return np.asarray(self["marks"][slots, : width * height // 4]).reshape(-1, height // 2, width // 2)  # type: ignore[return-value]

    def lessons(self) -> int:
        """How many lessons are written, whole rounds of all painters: rows 0 to this are whole."""
        return int(self["lesson_count"].min()) * self.layout.workers  # type: ignore[arg-type]


def half(mask: NDArray[np.floating]) -> NDArray[np.floating]:
    """Means of 2x2 pixels."""
    height, width = mask.shape
    return mask.reshape(height // 2, 2, width // 2, 2).mean((1, 3))


def marks_of(painted: Painted, scene: Scene) -> NDArray[np.uint8]:
    """At half the side: for each pixel 1 + the thing whose main part it is, or 0; `COVERED` where any thing is."""
    marks = np.zeros(half(painted.main[0]).shape, np.uint8)
    for main, covered, placed in zip(painted.main, painted.covered, scene.things, strict=True):
        marks[half(main) > 0.5] = THING_NUMBERS[placed.thing]
        marks[half(covered) > 0.5] |= COVERED
    return marks


def scene_of(seed: int) -> tuple[Scene, int]:
    """The scene of one seed, and which of `SHAPES` it has."""
    shape = int(np.random.default_rng((seed, 5)).choice(len(SHAPES), p=SHAPE_SHARES))
    width, height = SHAPES[shape]
    return sample_scene(seed, ratio=width / height), shape


def fill(pool: Pool, slot: int, seed: int, rng: np.random.Generator) -> None:
    """Paint one scene into a slot, with its captions, and mark it as ready."""
    scene, shape = scene_of(seed)
    width, height = sides(pool.layout.size, shape)
    painted = paint(scene, (width, height))
    pool["pixels"][slot, : 3 * width * height] = painted.pixels.reshape(-1)
    pool["marks"][slot, : width * height // 4] = marks_of(painted, scene).reshape(-1)
    pool["shape"][slot], pool["seed"][slot] = shape, seed
    pool["facts"][slot] = answers(scene)
    pool["captions"][slot] = [short_ids(scene, rng) for _ in range(CAPTIONS)]
    pool["longs"][slot] = long_ids(scene, rng)
    pool["ready"][slot] = READY


def write_lessons(pool: Pool, rank: int, count: int, rng: np.random.Generator) -> None:
    """Write this painter's next `count` lessons, as far as there is room: painter r has rows r, r + workers, ..."""
    layout, done = pool.layout, pool["lesson_count"]
    for k in range(int(done[rank]), min(int(done[rank]) + count, layout.lessons // layout.workers)):
        row = rank + k * layout.workers
        written = lesson(rng)
        pool["lesson_ids"][row] = written.ids
        pool["lesson_ends"][row] = written.end
        pool["lesson_facts"][row] = written.known
        done[rank] = k + 1


def work(layout: Layout, rank: int) -> None:
    """What a painter does until the pool is stopped or the training is gone."""
    os.nice(10)
    parent, pool = os.getppid(), Pool(layout)
    rng, seed, failed = np.random.default_rng((layout.first_seed, rank)), layout.first_seed + rank, 0
    while not pool["stop"][0] and os.getppid() == parent:
        try:
            if rank % 2 == 0 or pool.ready().size > layout.slots // 50:  # every second painter paints at once
                write_lessons(pool, rank, LESSONS_AT_ONCE, rng)
            free = np.flatnonzero(pool["ready"][rank :: layout.workers] == FREE)
            if len(free):
                fill(pool, rank + int(free[0]) * layout.workers, seed, rng)
            else:
                time.sleep(0.02)
                continue
        except Exception:  # one scene that cannot be painted must not end hours of work
            failed += 1
            if failed <= MOST_SHOWN:
                print(f"scene {seed} was left out:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        seed += layout.workers


class Painters:
    """The processes that fill a pool, for as long as the `with` block lasts."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.pool = Pool(layout)
        self.processes: list[BaseProcess] = []

    def __enter__(self) -> Pool:
        context = multiprocessing.get_context("spawn")
        for rank in range(self.layout.workers):
            process = context.Process(target=work, args=(self.layout, rank), daemon=True)
            process.start()
            self.processes.append(process)
        return self.pool

    def __exit__(self, *_: object) -> None:
        self.pool["stop"][0] = 1
        for process in self.processes:
            process.join(20)
            if process.is_alive():
                process.kill()
        shutil.rmtree(self.layout.folder, ignore_errors=True)
