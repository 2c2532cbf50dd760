"""What the API needs of the program, as a protocol: the studio of ``modules.jobs`` fits it, and so does a double."""

from collections.abc import Mapping
from typing import Any, Protocol

from modules.core.errors import ExtensionFailed
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.extend.loader import Registry
from modules.jobs.bus import Bus
from modules.jobs.queue import Queue
from modules.library.blobs import Blobs
from modules.library.canvases import Canvases
from modules.library.checkpoints import Catalogue
from modules.library.index import Gallery
from modules.planning.phrases import Phrases


class Studio(Protocol):
    """One running Atelier: settings, queue, bus, gallery, checkpoints, extensions, engine."""

    @property
    def settings(self) -> Settings: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def gallery(self) -> Gallery: ...
    @property
    def checkpoints(self) -> Catalogue: ...
    @property
    def extensions(self) -> Registry: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def canvases(self) -> Canvases: ...
    @property
    def phrases(self) -> Phrases: ...
    @property
    def engine(self) -> Any: ...

    def change_settings(self, changes: Mapping[str, Any], /) -> Settings: ...
    def extension_failed(self, failure: ExtensionFailed, /) -> None: ...
    def estimate(self, request: GenerationRequest, /) -> float | None: ...
