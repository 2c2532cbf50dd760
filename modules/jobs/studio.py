"""Studio: everything the page and the API work with, opened once per data folder."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from modules.core import settings as settings_file
from modules.core.errors import ExtensionFailed, WorkbenchError
from modules.core.events import GalleryChanged, Warned
from modules.core.merging import MergeRequest
from modules.core.settings import Settings
from modules.jobs.bus import Bus
from modules.jobs.collect import Collector
from modules.jobs.conductor import Conductor
from modules.jobs.estimates import Estimates
from modules.jobs.extensions import announce, extensions
from modules.jobs.job import Job, Wanted
from modules.jobs.journal import Journal
from modules.jobs.ledger import Ledger
from modules.jobs.local import BOUNDS, LocalEngine
from modules.jobs.lock import PLACE, FolderLock
from modules.jobs.queue import Queue
from modules.library import blobs, canvases
from modules.library.blobs import Blobs
from modules.library.canvases import Canvases
from modules.library.checkpoints import Catalogue
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.planning.phrases import Phrases

MAKER = "modules.jobs.maker:open_maker"
DATABASE = "jobs.sqlite"  # in the program's own folder


class Studio:
    """The queue, the events, the pictures and the engine of one data folder.

    Open it with ``Studio.open``; ``close`` stops the running job within 10 s, keeps its finished pictures, puts it back
    into the queue, and leaves the database clean. Raises AlreadyRunning where another program holds the folder.
    """

    def __init__(self, settings: Settings, maker: str, options: dict[str, Any]) -> None:
        self._settings = settings
        self._changing = threading.RLock()  # a change may show that an extension fails, which switches it off
        self._lock = FolderLock(settings.data, url(settings))
        self._journal = Journal(settings.data / PLACE / DATABASE)
        self.bus = Bus(self._journal)
        self.queue = Queue(self._journal, self.bus)
        self.gallery = Gallery(settings.data)
        self.outputs = Outputs(self.gallery, settings)
        self.blobs = Blobs(settings.data / blobs.FOLDER)
        self.canvases = Canvases(settings.data / canvases.FILE)
        self.checkpoints = Catalogue(settings, hashing=True)
        self.checkpoints.upscalers.refresh()  # the form is drawn with their names
        self.extensions = extensions(settings)
        self.phrases = Phrases(settings.data)
        self.engine = LocalEngine(
            maker, options, kind=settings.engine, bounds=BOUNDS, log=settings.data / "logs" / "engine.log"
        )
        ledger = Ledger(self._journal, self.queue)
        self._estimates = Estimates(self._journal)
        collector = Collector(self.outputs, self.gallery, ledger, self.bus.publish, self._complete, self._tell_saved)
        self._conductor = Conductor(
            self.queue, ledger, self.bus, self.engine, collector, self._estimates, self._preferences, self._judge
        )
        self.queue.estimate_by(self.estimate)
        self.gallery.on_change = self._gallery_changed
        self.extensions.on_change(lambda: announce(self.extensions, self.extension_failed))

    @classmethod
    def open(cls, settings: Settings, *, maker: str = MAKER, options: dict[str, Any] | None = None) -> "Studio":
        """Take the data folder, recover what an earlier run left, and start the engine.

        ``maker`` names what makes pictures (see LocalEngine); its ``options`` default to all settings.
        """
        studio = cls(settings, maker, {"settings": asdict(settings)} if options is None else options)
        studio._conductor.start()
        return studio

    def notices(self) -> list[WorkbenchError]:
        """What people should hear about the start: databases that were damaged and set aside."""
        found = (self.gallery.notice, self._journal.database.notice("queue"), self.canvases.notice)
        return [notice for notice in found if notice]

    @property
    def settings(self) -> Settings:
        """Every setting, as of now."""
        return self._settings

    def change_settings(self, changes: Mapping[str, Any]) -> Settings:
        """Save changed settings and use them; raises BadValue and then changes nothing."""
        with self._changing:
            self._settings = settings_file.save(self._settings, changes)
            self.outputs.settings = self._settings
            self.checkpoints.settings = self._settings
            self.extensions.set_off(self._settings.extensions_off)
        return self._settings

    def extension_failed(self, failure: ExtensionFailed) -> None:
        """Tell the page; one that fails several times in a row is switched off."""
        with suppress(WorkbenchError):
            self.bus.publish(Warned(code=failure.code, message=failure.message, hint=failure.hint, facts=failure.facts))
            self._count_failures({failure.name})

    def estimate(self, request: Wanted, pictures: int | None = None) -> float | None:
        """How many seconds this request may take once it runs; None until something like it was made here.

        Of a merge the size decides, which `estimate_merge` asks for.
        """
        if isinstance(request, MergeRequest):
            return None
        about = self.engine.describe()
        model = request.model.checkpoint or about["model"]
        count = request.count if pictures is None else pictures
        is_loaded = bool(about["model"]) and model == about["model"]
        return self._estimates.job(request, count, model, about["device"], is_loaded=is_loaded)

    def estimate_merge(self, size_bytes: int) -> float | None:
        """How many seconds a merge whose result has this size may take; None until one was made here."""
        return self._estimates.merge(size_bytes)

    def tell_url(self, url: str) -> None:
        """Note where the page really is, for whoever starts a second time."""
        self._lock.tell(url)

    def close(self) -> None:
        """Stop, keep everything, let the folder go; repeated, it does nothing."""
        self._conductor.close()
        self.checkpoints.close()
        self.gallery.close()
        self.canvases.close()
        self._journal.close()
        self._lock.release()

    def _tell_saved(self, job: Job, image: str) -> None:
        """A picture is in the gallery: its job's extensions may act on that, and cannot lose it."""
        if job.pictured.extensions:
            with suppress(WorkbenchError):  # switched off since the job was queued
                hooks = self.extensions.hooks_for(job.pictured.extensions, self.extension_failed)
                hooks.image_saved(self.gallery.get(image))

    def _judge(self, job: Job, failed: set[str]) -> None:
        """After a job: which of its extensions did well, and which failed again."""
        asked = set[str]() if isinstance(job.request, MergeRequest) else set(job.request.extensions)
        self.extensions.count_success(asked - failed)
        with suppress(WorkbenchError):
            self._count_failures(failed)

    def _count_failures(self, failed: set[str]) -> None:
        if any([self.extensions.count_failure(name) for name in sorted(failed)]):
            self.change_settings({"extensions_off": self.extensions.names_off()})

    def _preferences(self) -> dict[str, Any]:
        """The settings that the engine minds, as of now."""
        now = self._settings
        return {"previews": now.previews, "checkpoint": now.checkpoint, "extensions_off": now.extensions_off}

    def _complete(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The model's hash, when it was not known yet where the picture was made."""
        if facts.get("model") and not facts.get("sha256") and not facts.get("model_changed"):
            with suppress(WorkbenchError):
                facts["sha256"] = self.checkpoints.find(str(facts["model"])).sha256
        return facts

    def _gallery_changed(self, change: Any, images: tuple[str, ...]) -> None:
        self.bus.publish(GalleryChanged(change=change, images=images))


def url(settings: Settings) -> str:
    """Where the page is, as people type it."""
    host = settings.host if settings.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
