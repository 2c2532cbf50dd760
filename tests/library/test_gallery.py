"""The gallery: what is saved is found, paged, searched, trashed, and agrees with the files again."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from modules.core import limits
from modules.core.errors import BadValue, NotFound
from modules.core.request import GenerationRequest, Hires, Sampling
from modules.core.settings import Settings
from modules.library import picturefile
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.library.pictures import Entry, identify

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, background=False)
    yield made
    made.close()


@pytest.fixture
def outputs(gallery):
    return Outputs(gallery, Settings())


def pixels(seed=0):
    return bytes((index * 7 + seed) % 256 for index in range(WIDTH * HEIGHT * 3))


def save(outputs, prompt="a red apple", seed=1, **more):
    request = GenerationRequest(prompt=prompt, seed=seed)
    return outputs.save(
        pixels(seed), request=request, facts=more.pop("facts", {}), picture=0, seed=seed, job=more.pop("job", "job"),
        elapsed_s=1.5, width=WIDTH, height=HEIGHT, **more,
    )  # fmt: skip


def ids(page):
    return [picture.id for picture in page.items]


def test_a_saved_picture_is_a_row_with_its_whole_request(gallery, outputs):
    request = GenerationRequest(
        prompt="苹果 👩‍🚀 한국어",
        seed=7,
        hires=Hires(scale=1.5),
        sampling=Sampling(steps=3),
        extensions={"x": {"a": [1, None]}},
    )
    saved = outputs.save(
        pixels(), request=request, facts={"model": "starter"}, picture=2, seed=9, job="j", elapsed_s=2.0,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    picture = gallery.get(saved.id)
    assert picture.request == request
    assert (picture.width, picture.height, picture.seed, picture.job, picture.picture) == (WIDTH, HEIGHT, 9, "j", 2)
    assert picture.state == "ok"
    assert picture.new
    assert picture.facts == {"model": "starter", "elapsed_s": 2.0}
    assert gallery.path(saved.id) == saved.path.resolve()
    gallery.seen([saved.id])
    assert not gallery.get(saved.id).new


def test_pages_walk_all_pictures_newest_first_without_gap_or_repeat(gallery, outputs):
    made = [save(outputs, seed=seed).id for seed in range(7)]
    seen, cursor = [], None
    while True:
        page = gallery.page(3, before=cursor)
        seen += ids(page)
        if page.next is None:
            break
        save(outputs, seed=100)  # arrives meanwhile and does not shift anything
        cursor = page.next
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3), ("apple", 2), ("APPLE", 2), ("ppl", 2), ("red apple", 1), ('"red apple"', 1), ('"apple red"', 0),
        ("apple red", 1), ("苹果", 1), ("红", 1), ("红苹果", 1), ("é", 1), ("CAFÉ", 1), ("100%", 1), ("a_b", 1),
        ("_", 1), ("%", 1), ('"', 3), ("seed", 0), ("Euler", 1), ("starter", 3), ("48x32", 0), ("512x512", 3),
        ("4242", 1), ("'; DROP TABLE pictures; --", 0), ("apple OR pear", 0), ("NEAR(", 0),
        ("👩‍🚀", 1), ("*", 0), ("apple*", 0),
    ],
)  # fmt: skip
def test_search(gallery, outputs, query, found):
    prompts = ["A red Apple, 100% a_b", "green apple 红苹果 👩‍🚀", "cafe\u0301 pear"]
    for seed, prompt in enumerate(prompts, 4240):
        request = GenerationRequest(
            prompt=prompt, seed=seed, sampling=Sampling(sampler="Euler" if seed == 4240 else "DDIM")
        )
        outputs.save(
            pixels(), request=request, facts={"model": "starter"}, picture=0, seed=seed, job="j", elapsed_s=0.0,
            width=WIDTH, height=HEIGHT,
        )  # fmt: skip
    assert gallery.count(query) == found
    assert len(gallery.page(query=query).items) == found


def test_a_search_is_paged_too(gallery, outputs):
    made = [save(outputs, prompt=f"apple {'红' if seed % 2 else '绿'}", seed=seed).id for seed in range(6)]
    page = gallery.page(2, query="红")
    assert ids(page) == [made[5], made[3]]
    assert ids(gallery.page(2, before=page.next, query="红")) == [made[1]]
    page = gallery.page(4, query="apple")
    assert ids(gallery.page(4, before=page.next, query="apple")) == [made[1], made[0]]


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"limit": 501}, {"before": "x"}, {"before": "-1"}, {"before": "9" * 40}, {"query": "x" * 1001},
     {"query": " ".join("abcdefghijklmnopq")}, {"query": "\ud800"}, {"query": "a\x00b"}],
)  # fmt: skip
def test_a_bad_page_is_refused_by_name(gallery, asked):
    with pytest.raises(BadValue) as caught:
        gallery.page(**asked)
    assert caught.value.field in ("limit", "before", "q")


def test_trash_keeps_the_file_until_it_is_purged(gallery, outputs):
    one, two = save(outputs, seed=1), save(outputs, seed=2)
    told = []
    gallery.on_change = lambda change, ids: told.append((change, ids))
    whole = one.path.read_bytes()
    assert gallery.trash([one.id, "nobody"]) == (one.id,)
    assert gallery.trash([one.id]) == (one.id,)  # again is no harm
    assert not one.path.exists()
    assert ids(gallery.page()) == [two.id]
    assert ids(gallery.page(trashed=True)) == [one.id]
    assert gallery.path(one.id).read_bytes() == whole
    assert gallery.restore([one.id]) == (one.id,)
    assert one.path.read_bytes() == whole
    assert ids(gallery.page()) == [two.id, one.id]
    gallery.trash([two.id])
    assert gallery.purge(["nobody", one.id]) == 0
    assert gallery.purge() == 1
    assert not list(Path(gallery.outputs).rglob("*-2.png"))
    with pytest.raises(NotFound):
        gallery.get(two.id)
    assert gallery.count("apple") == 1
    assert told[0] == ("trashed", (one.id,))
    assert ("restored", (one.id,)) in told


def test_restore_never_writes_over_another_picture(gallery, outputs):
    one = save(outputs, seed=1)
    gallery.trash([one.id])
    one.path.write_bytes(b"another")
    assert gallery.restore([one.id]) == ()
    assert one.path.read_bytes() == b"another"
    assert gallery.get(one.id).trashed
    assert gallery.path(one.id).parts[-4] == ".trash"
    gallery.purge()
    assert one.path.read_bytes() == b"another"
    assert gallery.reconcile().found == (one.id,)


def test_edges_lead_both_ways(gallery, outputs):
    parent = save(outputs, seed=1)
    child = save(outputs, seed=2, parents=[(parent.id, "init"), ("f" * 64, "mask")])
    assert {(edge.parent, edge.role) for edge in gallery.edges(child.id)} == {(parent.id, "init"), ("f" * 64, "mask")}
    assert [edge.child for edge in gallery.edges(parent.id)] == [child.id]


def test_numbers_go_on_after_the_largest_also_over_a_restart_and_the_trash(tmp_path, gallery, outputs):
    save(outputs, seed=5)
    last = save(outputs, seed=5)
    assert last.path.name == "00002-5.png"
    gallery.trash([last.id])
    again = save(Outputs(gallery, Settings()), seed=5)
    assert again.path.name == "00003-5.png"
    assert again.id != last.id


def test_a_name_is_found_without_listing_the_folder(gallery, outputs, monkeypatch):
    save(outputs)
    monkeypatch.setattr(os, "listdir", lambda *_: pytest.fail("the folder was listed"))
    monkeypatch.setattr(os, "scandir", lambda *_: pytest.fail("the folder was listed"))
    assert save(outputs).path.name.startswith("00002-")


def test_many_threads_never_share_a_name(gallery, outputs):
    saved = []
    threads = [threading.Thread(target=lambda: saved.extend(save(outputs) for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.path for one in saved}) == 20
    assert gallery.count() == 20


def test_a_missing_file_is_a_state_and_not_an_error(gallery, outputs):
    saved = save(outputs)
    whole = saved.path.read_bytes()
    saved.path.unlink()
    with pytest.raises(NotFound) as caught:
        gallery.path(saved.id)
    assert caught.value.code == "picture_missing"
    assert gallery.page().items[0].state == "missing"
    saved.path.write_bytes(whole)
    gallery.path(saved.id)
    assert gallery.get(saved.id).state == "ok"


def test_a_link_out_of_the_outputs_folder_is_not_followed(tmp_path, gallery, outputs):
    saved = save(outputs)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    saved.path.unlink()
    saved.path.symlink_to(secret)
    (saved.path.parent / "link.png").symlink_to(secret)
    with pytest.raises(NotFound):
        gallery.path(saved.id)
    assert gallery.reconcile().found == ()


def test_thumbnails_are_made_at_saving_and_again_when_they_are_lost(gallery, outputs):
    saved = save(outputs)
    made = gallery.thumbnails / saved.id[:2] / f"{saved.id}.webp"
    assert made.exists()
    made.unlink()
    again = gallery.thumbnail(saved.id)
    with Image.open(again) as image:
        assert (image.format, image.size) == ("WEBP", (WIDTH, HEIGHT))
    saved.path.write_bytes(saved.path.read_bytes()[:60])
    again.unlink()
    with pytest.raises(NotFound) as caught:
        gallery.thumbnail(saved.id)
    assert caught.value.code == "picture_damaged"
    assert gallery.get(saved.id).state == "damaged"


def test_a_large_thumbnail_has_448_pixels_on_its_long_side(gallery, outputs):
    request = GenerationRequest(seed=1)
    saved = outputs.save(
        bytes(1024 * 512 * 3),
        request=request,
        facts={},
        picture=0,
        seed=1,
        job="j",
        elapsed_s=0.0,
        width=1024,
        height=512,
    )
    with Image.open(gallery.thumbnail(saved.id)) as image:
        assert image.size == (limits.THUMBNAIL_SIDE, limits.THUMBNAIL_SIDE // 2)


def test_reconcile_sees_what_came_went_and_changed_outside(gallery, outputs):
    stays, goes, cut = save(outputs, seed=1), save(outputs, seed=2), save(outputs, seed=3)
    moved = save(outputs, seed=4)
    goes.path.unlink()
    cut.path.write_bytes(cut.path.read_bytes()[:-5])
    moved_to = gallery.outputs / ".trash" / moved.path.relative_to(gallery.outputs)
    moved_to.parent.mkdir(parents=True)
    moved.path.rename(moved_to)
    strange = gallery.outputs / "from a friend" / "猫.png"
    strange.parent.mkdir()
    Image.new("RGB", (20, 10)).save(strange)
    changes = gallery.reconcile()
    assert changes.found == (identify("from a friend/猫.png"),)
    assert set(changes.changed) == {goes.id, cut.id, moved.id}
    states = {picture.id: picture.state for picture in gallery.page().items}
    assert states == {stays.id: "ok", goes.id: "missing", cut.id: "damaged", changes.found[0]: "ok"}
    assert ids(gallery.page(trashed=True)) == [moved.id]
    found = gallery.get(changes.found[0])
    assert (found.width, found.height, found.request) == (20, 10, None)
    moved_to.rename(moved.path)
    assert gallery.reconcile().changed == (moved.id,)
    assert not gallery.get(moved.id).trashed


def test_a_picture_that_is_painted_over_outside_gets_its_new_size_and_thumbnail(gallery, outputs):
    saved = save(outputs)
    gallery.thumbnail(saved.id)
    Image.new("RGB", (30, 90), "red").save(saved.path)
    assert gallery.reconcile().changed == (saved.id,)
    picture = gallery.get(saved.id)
    assert (picture.width, picture.height, picture.state) == (30, 90, "ok")
    assert picture.request is not None
    with Image.open(gallery.thumbnail(saved.id)) as image:
        assert image.size == (30, 90)


def test_a_crash_between_moving_and_writing_the_row_is_mended(gallery, outputs):
    one, two = save(outputs, seed=1), save(outputs, seed=2)
    gallery.trash([two.id])
    in_trash = gallery.path(two.id)
    two.path.parent.mkdir(exist_ok=True)
    in_trash.rename(two.path)  # restored, row not written
    (in_trash.parent / one.path.name).write_bytes(one.path.read_bytes())
    one.path.unlink()  # trashed, row not written
    gallery.reconcile()
    assert ids(gallery.page()) == [two.id]
    assert ids(gallery.page(trashed=True)) == [one.id]
    assert gallery.get(one.id).state == "ok"


def test_an_unchanged_folder_is_not_listed_again(gallery, outputs, monkeypatch):
    saved = save(outputs)
    for folder in (saved.path.parent, saved.path.parent.parent, gallery.outputs):
        os.utime(folder, (1_000_000, 1_000_000))  # long settled
    gallery.reconcile()
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert gallery.reconcile() == type(gallery.reconcile())()
    assert listed == []
    saved.path.with_name("new.png").write_bytes(saved.path.read_bytes())
    assert len(gallery.reconcile().found) == 1
    assert [Path(path).name for path in listed] == [saved.path.parent.name]


def test_unfinished_files_of_an_earlier_run_are_removed_and_those_of_this_run_are_not(gallery):
    old = gallery.outputs / ".00001-1.png.abc.part"
    old.write_bytes(b"half")
    from modules.library import atomic

    ours = atomic.part_of(gallery.outputs / "00002-2.png")
    ours.write_bytes(b"half")
    gallery.reconcile()
    assert not old.exists()
    assert ours.exists()


def test_a_picture_saved_while_files_are_compared_keeps_what_its_own_row_knows(gallery, outputs, monkeypatch):
    saved = save(outputs)
    with gallery._database.writing() as connection:
        connection.execute("DELETE FROM pictures")  # the moment between the file and its row
    row = Entry(
        path=saved.path.relative_to(gallery.outputs).as_posix(), width=1, height=1, created_at=0.0, size_bytes=1,
        mtime_ns=1, job="its own",
    )  # fmt: skip
    look = picturefile.look
    monkeypatch.setattr(picturefile, "look", lambda path: gallery.add(row) and look(path))
    assert gallery.reconcile().found == ()
    assert gallery.count() == 1
    assert gallery.get(saved.id).job == "its own"


def test_a_row_that_was_found_first_is_overwritten_by_the_one_that_knows_more(gallery, outputs):
    saved = save(outputs)
    with gallery._database.writing() as connection:
        connection.execute("DELETE FROM pictures")
    assert gallery.reconcile().found == (saved.id,)
    path = saved.path.relative_to(gallery.outputs).as_posix()
    gallery.add(Entry(path=path, width=1, height=1, created_at=0.0, size_bytes=1, mtime_ns=1, job="later", new=True))
    assert gallery.count() == 1
    assert (gallery.get(saved.id).job, gallery.get(saved.id).new) == ("later", True)


def test_a_name_in_the_trash_is_not_given_again_even_without_an_index(tmp_path, gallery, outputs):
    saved = save(outputs, seed=5)
    gallery.trash([saved.id])
    with gallery._database.writing() as connection:
        connection.execute("DELETE FROM pictures")
    assert save(Outputs(gallery, Settings()), seed=5).path.name == "00002-5.png"


def test_rebuild_keeps_ids_requests_order_jobs_and_edges(tmp_path):
    gallery = Gallery(tmp_path, background=False)
    outputs = Outputs(gallery, Settings())
    first = save(outputs, prompt="the first 苹果", seed=1, job="a", facts={"model": "m"})
    second = save(outputs, prompt="the second", seed=2, job="b", parents=[(first.id, "init")])
    third = save(outputs, seed=3)
    gallery.trash([third.id])
    for age_s, one in ((30, first), (20, second)):
        stamp = time.time() - age_s
        os.utime(one.path, (stamp, stamp))
    before = {picture.id: picture for picture in gallery.page().items}
    gallery.close()
    for name in ("gallery.sqlite", "gallery.sqlite-wal", "gallery.sqlite-shm"):
        (tmp_path / ".atelier" / name).unlink(missing_ok=True)
    gallery = Gallery(tmp_path, background=False)
    assert set(gallery.reconcile().found) == {first.id, second.id, third.id}
    assert ids(gallery.page()) == [second.id, first.id]
    assert ids(gallery.page(trashed=True)) == [third.id]
    for picture in gallery.page().items:
        old = before[picture.id]
        assert picture.request == old.request
        assert (picture.seed, picture.job, picture.facts, picture.infotext) == (
            old.seed,
            old.job,
            old.facts,
            old.infotext,
        )
        assert picture.created_at == pytest.approx(old.created_at)
    assert gallery.count("苹果") == 1
    assert [(edge.parent, edge.child) for edge in gallery.edges(first.id)] == [(first.id, second.id)]
    gallery.close()


def test_the_background_thread_finds_files_and_makes_a_backup(tmp_path):
    (tmp_path / "outputs").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "outputs" / "a.png")
    gallery = Gallery(tmp_path)
    for _ in range(200):
        if gallery.count() and (tmp_path / ".atelier" / "gallery.sqlite.backup").exists():
            break
        time.sleep(0.02)
    assert gallery.count() == 1
    assert (tmp_path / ".atelier" / "gallery.sqlite.backup").exists()
    gallery.close()


def test_another_programs_picture_gives_its_settings(gallery):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(
        "parameters",
        "a cat\nNegative prompt: dog\nSteps: 7, Sampler: Euler a, CFG scale: 5, Seed: 99, Size: 64x128, Model: other",
    )
    Image.new("RGB", (64, 128)).save(gallery.outputs / "theirs.png", pnginfo=info)
    (found,) = gallery.reconcile().found
    picture = gallery.get(found)
    assert picture.request is not None
    assert (picture.request.prompt, picture.request.sampling.steps, picture.seed) == ("a cat", 7, 99)
    assert gallery.count("other") == 1


def test_a_request_of_a_later_version_leaves_the_picture_in_the_gallery(gallery, outputs):
    saved = save(outputs)
    with gallery._database.writing() as connection:
        data = {**json.loads(gallery.get(saved.id).request_json), "version": 99}
        connection.execute("UPDATE pictures SET request = ?", (json.dumps(data),))
    assert gallery.page().items[0].request is None
