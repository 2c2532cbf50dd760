"""What lies on each workspace's canvas, in a small SQLite file of its own: a closed tab or a crash loses no stroke."""

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from modules.core import strictjson
from modules.core.canvas import Document
from modules.core.errors import WorkbenchError
from modules.core.request import validated
from modules.library.database import Database

FILE = Path(".atelier", "canvases.sqlite")  # in the data folder


class Kept(NamedTuple):
    """A canvas and how often it was saved: whoever saves it again says which one they saw."""

    revision: int
    document: Document


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE canvas (workspace TEXT PRIMARY KEY, revision INTEGER NOT NULL, stored TEXT NOT NULL,"
        " changed_at REAL NOT NULL) STRICT"
    )


class Canvases:
    """Canvases by workspace; the oldest beyond 200 are forgotten."""

    KEEP = 200
    _APPLICATION = 0x41744376

    def __init__(self, path: Path) -> None:
        self._database = Database(path, (_create,), self._APPLICATION)
        self.notice = self._database.notice("canvas")

    def load(self, workspace: str) -> Kept:
        """The workspace's canvas; an empty one of revision 0 where nothing was ever put on it."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT revision, stored FROM canvas WHERE workspace = ?", (workspace,)
            ).fetchone()  # fmt: skip
        if row is None:
            return Kept(0, Document())
        return Kept(row["revision"], validated(Document, strictjson.loads(row["stored"])))

    def save(self, workspace: str, revision: int, document: Document) -> int:
        """Keep the canvas that came of ``revision``; returns its own revision.

        Raises WorkbenchError "canvas_changed" where another tab saved it meanwhile: nothing of that is overwritten.
        """
        text = strictjson.dumps(document.model_dump(mode="json"))
        with self._database.writing() as connection:
            row = connection.execute("SELECT revision FROM canvas WHERE workspace = ?", (workspace,)).fetchone()
            if (row["revision"] if row else 0) != revision:
                raise WorkbenchError(
                    "This canvas was changed in another tab.", "Look at it again, and go on from there.",
                    code="canvas_changed", status=409,
                )  # fmt: skip
            connection.execute(
                "INSERT INTO canvas VALUES (?, ?, ?, ?) ON CONFLICT (workspace) DO UPDATE SET"
                " revision = excluded.revision, stored = excluded.stored, changed_at = excluded.changed_at",
                (workspace, revision + 1, text, time.time()),
            )
            connection.execute(
                "DELETE FROM canvas WHERE workspace NOT IN"
                " (SELECT workspace FROM canvas ORDER BY changed_at DESC LIMIT ?)",
                (self.KEEP,),
            )
        return revision + 1

    def close(self) -> None:
        self._database.close()
