"""One studio per data folder; its settings, its estimate, its clean end."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modules.core.errors import BadValue, ExtensionFailed
from modules.core.settings import Settings
from modules.jobs.lock import AlreadyRunning, FolderLock
from modules.jobs.studio import Studio, url
from tests.jobs.conftest import ended, request_of, until

Open = Callable[..., Studio]


def test_a_second_studio_says_at_once_where_the_first_is(open_studio: Open) -> None:
    studio = open_studio()
    studio.tell_url("http://127.0.0.1:7999")
    began = time.monotonic()
    with pytest.raises(AlreadyRunning) as caught:
        open_studio()
    assert time.monotonic() - began < 30.0
    assert caught.value.code == "already_running"
    assert caught.value.facts["url"] == "http://127.0.0.1:7999"
    assert "Atelier already runs on this data folder: http://127.0.0.1:7999 (process " in caught.value.message


def test_the_folder_is_free_after_closing(open_studio: Open) -> None:
    open_studio().close()
    open_studio()


HOLDER = """
import sys, time
from pathlib import Path
from modules.jobs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), "http://127.0.0.1:1")
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_program_leaves_its_folder_free(tmp_path: Path) -> None:
    for _ in range(3):
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning) as caught:
            FolderLock(tmp_path, "")
        assert caught.value.facts["pid"] == holder.pid
        holder.kill()
        holder.wait()
        holder.stdout.close()
    FolderLock(tmp_path, "").release()


def test_settings_change_what_comes_after(open_studio: Open) -> None:
    studio = open_studio()
    studio.change_settings({"image_format": "webp", "checkpoint": "other"})
    assert studio.settings.image_format == "webp"
    assert studio.checkpoints.settings.checkpoint == "other"
    job = ended(studio, studio.queue.submit(request_of(), client="me", workspace="w").id)
    assert studio.gallery.path(job.images[0][1]).suffix == ".webp"
    with pytest.raises(BadValue):
        studio.change_settings({"image_format": "bmp"})
    assert studio.settings.image_format == "webp"


def test_an_extension_that_fails_in_a_row_is_switched_off(open_studio: Open) -> None:
    studio = open_studio()
    name = studio.extensions.active()[0].name
    for _ in range(3):
        studio.extension_failed(ExtensionFailed(name, "add_tab", "boom"))
    assert name in studio.settings.extensions_off
    assert name not in [found.name for found in studio.extensions.active()]
    studio.change_settings({"extensions_off": ()})
    assert name in [found.name for found in studio.extensions.active()]


def test_an_extension_that_fails_in_three_jobs_is_switched_off(open_studio: Open) -> None:
    studio = open_studio()
    name = studio.extensions.active()[0].name
    for turn in range(4):
        assert (name in studio.settings.extensions_off) == (turn == 3)
        job = studio.queue.submit(request_of(f"extension:{name}"), client="me", workspace="w")
        assert ended(studio, job.id).state == "finished"
        until(lambda turn=turn: studio.engine.describe()["running"] is None)
        until(lambda turn=turn: turn < 2 or name in studio.settings.extensions_off)


def test_jobs_are_estimated_once_something_was_made(open_studio: Open) -> None:
    studio = open_studio("thread", step_s=0.02)
    assert studio.estimate(request_of()) is None
    ended(studio, studio.queue.submit(request_of(), client="me", workspace="w").id)
    estimate = studio.estimate(request_of(count=3))
    assert estimate is not None
    assert 0.2 < estimate < 5.0
    studio.queue.pause()
    waiting = studio.queue.submit(request_of(count=3), client="me", workspace="w")
    assert waiting.estimate_s == pytest.approx(estimate, rel=0.5)


def test_an_engine_that_does_not_start_pauses_the_queue_and_is_tried_again(open_studio: Open) -> None:
    studio = open_studio("thread", broken=True)
    job = studio.queue.submit(request_of(), client="me", workspace="w")
    until(lambda: studio.queue.pause_reason == "engine_stopped")
    assert studio.queue.job(job.id).state == "queued"
    assert studio.engine.describe()["restarts"] == 3
    studio.queue.resume()
    until(lambda: studio.engine.describe()["restarts"] == 6)
    until(lambda: studio.queue.pause_reason == "engine_stopped")


@pytest.mark.parametrize(("reason", "lasts"), [("disk_full", False), ("engine_stopped", False), ("", True)])
def test_only_somebodys_own_pause_outlives_the_program(open_studio: Open, reason: str, lasts: bool) -> None:
    first = open_studio("thread")
    first.queue.pause(reason)
    job = first.queue.submit(request_of(), client="me", workspace="w")
    first.close()
    second = open_studio("thread")
    assert second.queue.paused == lasts
    if not lasts:
        assert ended(second, job.id).state == "finished"


def test_a_model_that_kills_the_warm_up_does_not_keep_the_engine_down(
    open_studio: Open, kind: str, tmp_path: Path
) -> None:
    studio = open_studio(kind, trap=str(tmp_path / "trap"))
    job = studio.queue.submit(request_of(), client="me", workspace="w")
    assert ended(studio, job.id).state == "finished"
    assert (tmp_path / "trap").exists()
    assert studio.engine.describe()["restarts"] == 1


def test_recycling_starts_a_fresh_engine_and_costs_no_job(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind, step_s=0.02)
    until(lambda: studio.engine.describe()["state"] == "ready")
    before = studio.engine.describe()["pid"]
    job = studio.queue.submit(request_of(count=2), client="me", workspace="w")
    until(lambda: studio.queue.job(job.id).state == "running")
    studio.engine.recycle()
    done = ended(studio, job.id)
    assert (done.state, done.attempt) == ("finished", 1)
    until(lambda: studio.engine.describe()["restarts"] == 1)
    until(lambda: studio.engine.describe()["state"] == "ready")
    if kind == "process":
        assert studio.engine.describe()["pid"] != before


def test_addresses_are_as_people_type_them() -> None:
    assert url(Settings()) == "http://127.0.0.1:7860"
    assert url(Settings(host="0.0.0.0", port=80)) == "http://127.0.0.1:80"
    assert url(Settings(host="::1")) == "http://[::1]:7860"


def test_the_page_s_process_never_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom modules.jobs.studio import Studio\nfrom modules.core.settings import Settings\n"
        "if __name__ == '__main__':\n"
        f"    studio = Studio.open(Settings(data_dir={str(tmp_path)!r}, engine='process'),"
        " maker='tests.jobs.fakes:open_fake', options={})\n    studio.close()\n    print('torch' in sys.modules)\n"
    )
    script = tmp_path / "program.py"
    script.write_text("import sys; sys.path.insert(0, '.')\n" + code, "utf-8")
    assert subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60).stdout == "False\n"


def test_closing_does_not_wait_for_an_engine_that_still_starts(open_studio: Open, kind: str) -> None:
    studio = open_studio(kind, start_s=15.0 if kind == "process" else 1.0)
    job = studio.queue.submit(request_of(), client="me", workspace="w")
    until(lambda: studio.engine.describe()["state"] == "starting")
    began = time.monotonic()
    studio.close()
    assert time.monotonic() - began < 30.0
    after = open_studio(kind)
    assert ended(after, job.id).state == "finished"
