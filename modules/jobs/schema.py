"""The jobs database's schema, as numbered steps; step n brings ``PRAGMA user_version`` from n-1 to n."""

import sqlite3
from collections.abc import Callable

APPLICATION = 0x41544C51  # "ATLQ": tells our queue from any other SQLite file

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        # number: the order of submission. pictures: the indexes this job makes, as JSON. position: the owner's order.
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            request TEXT NOT NULL,
            model TEXT NOT NULL,
            pictures TEXT NOT NULL,
            client TEXT NOT NULL,
            workspace TEXT NOT NULL,
            key TEXT,
            priority INTEGER NOT NULL,
            position REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
            stopping INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 1,
            error TEXT,
            created_at REAL NOT NULL,
            started_at REAL,
            ended_at REAL
        ) STRICT""",
        "CREATE UNIQUE INDEX jobs_key ON jobs (client, key) WHERE key IS NOT NULL",
        "CREATE INDEX jobs_state ON jobs (state, priority DESC, position)",
        "CREATE INDEX jobs_workspace ON jobs (workspace, number)",
        """CREATE TABLE images (
            job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            picture INTEGER NOT NULL,
            image TEXT NOT NULL,
            PRIMARY KEY (job, picture)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE skipped (
            job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            picture INTEGER NOT NULL,
            PRIMARY KEY (job, picture)
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, job TEXT, type TEXT NOT NULL, body TEXT NOT NULL) STRICT",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE timings (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            phase TEXT NOT NULL,
            model TEXT NOT NULL,
            device TEXT NOT NULL,
            work REAL NOT NULL,
            seconds REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX timings_phase ON timings (phase, model, device, number)",
    ),
)


def _step(statements: tuple[str, ...]) -> Callable[[sqlite3.Connection], None]:
    def run(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return run


MIGRATIONS = tuple(_step(statements) for statements in _STEPS)
