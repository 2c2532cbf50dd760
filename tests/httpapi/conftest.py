"""A studio for the API's tests: the real queue, bus and gallery over a temporary folder, and one checkpoint by name."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules.core import settings as core_settings
from modules.core.errors import ModelError
from modules.core.settings import Settings
from modules.extend.loader import Registry
from modules.httpapi.server import build_app
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from modules.jobs.queue import Queue
from modules.library.blobs import Blobs
from modules.library.canvases import Canvases
from modules.library.checkpoints import Checkpoint
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.library.vaes import Vaes
from modules.planning.phrases import Phrases
from tests.httpapi.asgi import ask, post
from tests.httpapi.dialect import call, client, program, studio

__all__ = ["call", "client", "program", "studio"]  # fixtures


class NoAdapters:
    """A library without LoRAs."""

    def find(self, kind, name):
        raise ModelError(f"There is no LoRA {name!r}.", code="unknown_adapter", field="prompt", name=name)

    def embeddings(self, family):
        return {}

    def list(self, kind):
        return []

    def refresh(self):
        pass


class Shelf:
    """A catalogue of one."""

    adapters = NoAdapters()
    vaes = Vaes(())

    def __init__(self):
        self.rows = [
            Checkpoint(
                name="starter", path=Path("/home/somebody/models/starter.safetensors"), size_bytes=1, mtime_ns=1,
                family="sd1", sha256="ab" * 32, title="Starter",
            )
        ]  # fmt: skip

    def list(self):
        return self.rows

    def find(self, name):
        for row in self.rows:
            if name in ("", row.name) or (len(name) >= 8 and row.sha256.startswith(name)):
                return row
        raise ModelError(
            f"There is no checkpoint named {name!r}.", "The nearest is 'starter'.", field="model.checkpoint"
        )

    def choose_prediction(self, name, prediction):
        chosen = replace(
            self.find(name), prediction=prediction or "eps", is_chosen=bool(prediction),
            reasons=(f"{prediction}, because you chose it",),
        )  # fmt: skip
        self.rows = [chosen if row.name == chosen.name else row for row in self.rows]
        return chosen

    def refresh(self):
        pass


@dataclass
class Desk:
    """The studio's names, without an engine: what is queued stays queued."""

    settings: Settings
    journal: Journal
    bus: Bus
    queue: Queue
    gallery: Gallery
    outputs: Outputs
    checkpoints: Shelf = field(default_factory=Shelf)
    extensions: Registry = field(default_factory=lambda: Registry([]))
    blobs: object = None
    canvases: object = None
    phrases: object = None
    engine: object = field(
        default_factory=lambda: SimpleNamespace(
            describe=lambda: {"state": "ready", "device": "cpu", "rss_bytes": 1, "told": {}}, free=lambda: None
        )
    )

    def estimate(self, request):
        return 12.5

    def change_settings(self, changes):
        self.settings = core_settings.save(self.settings, changes)
        return self.settings

    def close(self):
        self.canvases.close()
        self.gallery.close()
        self.journal.close()


@pytest.fixture
def desk(tmp_path):
    settings = Settings(data_dir=str(tmp_path))
    journal = Journal(tmp_path / "jobs.sqlite")
    bus = Bus(journal)
    gallery = Gallery(tmp_path, background=False)
    made = Desk(
        settings,
        journal,
        bus,
        Queue(journal, bus),
        gallery,
        Outputs(gallery, settings),
        phrases=Phrases(tmp_path),
        blobs=Blobs(tmp_path / "blobs"),
        canvases=Canvases(tmp_path / "canvases.sqlite"),
    )
    yield made
    made.close()


@pytest.fixture
def app(desk):
    return build_app(desk)


@pytest.fixture
def see(app):
    """GET (or another method without a body) and return the answer."""
    return lambda path, **more: asyncio.run(ask(app, path, **more))


@pytest.fixture
def tell(app):
    """POST JSON and return the answer."""
    return lambda path, data, **more: asyncio.run(ask(app, **post(path, data, **more)))
