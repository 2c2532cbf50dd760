"""Writing pictures: names, formats, what is inside the files, and that nothing but the disk can lose a picture."""

import os
import sqlite3
import stat

import numpy as np
import pytest
from PIL import ExifTags, Image

from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest, Inpaint, StartFrom
from modules.core.settings import Settings
from modules.library import infotext, metadata, picturefile, thumbnails
from modules.library.index import Gallery
from modules.library.outputs import Outputs

WIDTH, HEIGHT = 40, 24
HARD = "emoji 👩‍🚀, 한국어, e" + "\u0301" * 1000 + ", \u202ertl, 苹果, \x1b[31m\r\n\x00 end"
REQUEST = GenerationRequest(prompt=HARD, negative_prompt="不要", seed=11, count=3)


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path, background=False)
    yield made
    made.close()


def save(gallery, settings=None, pixels=None, request=REQUEST, **facts):
    outputs = Outputs(gallery, settings or Settings())
    made = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3) if pixels is None else pixels
    return outputs.save(made, request=request, facts=facts, picture=1, seed=12, job="j", elapsed_s=0.5)


@pytest.mark.parametrize(("format", "suffix"), [("png", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")])
def test_every_format_carries_infotext_and_the_whole_request(gallery, format, suffix):
    saved = save(gallery, Settings(image_format=format), model="starter", sha256="ab" * 32)
    assert saved.warnings == ()
    assert saved.path.suffix == suffix
    found = picturefile.look(saved.path)
    assert found.whole
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    assert found.record is not None
    assert GenerationRequest.from_data(found.record["request"]) == REQUEST
    assert (found.record["seed"], found.record["picture"], found.record["job"]) == (12, 1, "j")
    assert found.infotext == infotext.write(REQUEST, {"model": "starter", "sha256": "ab" * 32}, 1)
    assert gallery.get(saved.id).request.prompt == HARD


def test_png_pixels_are_exact_and_other_formats_close(gallery):
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    with Image.open(save(gallery, pixels=pixels).path) as image:
        assert np.array_equal(np.asarray(image), pixels)
        assert image.info["parameters"].startswith("emoji")
    flat = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    for format in ("jpeg", "webp"):
        with Image.open(save(gallery, Settings(image_format=format), pixels=flat).path) as image:
            assert abs(np.asarray(image).astype(int) - 128).max() <= 2


def test_jpeg_keeps_infotext_where_other_programs_look(gallery):
    with Image.open(save(gallery, Settings(image_format="jpeg")).path) as image:
        raw = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert raw.startswith(b"UNICODE\0")
    assert raw[8:].decode("utf-16-be").startswith("emoji")


def test_a_jpeg_whose_settings_are_too_long_is_saved_with_fewer(gallery):
    hard = "".join(chr(0x4E00 + (index * 7919) % 20_000) for index in range(18_000))  # does not compress
    long = GenerationRequest(prompt=hard, negative_prompt=hard, seed=11, count=2)
    saved = save(gallery, Settings(image_format="jpeg"), request=long)
    assert [warning.code for warning in saved.warnings] == ["picture_text"]
    with Image.open(saved.path) as image:
        image.load()
    assert gallery.get(saved.id).request == long


def test_metadata_that_cannot_be_packed_is_a_warning(gallery, monkeypatch):
    def broken(*_):
        raise ValueError

    monkeypatch.setattr(metadata, "pack", broken)
    saved = save(gallery)
    assert [warning.code for warning in saved.warnings] == ["metadata_failed"]
    assert picturefile.look(saved.path).whole
    assert gallery.get(saved.id).infotext.startswith("emoji")


def test_bytes_need_their_size(gallery):
    outputs = Outputs(gallery, Settings())
    for width, height in ((None, None), (WIDTH, HEIGHT + 1)):
        with pytest.raises(WorkbenchError, match="are not"):
            outputs.save(bytes(WIDTH * HEIGHT * 3), request=REQUEST, facts={}, picture=0, seed=1, job="j",
                         elapsed_s=0.0, width=width, height=height)  # fmt: skip
    assert gallery.count() == 0


def test_a_side_that_webp_cannot_hold_becomes_png(gallery):
    wide = np.zeros((1, 16_384, 3), dtype=np.uint8)
    assert save(gallery, Settings(image_format="webp"), pixels=wide).path.suffix == ".png"


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": "\ud800"}, {"model": "\ud800"}, {"x": {1, 2}}])
def test_metadata_that_cannot_be_written_never_loses_the_picture(gallery, facts):
    saved = save(gallery, **facts)
    assert saved.path.exists()
    with Image.open(saved.path) as image:
        image.load()
    gallery.reconcile()
    assert gallery.count() == 1


def test_an_infotext_that_fails_is_a_warning(gallery, monkeypatch):
    def broken(*_):
        raise ValueError

    monkeypatch.setattr(infotext, "write", broken)
    saved = save(gallery)
    assert [warning.code for warning in saved.warnings] == ["metadata_failed"]
    assert picturefile.look(saved.path).record is not None


def test_a_thumbnail_that_fails_is_a_warning(gallery, monkeypatch):
    def broken(*_):
        raise OSError("no")

    monkeypatch.setattr(thumbnails, "write", broken)
    saved = save(gallery)
    assert [warning.code for warning in saved.warnings] == ["thumbnail_failed"]
    monkeypatch.undo()
    assert gallery.thumbnail(saved.id).exists()


def test_an_index_that_fails_is_a_warning_and_is_caught_up_with(gallery, monkeypatch):
    outputs = Outputs(gallery, Settings())
    add = gallery.add

    def broken(entry):
        raise sqlite3.OperationalError("database or disk is full")

    def once():
        return outputs.save(bytes(WIDTH * HEIGHT * 3), request=REQUEST, facts={}, picture=0, seed=1, job="j",
                            elapsed_s=0.0, width=WIDTH, height=HEIGHT)  # fmt: skip

    monkeypatch.setattr(gallery, "add", broken)
    first = once()
    assert [warning.code for warning in first.warnings] == ["index_failed"]
    assert first.path.exists()
    monkeypatch.setattr(gallery, "add", add)
    assert once().warnings == ()
    assert gallery.count() == 2


def test_a_name_that_is_taken_is_never_overwritten(gallery):
    outputs = Outputs(gallery, Settings())
    save_one = lambda: outputs.save(  # noqa: E731
        bytes(WIDTH * HEIGHT * 3), request=REQUEST, facts={}, picture=0, seed=1, job="j", elapsed_s=0.0,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    first = save_one()
    foreign = first.path.with_name("00002-1.png")
    foreign.write_bytes(b"somebody else's")
    third = save_one()
    assert third.path.name == "00003-1.png"
    assert foreign.read_bytes() == b"somebody else's"


def test_outputs_that_cannot_be_written_are_noticed_before_the_work(gallery, monkeypatch):
    outputs = Outputs(gallery, Settings())
    outputs.probe()
    assert list(gallery.outputs.iterdir()) == []
    if os.getuid() != 0:
        gallery.outputs.chmod(stat.S_IRUSR | stat.S_IXUSR)
    else:  # root may write anywhere

        def refused(self, *_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.touch", refused)
    with pytest.raises(WorkbenchError) as caught:
        outputs.probe()
    gallery.outputs.chmod(0o755)
    assert caught.value.code == "not_writable"


def test_nothing_is_written_where_the_disk_was_mounted(gallery, monkeypatch):
    outputs = Outputs(gallery, Settings())
    outputs._device += 1  # the folder is on another disk than at the start
    with pytest.raises(WorkbenchError) as caught:
        outputs.save(bytes(3), request=REQUEST, facts={}, picture=0, seed=1, job="j", elapsed_s=0.0, width=1, height=1)
    assert caught.value.code == "not_writable"
    assert list(gallery.outputs.iterdir()) == []


def test_the_same_picture_has_the_same_bytes(gallery):
    """A retry after a crash must give files that are equal to those of an unbroken run, apart from their time."""
    one, two = save(gallery), save(gallery)
    with Image.open(one.path) as first, Image.open(two.path) as second:
        assert first.tobytes() == second.tobytes()
        assert first.info["parameters"] == second.info["parameters"]


def test_what_a_picture_was_made_from_is_kept_as_its_parents(gallery):
    start = StartFrom(picture="a" * 64, inpaint=Inpaint(mask="b" * 64))
    saved = save(gallery, request=REQUEST.model_copy(update={"start": start}))
    wanted = {("a" * 64, "start"), ("b" * 64, "mask")}
    assert {(edge.parent, edge.role) for edge in gallery.edges(saved.id)} == wanted
    assert {edge.child for edge in gallery.edges("a" * 64)} == {saved.id}
