"""A picture as the gallery knows it: the row, its page, its edges, and the tables that hold them."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from modules.core.errors import BadValue
from modules.core.request import GenerationRequest
from modules.library.search import words_of

State = Literal["ok", "missing", "damaged"]
APPLICATION = 0x4174656C  # "Atel", in the header of our databases

_TABLES = """
CREATE TABLE pictures (
  seq INTEGER PRIMARY KEY,            -- order of arrival: clocks may jump, this does not
  id TEXT NOT NULL UNIQUE,
  path TEXT NOT NULL UNIQUE,          -- relative to outputs/, with slashes; also while the file is in the trash
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  seed INTEGER,
  created_at REAL NOT NULL,           -- seconds since 1970, for display
  prompt TEXT NOT NULL,
  request TEXT,                       -- the request's JSON; NULL for pictures made elsewhere
  infotext TEXT NOT NULL,
  facts TEXT NOT NULL,                -- JSON: model, hash, time, and what happened while it was made
  job TEXT,
  picture INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ok', 'missing', 'damaged')),
  new INTEGER NOT NULL,
  trashed_at REAL
) STRICT;
CREATE INDEX pictures_live ON pictures (seq) WHERE trashed_at IS NULL;
CREATE INDEX pictures_trashed ON pictures (seq) WHERE trashed_at IS NOT NULL;
CREATE INDEX pictures_job ON pictures (job) WHERE job IS NOT NULL;
CREATE TABLE words (seq INTEGER PRIMARY KEY REFERENCES pictures (seq) ON DELETE CASCADE, words TEXT NOT NULL) STRICT;
CREATE VIRTUAL TABLE search USING fts5 (words, content='words', content_rowid='seq', tokenize='trigram');
CREATE TRIGGER words_added AFTER INSERT ON words BEGIN
  INSERT INTO search (rowid, words) VALUES (new.seq, new.words);
END;
CREATE TRIGGER words_gone AFTER DELETE ON words BEGIN
  INSERT INTO search (search, rowid, words) VALUES ('delete', old.seq, old.words);
END;
CREATE TRIGGER words_changed AFTER UPDATE ON words BEGIN
  INSERT INTO search (search, rowid, words) VALUES ('delete', old.seq, old.words);
  INSERT INTO search (rowid, words) VALUES (new.seq, new.words);
END;
CREATE TABLE edges (
  parent TEXT NOT NULL,               -- a picture's id, or the sha256 of an input picture
  child TEXT NOT NULL,
  role TEXT NOT NULL,
  PRIMARY KEY (child, parent, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_parent ON edges (parent);
CREATE TABLE folders (path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL) STRICT;
"""


def _first_version(connection: sqlite3.Connection) -> None:
    statement = ""
    for line in _TABLES.splitlines():  # executescript would commit in between
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


MIGRATIONS = (_first_version,)


def identify(path: str) -> str:
    """The id of the picture at this path below outputs/: 16 hex digits.

    It follows from the path alone, so that a gallery rebuilt from the files gives every picture its old id.
    """
    return hashlib.blake2b(path.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Entry:
    """Everything that is written about one picture; ``path`` is relative to outputs/, with slashes."""

    path: str
    width: int
    height: int
    created_at: float
    size_bytes: int
    mtime_ns: int
    seed: int | None = None
    request: GenerationRequest | None = None
    infotext: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    job: str | None = None
    picture: int = 0
    state: State = "ok"
    new: bool = False
    parents: tuple[tuple[str, str], ...] = ()  # (id or sha256, role)

    @property
    def id(self) -> str:
        return identify(self.path)

    def prompt(self) -> str:
        """The prompt; of a picture made elsewhere the first line of its infotext."""
        return self.request.prompt if self.request else self.infotext.partition("\n")[0]

    def insert(self, connection: sqlite3.Connection, seq: int, trashed_at: float | None = None) -> None:
        """Write the row with its words and edges; a row of the same picture keeps its place and is overwritten."""
        connection.execute(
            """INSERT INTO pictures (seq, id, path, width, height, seed, created_at, prompt, request, infotext, facts,
                                     job, picture, size_bytes, mtime_ns, state, new, trashed_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT (id) DO UPDATE SET width = excluded.width, height = excluded.height, seed = excluded.seed,
                 created_at = excluded.created_at, prompt = excluded.prompt, request = excluded.request,
                 infotext = excluded.infotext, facts = excluded.facts, job = excluded.job, picture = excluded.picture,
                 size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, state = excluded.state,
                 new = excluded.new""",
            (
                seq, self.id, self.path, self.width, self.height, self.seed, self.created_at, _stored(self.prompt()),
                _stored(self.request.to_json()) if self.request else None, _stored(self.infotext),
                _stored(json.dumps(self.facts, ensure_ascii=False)), self.job, self.picture, self.size_bytes,
                self.mtime_ns, self.state, int(self.new), trashed_at,
            ),
        )  # fmt: skip
        words = words_of(self.request, self.infotext, {**self.facts, "seed": self.seed})
        connection.execute(
            """INSERT INTO words (seq, words) SELECT seq, ? FROM pictures WHERE id = ?
               ON CONFLICT (seq) DO UPDATE SET words = excluded.words""",
            (_stored(words), self.id),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO edges (parent, child, role) VALUES (?, ?, ?)",
            [(parent, self.id, role) for parent, role in self.parents],
        )


def _stored(text: str) -> str:
    """Text that SQLite takes: half a surrogate pair must not cost a finished picture its row."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery.

    ``path`` stays inside the program: the API names pictures by ``id`` alone. ``state`` "missing" means that the file
    was removed outside, "damaged" that it is cut short or no picture. ``new`` is true until somebody looked at it.
    """

    id: str
    seq: int
    path: Path
    width: int
    height: int
    seed: int | None
    created_at: float
    prompt: str
    request_json: str | None
    infotext: str
    facts: dict[str, Any]
    job: str | None
    picture: int
    size_bytes: int
    state: State
    new: bool
    trashed: bool

    @cached_property
    def request(self) -> GenerationRequest | None:
        """The recipe; None for a picture made elsewhere or by a later version of the program."""
        try:
            return GenerationRequest.from_json(self.request_json) if self.request_json else None
        except BadValue:
            return None

    @classmethod
    def from_row(cls, row: sqlite3.Row, outputs: Path, trash: Path) -> "Picture":
        trashed = row["trashed_at"] is not None
        return cls(
            id=row["id"], seq=row["seq"], path=(trash if trashed else outputs) / row["path"], width=row["width"],
            height=row["height"], seed=row["seed"], created_at=row["created_at"], prompt=row["prompt"],
            request_json=row["request"], infotext=row["infotext"], facts=json.loads(row["facts"]), job=row["job"],
            picture=row["picture"], size_bytes=row["size_bytes"], state=row["state"], new=bool(row["new"]),
            trashed=trashed,
        )  # fmt: skip


@dataclass(frozen=True)
class Page:
    """Some pictures, newest first; ``next`` is the cursor of the page after, None at the end."""

    items: tuple[Picture, ...]
    next: str | None


@dataclass(frozen=True)
class Edge:
    """``child`` was made from ``parent`` (a picture's id, or an input's sha256) in the ``role`` it had."""

    parent: str
    child: str
    role: str
