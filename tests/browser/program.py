"""A whole Atelier for browser tests and benchmarks: gate, API, page and queue in this process, the analytic family."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from modules.core.settings import Settings
from modules.families.analytic import write_checkpoint

QUICK, SLOW = "quick", "slow"  # names of checkpoints; the first by name is the program's own choice
SLOW_CALL_S = 0.12


@dataclass
class Program:
    """One that runs: its address and its rooms."""

    url: str
    studio: object
    data: Path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(data: Path, port: int = 0) -> Iterator[Program]:
    """Start Atelier on a data folder and stop it cleanly at the end."""
    from modules.httpapi.server import build_app
    from modules.httpapi.serving import Serving
    from modules.jobs.studio import Studio
    from modules.webui.pages import build_pages

    shelf = data / "models" / "Stable-diffusion"
    shelf.mkdir(parents=True, exist_ok=True)
    for name, delay in ((QUICK, 0.0), (SLOW, SLOW_CALL_S)):
        if not (shelf / f"{name}.safetensors").exists():
            write_checkpoint(shelf / f"{name}.safetensors", delay_s=delay)
    settings = Settings(
        port=port or free_port(), data_dir=str(data), engine="thread", browser=False, checkpoint=QUICK
    )  # fmt: skip
    serving = Serving(settings)
    serving.start()
    studio = Studio.open(settings)
    try:
        build_app(studio, build_pages(studio), serving.gate)
        _wait_drawn(serving.url)
        yield Program(serving.url, studio, data)
    finally:
        serving.stop()
        studio.close()


def _wait_drawn(url: str, within_s: float = 60.0) -> None:
    """Until the page itself is served and no longer the one that says "starting"."""
    end = time.monotonic() + within_s
    while "window.gradio_config" not in httpx.get(url + "/", timeout=within_s).text:
        if time.monotonic() > end:
            raise TimeoutError("the page was not drawn")
        time.sleep(0.1)
