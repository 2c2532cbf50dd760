"""What happens to disks, files and indexes that must not cost a picture: torn writes, full disks, cut databases."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from modules.core.errors import DiskFull, WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.settings import CHECKOUT, Settings
from modules.library import atomic, database, outputs, picturefile
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.library.pictures import Entry

SIDE = 64
PIXELS = os.urandom(SIDE * SIDE * 3)


def save(into, seed=1, picture=0):
    return into.save(
        PIXELS, request=GenerationRequest(prompt=f"apple {seed}", seed=seed), facts={}, picture=picture, seed=seed,
        job="job", elapsed_s=0.0, width=SIDE, height=SIDE,
    )  # fmt: skip


@pytest.fixture
def gallery(tmp_path):
    (tmp_path / "data").mkdir()
    made = Gallery(tmp_path / "data", background=False)
    yield made
    made.close()


class Disk:
    """Stands for ``os`` inside modules.library.atomic and remembers what a power cut would leave.

    A file's bytes are safe once its descriptor was synced, a rename once its folder was. What was not synced may be
    there or not: ``after_power_cut`` gives each possibility for the moment after any operation.
    """

    def __init__(self):
        self.operations = []
        self._paths = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, *mode):
        descriptor = os.open(path, flags, *mode)
        self._paths[descriptor] = str(path)
        if flags & os.O_CREAT:
            self.operations.append(("create", str(path)))
        return descriptor

    def mkdir(self, path, *mode):
        self.operations.append(("mkdir", str(path)))
        os.mkdir(path, *mode)

    def write(self, descriptor, data):
        data = data[: max(1, len(data) // 3)]  # a write may take less than it was given
        self.operations.append(("write", self._paths[descriptor], bytes(data)))
        return os.write(descriptor, data)

    def fsync(self, descriptor):
        path = self._paths[descriptor]
        self.operations.append(("sync folder" if Path(path).is_dir() else "sync", path))
        os.fsync(descriptor)

    def replace(self, source, target):
        self.operations.append(("replace", str(source), str(target)))
        os.replace(source, target)

    def after_power_cut(self, moment):
        """Every state of the final names: a mapping of path -> bytes for each choice of what was not synced."""
        written, safe, renames = {}, {}, []
        for operation in self.operations[:moment]:
            match operation:
                case ("create", path):
                    written[path] = b""
                case ("write", path, data):
                    written[path] += data
                case ("sync", path):
                    safe[path] = written[path]
                case ("replace", source, target):
                    renames.append((source, target))
        states = []
        for kept in range(len(renames) + 1):
            for lost in (False, True):
                state = {}
                for source, target in renames[:kept]:
                    state[target] = safe.get(source, b"") if lost else written[source]
                states.append(state)
        return states


def test_f3_a_power_cut_at_any_write_never_leaves_half_a_picture(gallery, monkeypatch):
    disk = Disk()
    monkeypatch.setattr(atomic, "os", disk)
    saved = save(Outputs(gallery, Settings()))
    whole = saved.path.read_bytes()
    kinds = [operation[0] for operation in disk.operations]
    assert kinds.count("write") > 5
    halves = 0
    for moment in range(len(disk.operations) + 1):
        for state in disk.after_power_cut(moment):
            halves += state.get(str(saved.path), whole) != whole
    assert halves == 0
    ours = [operation for operation in disk.operations if ".cache" not in str(operation)]
    assert [operation[0] for operation in ours][-2:] == ["replace", "sync folder"]
    made = [operation[1] for operation in ours if operation[0] == "mkdir"]
    assert len(made) == 2  # the date's folder and the one above: they must not vanish with the picture in them
    for folder in made:
        at = ours.index(("mkdir", folder))
        assert ("sync folder", str(Path(folder).parent)) in ours[at:]
    assert gallery.count() == 1


def test_f3_the_disk_of_the_test_does_notice_a_missing_sync(gallery, monkeypatch):
    disk = Disk()
    monkeypatch.setattr(atomic, "os", disk)
    monkeypatch.setattr(disk, "fsync", lambda descriptor: None, raising=False)
    saved = save(Outputs(gallery, Settings()))
    states = disk.after_power_cut(len(disk.operations))
    assert any(state.get(str(saved.path)) == b"" for state in states)


@pytest.mark.parametrize("cut", [8, 33, 100, "half", -13, -12, -1])
def test_f4_a_cut_png_among_the_outputs_is_shown_as_damaged(gallery, cut):
    saved = save(Outputs(gallery, Settings()))
    whole = saved.path.read_bytes()
    for name in ("known.png", saved.path.name):
        path = saved.path.with_name(name)
        path.write_bytes(whole[: len(whole) // 2 if cut == "half" else cut])
    gallery.reconcile()
    assert [picture.state for picture in gallery.page().items] == ["damaged", "damaged"]


@pytest.mark.parametrize("cut", [0, 50, 100, 4096, "half", "zeroed", "text", "garbage"])
@pytest.mark.parametrize("with_backup", [False, True])
def test_f5_a_damaged_index_is_set_aside_and_built_anew(tmp_path, cut, with_backup):
    gallery = Gallery(tmp_path, background=False)
    into = Outputs(gallery, Settings())
    made = [save(into, seed).id for seed in range(6)]
    gallery.trash(made[:1])
    if with_backup:
        gallery.backup()
    made.append(save(into, 99).id)
    gallery.close()
    index = tmp_path / ".atelier" / "gallery.sqlite"
    size = index.stat().st_size
    if cut == "zeroed":
        index.write_bytes(bytes(size))
    elif cut == "text":
        index.write_bytes(b"not a database at all" * 1000)
    elif cut == "garbage":  # of the right length, and the first page is whole
        with index.open("r+b") as file:
            file.seek(4096)
            file.write(bytes(8192))
    else:
        os.truncate(index, size // 2 if cut == "half" else cut)
    began = time.monotonic()
    gallery = Gallery(tmp_path, background=False)
    assert time.monotonic() - began < 30
    assert gallery.notice is not None
    assert gallery.notice.facts["source"] == ("backup" if with_backup else "empty")
    gallery.reconcile()
    assert {picture.id for picture in gallery.page().items} == set(made[1:])
    assert [picture.id for picture in gallery.page(trashed=True).items] == made[:1]
    assert gallery.count("apple 99") == 1
    assert list((tmp_path / ".atelier").glob("gallery.sqlite.bad-*"))
    gallery.close()
    gallery = Gallery(tmp_path, background=False)
    assert gallery.notice is None
    gallery.close()


def test_f5_a_damaged_backup_is_not_trusted(tmp_path):
    gallery = Gallery(tmp_path, background=False)
    save(Outputs(gallery, Settings()))
    gallery.backup()
    gallery.close()
    os.truncate(tmp_path / ".atelier" / "gallery.sqlite", 100)
    os.truncate(tmp_path / ".atelier" / "gallery.sqlite.backup", 5000)
    gallery = Gallery(tmp_path, background=False)
    assert gallery.notice.facts["source"] == "empty"
    assert len(gallery.reconcile().found) == 1
    gallery.close()


def test_f5_an_index_that_breaks_while_it_is_open_is_an_error_with_a_way_out(gallery):
    into = Outputs(gallery, Settings())
    for seed in range(3):
        save(into, seed)
    gallery._database.close()
    with gallery._database.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(gallery._database.path.stat().st_size - 4096))
    with pytest.raises(WorkbenchError) as caught:
        gallery.page()
    assert caught.value.code == "database_damaged"
    gallery._database._writer = gallery._database._connect()
    saved = save(into, 4)
    assert [warning.code for warning in saved.warnings] == ["index_failed"]
    assert picturefile.look(saved.path).whole


def test_an_index_of_a_later_version_is_refused_and_left_alone(tmp_path):
    Gallery(tmp_path, background=False).close()
    with sqlite3.connect(tmp_path / ".atelier" / "gallery.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WorkbenchError) as caught:
        Gallery(tmp_path, background=False)
    assert caught.value.code == "newer_database"
    assert not list(tmp_path.rglob("*.bad-*"))


FULL_DISK = """
    import hashlib, os, sys
    from pathlib import Path
    from modules.core.errors import WorkbenchError
    from modules.core.request import GenerationRequest
    from modules.core.settings import Settings
    from modules.library.index import Gallery
    from modules.library.outputs import Outputs
    from PIL import Image

    data, small = Path(sys.argv[1]), Path(sys.argv[1]) / "outputs"
    gallery = Gallery(data, background=False)
    into = Outputs(gallery, Settings())
    pixels = os.urandom(256 * 256 * 3)
    def save(seed):
        return into.save(pixels, request=GenerationRequest(seed=seed), facts={}, picture=0, seed=seed, job="j",
                         elapsed_s=0.0, width=256, height=256)
    saved, refused = [], None
    for seed in range(40):
        try:
            saved.append(save(seed))
        except WorkbenchError as problem:
            refused = problem
            break
    assert refused is not None and (refused.code, refused.status) == ("disk_full", 507), refused
    assert len(saved) >= 3
    files = sorted(path for path in small.rglob("*") if path.is_file())
    assert len(files) == len(saved), files
    for path in files:
        with Image.open(path) as image:
            assert image.tobytes() == pixels
    gallery.trash([saved[0].id]); gallery.purge()
    again = save(seed)
    with Image.open(again.path) as image:
        assert image.tobytes() == pixels
    print("whole", len(saved))
"""


def test_f7_a_full_disk_leaves_no_half_and_takes_the_same_pixels_later(tmp_path):
    (tmp_path / "outputs").mkdir()
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system gives no file system of one's own")
    script = tmp_path / "full.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1/outputs" && exec "$2" "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, str(script)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whole")


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_f7_an_error_at_any_call_is_explained_and_leaves_no_file(gallery, monkeypatch, failing, number):
    into = Outputs(gallery, Settings())
    first = save(into, 1)

    class Broken(Disk):
        def __getattribute__(self, name):
            if name == failing:

                def fails(*_):
                    raise OSError(number, os.strerror(number))

                return fails
            return super().__getattribute__(name)

    monkeypatch.setattr(atomic, "os", Broken())
    with pytest.raises(WorkbenchError) as caught:
        save(into, 2)
    assert caught.value.code == ("disk_full" if number in (errno.ENOSPC, errno.EDQUOT) else "not_writable")
    assert str(gallery.outputs) not in caught.value.message
    assert [path for path in gallery.outputs.rglob("*") if path.is_file()] == [first.path]
    monkeypatch.undo()
    with Image.open(save(into, 2).path) as image:
        assert image.tobytes() == PIXELS
    assert gallery.count() == 2


def test_f8_a_full_disk_at_any_commit_loses_no_acknowledged_row(tmp_path):
    """SQLite itself is given k pages of room, for every k until nothing fails any more."""
    failed = 0
    for room in range(40):
        data = tmp_path / str(room)
        gallery = Gallery(data, background=False)
        with gallery._database.writing() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        gallery._database._writer.execute(f"PRAGMA max_page_count = {pages + room}")
        acknowledged = []
        for number in range(60):
            entry = Entry(
                path=f"a/{number}.png", width=1, height=1, created_at=0.0, size_bytes=1, mtime_ns=1,
                infotext=f"words {number} " + "x" * 1500,
            )  # fmt: skip
            try:
                acknowledged.append(gallery.add(entry).id)
            except DiskFull:
                failed += 1
        gallery.close()
        gallery = Gallery(data, background=False)
        assert gallery.notice is None
        assert gallery.count() == len(acknowledged)
        assert {picture.id for picture in gallery.page(500).items} == set(acknowledged)
        assert gallery.count("words") == len(acknowledged)
        gallery.close()
    assert failed > 100


def test_f18_f37_a_file_deleted_outside_is_a_state(gallery):
    into = Outputs(gallery, Settings())
    made = [save(into, seed) for seed in range(3)]
    shutil.rmtree(gallery.outputs / "txt2img-images")
    shutil.rmtree(gallery.thumbnails)
    for one in made:
        for ask in (gallery.path, gallery.thumbnail):
            with pytest.raises(WorkbenchError) as caught:
                ask(one.id)
            assert caught.value.status == 404
    gallery.reconcile()
    assert {picture.state for picture in gallery.page().items} == {"missing"}
    assert gallery.trash([made[0].id]) == (made[0].id,)
    assert gallery.restore([made[0].id]) == (made[0].id,)
    assert save(into, 9).path.exists()


def test_f26_a_clock_that_jumps_back_changes_neither_order_nor_names(gallery, monkeypatch):
    into = Outputs(gallery, Settings())
    day = 24 * 3600.0
    real, clock = time.time, {"offset": 0.0}

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(real() + clock["offset"])

    monkeypatch.setattr(outputs, "datetime", Clock)
    monkeypatch.setattr(outputs.time, "time", lambda: real() + clock["offset"])
    made = []
    for offset in (0, -day, -day, 0, -2 * day, day, 0):
        clock["offset"] = offset
        made.append(save(into, 7))
    assert len({one.path for one in made}) == len(made)
    assert [picture.id for picture in gallery.page().items] == [one.id for one in made][::-1]


def fill(gallery, count):
    """Rows as Entry.insert writes them, a hundred thousand in seconds."""
    request = GenerationRequest(prompt="a photo of a red apple on a table, masterpiece", seed=1)
    with gallery._database.writing() as connection:
        Entry(path="a/0.png", width=512, height=512, created_at=0.0, size_bytes=1, mtime_ns=1, request=request).insert(
            connection, 1
        )
        connection.execute(
            """WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
               INSERT INTO pictures SELECT i, printf('%016x', i), printf('2026-%02d-01/%05d.png', i / 3000, i), width,
                 height, i, i, prompt, request, infotext, facts, job, picture, size_bytes, mtime_ns, state, new, NULL
               FROM n, pictures WHERE pictures.seq = 1""",
            (count,),
        )
        connection.execute(
            """INSERT INTO words SELECT pictures.seq, words.words || char(10) || pictures.seq FROM pictures, words
               WHERE words.seq = 1 AND pictures.seq > 1"""
        )


def test_f36_a_hundred_thousand_pictures(tmp_path):
    """Pages in the depths and the start stay fast: index rows are enough for both, files and pixels are not read."""
    count = 100_000
    gallery = Gallery(tmp_path, background=False)
    fill(gallery, count)
    gallery.close()
    began = time.perf_counter()
    gallery = Gallery(tmp_path, background=False)
    gallery.page(60)
    start_s = time.perf_counter() - began
    times = []
    for number in range(100):
        began = time.perf_counter()
        page = gallery.page(60, before=str(count - 99_940 + number))
        times.append(time.perf_counter() - began)
        assert page.items
    p95_s = sorted(times)[94]
    for query, found in (("apple", 60), ("99940", 1), ("nothing", 0), ("红", 0)):
        began = time.perf_counter()
        assert len(gallery.page(60, query=query).items) == found
        print(f"search {query}: {(time.perf_counter() - began) * 1000:.1f} ms")
    print(f"start {start_s * 1000:.0f} ms, page p95 {p95_s * 1000:.1f} ms")
    gallery.close()
    assert start_s < 1.0
    assert p95_s < 0.1


def test_a_picture_that_is_no_picture_never_stops_the_others(gallery):
    folder = gallery.outputs / "mixed"
    folder.mkdir()
    for number, content in enumerate([b"", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff", os.urandom(500)]):
        (folder / f"{number}.png").write_bytes(content)
    Image.new("RGB", (4, 4)).save(folder / "good.png")
    (folder / "a folder.png").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nowhere")
    gallery.reconcile()
    states = {picture.path.name: picture.state for picture in gallery.page().items}
    assert states == {**{f"{number}.png": "damaged" for number in range(5)}, "good.png": "ok"}
    assert picturefile.look(folder / "nowhere").whole is False


def test_a_locked_index_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    Gallery(tmp_path, background=False).close()
    index = tmp_path / ".atelier" / "gallery.sqlite"
    other = sqlite3.connect(index, isolation_level=None)
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    before = index.read_bytes()
    with pytest.raises(WorkbenchError) as caught:
        Gallery(tmp_path, background=False)
    assert caught.value.code == "database_busy"
    other.execute("ROLLBACK")
    other.close()
    assert index.read_bytes() == before
    assert not list(index.parent.glob("*.bad-*"))
    gallery = Gallery(tmp_path, background=False)
    assert gallery.notice is None
    gallery.close()
