"""The gallery: every finished picture in a SQLite file of its own, paged, searched, trashed, and found again."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from modules.core.errors import BadValue, NotFound, WorkbenchError
from modules.library import picturefile, sharing, thumbnails, trash
from modules.library.database import Database
from modules.library.pictures import APPLICATION, MIGRATIONS, Edge, Entry, Page, Picture
from modules.library.reconcile import Changes, reconcile_files
from modules.library.search import parse

PAGE_MOST = 500
BACKUP_EVERY_S = 24 * 3600.0
LOOK_EVERY_S = 60.0


class Gallery:
    """The pictures below ``data_folder``/outputs and the index over them, ``data_folder``/.atelier/gallery.sqlite.

    Safe to use from any thread: one writer, readers beside it. The files are the truth: an index that is lost, cut or
    emptied is set aside and built anew from them; ``notice`` then says so for the page. With ``background`` a thread
    looks for pictures that came or went outside, each minute, and backs the index up once a day.
    ``on_change(change, ids)`` is told what moved ("trashed", "restored", "found", "rebuilt").
    """

    def __init__(self, data_folder: Path, *, background: bool = True) -> None:
        self.outputs = data_folder / "outputs"
        self.thumbnails = data_folder / ".cache" / "thumbnails"
        self.on_change: Callable[[str, tuple[str, ...]], None] | None = None
        self.notice: WorkbenchError | None = None
        self.outputs.mkdir(parents=True, exist_ok=True)
        self._database = Database(data_folder / ".atelier" / "gallery.sqlite", MIGRATIONS, APPLICATION)
        self._sequence_lock = threading.Lock()
        with self._database.reading() as connection:
            self._sequence: int = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM pictures").fetchone()[0]
        self._closing = threading.Event()
        self._care: threading.Thread | None = None
        self.notice = self._database.notice("gallery")
        if background:
            self._care = threading.Thread(target=self._take_care, name="gallery", daemon=True)
            self._care.start()

    def add(self, entry: Entry) -> Picture:
        """Commit one picture's row; the same path again overwrites it in place. Raises DiskFull."""
        seq = self._reserve(1)
        with self._database.writing() as connection:
            entry.insert(connection, seq)
        return self.get(entry.id)

    def get(self, id: str) -> Picture:
        """The picture of that id, in the trash or not; raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM pictures WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise NotFound("There is no picture of that id.", "It may have been deleted for good.")
        return self._picture(row)

    def knows(self, id: str) -> bool:
        """Whether a picture of that id has a row, in whatever state."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM pictures WHERE id = ?", (id,)).fetchone() is not None

    def page(self, limit: int = 60, before: str | None = None, query: str = "", *, trashed: bool = False) -> Page:
        """At most ``limit`` pictures (1-500), newest first, after the cursor ``before``, that match ``query``.

        Raises BadValue for another limit, a cursor that no page gave, or a query beyond its bounds.
        """
        if not 1 <= limit <= PAGE_MOST:
            raise BadValue(f"limit is {limit}, outside 1-{PAGE_MOST}.", "Ask for fewer.", field="limit")
        search = parse(query)
        where = [*search.where, f"p.trashed_at IS {'NOT ' if trashed else ''}NULL"]
        values: list[str | int] = [*search.values]
        if before is not None:
            where.append(f"{search.order} < ?")
            values.append(_cursor(before))
        sql = f"SELECT p.* FROM {search.source} WHERE {' AND '.join(where)} ORDER BY {search.order} DESC LIMIT ?"
        with self._database.reading() as connection:
            rows = connection.execute(sql, (*values, limit + 1)).fetchall()
        items = tuple(self._picture(row) for row in rows[:limit])
        return Page(items, str(items[-1].seq) if len(rows) > limit else None)

    def count(self, query: str = "", *, trashed: bool = False) -> int:
        """How many pictures match."""
        search = parse(query)
        where = " AND ".join([*search.where, f"p.trashed_at IS {'NOT ' if trashed else ''}NULL"])
        with self._database.reading() as connection:
            sql = f"SELECT COUNT(*) FROM {search.source} WHERE {where}"
            return connection.execute(sql, search.values).fetchone()[0]

    def of_job(self, job: str) -> tuple[Picture, ...]:
        """The pictures of one job in the order of their numbers."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM pictures WHERE job = ? ORDER BY picture", (job,)).fetchall()
        return tuple(self._picture(row) for row in rows)

    def seen(self, ids: Iterable[str]) -> None:
        """Somebody looked at these: they are no longer new."""
        with self._database.writing() as connection:
            connection.executemany("UPDATE pictures SET new = 0 WHERE id = ?", [(id,) for id in ids])

    def trash(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Move pictures into outputs/.trash; returns the ids that are there now. Ids that nobody knows are left out."""
        moved = self._move(ids, True)
        self._tell("trashed", moved)
        return moved

    def restore(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Move pictures back from the trash to where they were; returns the ids that are back.

        One whose name another picture has taken meanwhile stays in the trash.
        """
        moved = self._move(ids, False)
        self._tell("restored", moved)
        return moved

    def purge(self, ids: Iterable[str] | None = None) -> int:
        """Delete pictures that are in the trash for good, with rows and thumbnails; None empties the whole trash."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id, path FROM pictures WHERE trashed_at IS NOT NULL").fetchall()
        wanted = None if ids is None else set(ids)
        gone = [row for row in rows if wanted is None or row["id"] in wanted]
        for row in gone:
            trash.destroy(self.outputs, row["path"])
            thumbnails.place(self.thumbnails, row["id"]).unlink(missing_ok=True)
        folders = {row["path"].rpartition("/")[0] for row in gone}
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM pictures WHERE id = ?", [(row["id"],) for row in gone])
            # a file that came under the name of a trashed one is found by the next look
            connection.executemany("DELETE FROM folders WHERE path = ?", [(folder,) for folder in folders])
        return len(gone)

    def path(self, id: str) -> Path:
        """The picture's file, for reading.

        Raises NotFound for an unknown id, for a file that is gone (code "picture_missing"; the row says so from now
        on), and for one that a link leads out of the outputs folder.
        """
        picture = self.get(id)
        real = Path(os.path.realpath(picture.path))
        if not real.is_relative_to(os.path.realpath(self.outputs)):
            raise NotFound("There is no picture of that id.", "Its file lies outside the outputs folder.")
        if not real.is_file():
            self._set_state(id, "missing")
            raise NotFound(
                "The file of this picture is gone.", "It was moved or deleted outside.", code="picture_missing"
            )
        if picture.state == "missing":
            self._set_state(id, "ok")
        return real

    def thumbnail(self, id: str) -> Path:
        """A WebP of at most 448 px a side, made at the first call where saving did not make it.

        Raises NotFound as ``path`` does, and with the code "picture_damaged" for a file that cannot be drawn.
        """
        small = thumbnails.place(self.thumbnails, id)
        if small.exists():
            return small
        source = self.path(id)
        try:
            return thumbnails.make(source, small)
        except WorkbenchError as problem:
            self._set_state(id, "damaged")
            raise NotFound(problem.message, problem.hint, code="picture_damaged") from problem

    def share_copy(self, id: str) -> tuple[bytes, str]:
        """The picture's bytes without any metadata, and their media type; raises as ``path`` does.

        Raises WorkbenchError 422 for a file that is cut short.
        """
        path = self.path(id)
        format = picturefile.SUFFIXES.get(path.suffix.lower(), "png")
        return sharing.without_words(path.read_bytes()), f"image/{format}"

    def edges(self, id: str) -> tuple[Edge, ...]:
        """What this picture was made from, and what was made from it."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM edges WHERE child = ? OR parent = ?", (id, id)).fetchall()
        return tuple(Edge(row["parent"], row["child"], row["role"]) for row in rows)

    def reconcile(self) -> Changes:
        """Compare index and files both ways; folders that did not change since the last time cost one look each."""
        changes = self._compare()
        self._tell("found", changes.found)
        return changes

    def rebuild(self) -> Changes:
        """Read every file anew, as after the loss of the index; nothing that the index knows beyond them is lost."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM folders")
        changes = self._compare()
        self._tell("rebuilt", changes.found)
        return changes

    def backup(self) -> None:
        """Copy the index beside itself; a damaged index is replaced by this copy at the next start."""
        self._database.backup()

    def close(self) -> None:
        """Stop the background thread and close the index."""
        self._closing.set()
        if self._care:
            self._care.join()
        self._database.close()

    def _compare(self) -> Changes:
        changes = reconcile_files(self._database, self.outputs, self._reserve, self._closing)
        for id in changes.changed:  # somebody may have painted over it
            thumbnails.place(self.thumbnails, id).unlink(missing_ok=True)
        return changes

    def _picture(self, row: object) -> Picture:
        return Picture.from_row(row, self.outputs, self.outputs / trash.FOLDER)  # type: ignore[arg-type]

    def _reserve(self, count: int) -> int:
        """The first of ``count`` consecutive places at the end of the order."""
        with self._sequence_lock:
            first = self._sequence + 1
            self._sequence += count
        return first

    def _move(self, ids: Iterable[str], into: bool) -> tuple[str, ...]:
        moved: list[str] = []
        for id in dict.fromkeys(ids):
            with self._database.reading() as connection:
                row = connection.execute("SELECT path, trashed_at FROM pictures WHERE id = ?", (id,)).fetchone()
            if row is None:
                continue
            if (row["trashed_at"] is not None) != into:
                try:
                    there = (trash.into if into else trash.out_of)(self.outputs, row["path"])
                except WorkbenchError as problem:
                    if problem.code == "name_taken":
                        continue  # this one stays where it is
                    raise
                with self._database.writing() as connection:
                    connection.execute(
                        "UPDATE pictures SET trashed_at = ?, state = CASE WHEN ? THEN state ELSE 'missing' END"
                        " WHERE id = ?",
                        (time.time() if into else None, there, id),
                    )
            moved.append(id)
        return tuple(moved)

    def _set_state(self, id: str, state: str) -> None:
        with self._database.writing() as connection:
            connection.execute("UPDATE pictures SET state = ? WHERE id = ?", (state, id))

    def _tell(self, change: str, ids: tuple[str, ...]) -> None:
        if self.on_change and ids:
            self.on_change(change, ids)

    def _take_care(self) -> None:
        while not self._closing.is_set():
            try:
                self.reconcile()
                self._backup_if_old()
            except (WorkbenchError, sqlite3.Error, OSError) as problem:
                self.notice = WorkbenchError(
                    f"The gallery could not be compared with its files: {problem}",
                    "It is tried again every minute.",
                    code="gallery_care",
                )
            self._closing.wait(LOOK_EVERY_S)

    def _backup_if_old(self) -> None:
        backup = self._database.backup_path
        age_s = time.time() - backup.stat().st_mtime if backup.exists() else BACKUP_EVERY_S
        if not self._closing.is_set() and not 0 <= age_s < BACKUP_EVERY_S:
            self.backup()


def _cursor(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise BadValue("before is no cursor of this gallery.", "Use the `next` of the page before.", field="before")
    return int(text)
