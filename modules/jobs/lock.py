"""One program per data folder: a lock that the system frees when its owner dies, and a note of where it runs."""

import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from modules.core.errors import WorkbenchError
from modules.library import atomic

PLACE = ".atelier"


class AlreadyRunning(WorkbenchError):
    """Another Atelier works on this data folder; ``facts`` has its url and pid."""

    code = "already_running"
    status = 409


class FolderLock:
    """Held while the program runs. Raises AlreadyRunning at once where another one holds it."""

    def __init__(self, folder: Path, url: str) -> None:
        place = folder / PLACE
        place.mkdir(parents=True, exist_ok=True)
        self._note = place / "running.json"
        self._lock = FileLock(place / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise self._refusal() from None
        self.tell(url)

    def tell(self, url: str) -> None:
        """Note where the page is, for whoever starts a second time."""
        atomic.write(self._note, json.dumps({"pid": os.getpid(), "url": url}).encode(), durable=False)

    def release(self) -> None:
        """Let the next one start."""
        self._note.unlink(missing_ok=True)
        self._lock.release()

    def _refusal(self) -> AlreadyRunning:
        try:
            note = json.loads(self._note.read_text("utf-8"))
            url, pid = str(note["url"]), int(note["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            url, pid = "an address it has not told yet", 0
        return AlreadyRunning(
            f"Atelier already runs on this data folder: {url} (process {pid}).",
            "Open that, or use --data-dir.",
            url=url,
            pid=pid,
        )
