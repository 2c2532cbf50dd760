"""A small engine for tests: it says what the real one says, with pixels that follow from the seed alone."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from modules.core.errors import Cancelled, ExtensionFailed, ModelError
from modules.core.events import ImageMade, PhaseChanged, Preview, StepFinished, Warned
from modules.core.request import GenerationRequest
from modules.jobs.engine import Task
from modules.jobs.worker import WorkerJob

JPEG = b"\xff\xd8 a picture in the making \xff\xd9"


def pixels(seed: int, width: int, height: int) -> bytes:
    """Deterministic RGB bytes."""
    return hashlib.shake_256(f"{seed} {width} {height}".encode()).digest(width * height * 3)


class FakeMaker:
    """Understands words in the prompt: ``fail``, ``raise``, ``exit``, ``deaf`` (never asks whether to go on), ``hang``.

    ``die-at:<picture>`` kills the worker while it makes that picture; once only, if ``options["folder"]`` is given.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.step_s = float(options.get("step_s", 0.002))
        self.folder = Path(options["folder"]) if "folder" in options else None
        self.model = ""
        self.held = False
        self.trap = Path(options["trap"]) if "trap" in options else None
        self.warms_up = bool(options["warm_up"])
        if options.get("broken"):
            raise RuntimeError("it does not start")
        time.sleep(float(options.get("start_s", 0.0)))

    def describe(self) -> dict[str, Any]:
        held = [{"name": "fake", "numerics": "safe", "bytes": 1, "parts": []}] if self.held else []
        return {"model": self.model, "device": "cpu", "held": held}

    def free(self) -> None:
        self.held = False

    def warm_up(self) -> None:
        if self.trap is not None and self.warms_up:
            self.trap.touch()
            self.die("warm-up")

    def close(self) -> None:
        pass

    def make(self, task: Task, job: WorkerJob) -> None:
        request = GenerationRequest.from_data(task.request)
        words = dict(word.partition(":")[::2] for word in request.prompt.split())
        if "fail" in words:
            raise ModelError("The model is missing.", "Look again.", model="x.safetensors")
        if "raise" in words:
            raise ValueError("at /some/secret/path")
        if "exit" in words:
            raise SystemExit(3)
        job.emit(PhaseChanged(phase="loading", detail=request.model.checkpoint))
        self.model, self.held = request.model.checkpoint, True
        self.wait(job, words)
        for picture in task.pictures:
            try:
                self.one(request, picture, job, words)
            except Cancelled:
                if not job.is_skipped(picture):
                    raise

    def one(self, request: GenerationRequest, picture: int, job: WorkerJob, words: dict[str, str]) -> None:
        width, height, steps = request.size.width, request.size.height, request.sampling.steps
        seed = request.seeds()[picture]
        job.emit(PhaseChanged(phase="reading", picture=picture))
        self.wait(job, words)
        job.emit(PhaseChanged(phase="steps", picture=picture))
        for call in range(1, steps + 1):
            if words.get("die-at") == str(picture) and call == steps // 2 + 1:
                self.die(job.id)
            self.wait(job, words)
            job.emit(StepFinished(picture=picture, call=call, calls=steps, progress=call / steps))
            job.emit(Preview(picture=picture, width=8, height=8, jpeg=JPEG))
        job.emit(PhaseChanged(phase="decoding", picture=picture))
        self.wait(job, words)
        if "extension" in words:
            failed = ExtensionFailed(words["extension"], "edit_image", "boom")
            job.emit(Warned(code=failed.code, message=failed.message, facts=failed.facts))
        if "warn" in words:
            job.emit(Warned(code="vae_fp32", message="Decoded again in 32 bit.", picture=picture))
        job.emit(ImageMade(picture=picture, seed=seed, width=width, height=height, pixels=pixels(seed, width, height)))

    def wait(self, job: WorkerJob, words: dict[str, str]) -> None:
        if "hang" in words and hasattr(signal, "SIGSTOP"):
            os.kill(os.getpid(), signal.SIGSTOP)
        end = time.monotonic() + (60.0 if "deaf" in words else self.step_s)
        while True:
            if "deaf" not in words:
                job.check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.01))

    def die(self, job: str) -> None:
        if self.folder is not None:
            mark = self.folder / f"died-{job}"
            if mark.exists():
                return
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class FakeThreadMaker(FakeMaker):
    """The same inside a thread, where dying means leaving by an exception that nobody expects."""

    def die(self, job: str) -> None:
        if self.folder is not None:
            mark = self.folder / f"died-{job}"
            if mark.exists():
                return
            mark.touch()
        raise SystemExit(9)


def open_fake(options: dict[str, Any]) -> FakeMaker:
    return FakeMaker(options)


def open_fake_thread(options: dict[str, Any]) -> FakeThreadMaker:
    return FakeThreadMaker(options)


MAKERS = {"process": "tests.jobs.fakes:open_fake", "thread": "tests.jobs.fakes:open_fake_thread"}
