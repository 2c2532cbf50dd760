"""Input pictures: kept once by content, refused before they are decoded, whole or not at all."""

import hashlib
import io
import threading

import pytest
from PIL import Image

from modules.core import limits
from modules.core.errors import NotFound, WorkbenchError
from modules.library.blobs import Blobs, sniff


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def picture(format="PNG", **options):
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(out, format, **options)
    return out.getvalue()


def test_a_size_is_the_upright_one(blobs):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    out = io.BytesIO()
    Image.new("RGB", (40, 20)).save(out, "JPEG", exif=exif)
    sha256 = blobs.put(out.getvalue())
    size = blobs.size(sha256)
    assert (size.width, size.height) == (20, 40) == blobs.open(sha256).size


def test_a_mask_is_its_alpha_where_that_says_anything_else_its_brightness(blobs):
    painted = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    painted.paste((0, 0, 0, 255), (0, 0, 4, 8))
    opaque = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    opaque.paste((255, 255, 255, 255), (0, 0, 4, 8))
    empty = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    kept = []
    for image in (painted, opaque, empty):
        out = io.BytesIO()
        image.save(out, "PNG")
        kept.append(blobs.put(out.getvalue()))
    assert [blobs.mask_range(one) for one in kept] == [(0, 255), (0, 255), (0, 0)]
    assert blobs.mask(kept[0]).tobytes() == blobs.mask(kept[1]).tobytes()


def test_a_second_reader_leaves_alone_what_is_being_received(blobs):
    with blobs.receive() as incoming:
        incoming.write(picture())
        reader = Blobs(blobs.folder, reads_only=True)
        sha256 = incoming.finish()
    assert reader.get(sha256).is_file()


def files(blobs):
    return [path for path in blobs.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_picture_is_kept_once_under_its_hash(blobs, format):
    data = picture(format)
    sha256 = blobs.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert blobs.put(data[at : at + 100] for at in range(0, len(data), 100)) == sha256
    assert blobs.get(sha256).read_bytes() == data
    assert len(files(blobs)) == 1
    assert blobs.get(sha256).parent.name == sha256[:2]
    image = blobs.open(sha256)
    assert (image.mode, image.size) == ("RGB", (256, 256))
    assert sniff(data[:16]) == f"image/{format.lower()}"


def test_orientation_is_applied_when_it_is_opened(blobs):
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "JPEG", exif=exif)
    assert blobs.open(blobs.put(out.getvalue())).size == (20, 30)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 415), (b"<svg/>", 415), (b"%PDF-1.7 ", 415), (b"<html></html>", 415), (b"PK\x03\x04" + bytes(50), 415),
        (b"\0\0\0\x18ftypheic" + bytes(50), 415), (picture()[:-1], 422), (picture()[:40], 422),
        (picture("JPEG")[:-1], 422), (picture("WEBP")[:-2], 422),
    ],
)  # fmt: skip
def test_what_is_no_whole_picture_is_refused_by_content(blobs, content, status):
    with pytest.raises(WorkbenchError) as caught:
        blobs.put(content)
    assert caught.value.status == status
    assert caught.value.hint
    assert files(blobs) == []


def test_too_many_bytes_are_refused_at_the_bound(blobs):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += limits.MIB
            yield bytes(limits.MIB)

    with pytest.raises(WorkbenchError) as caught:
        blobs.put(endless())
    assert caught.value.status == 413
    assert taken == limits.BLOB_BYTES + limits.MIB
    assert files(blobs) == []


def test_too_many_pixels_are_refused(blobs):
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, "PNG")
    with pytest.raises(WorkbenchError) as caught:
        blobs.put(out.getvalue())
    assert caught.value.status == 413
    assert files(blobs) == []


def test_an_upload_that_breaks_off_leaves_nothing(blobs):
    def broken():
        yield picture()[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put(broken())
    assert files(blobs) == []


def test_what_an_earlier_run_left_is_removed(blobs):
    (blobs.folder / "incoming").mkdir(parents=True)
    (blobs.folder / "incoming" / "abc.part").write_bytes(b"half")
    assert files(Blobs(blobs.folder)) == []


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "A" * 64, "0" * 63, "/etc/passwd", "0" * 64 + "\n"])
def test_a_hash_that_is_none_finds_nothing(blobs, name):
    with pytest.raises(NotFound):
        blobs.get(name)


def test_the_same_picture_from_many_sides_at_once(blobs):
    data, hashes = picture(), []
    threads = [threading.Thread(target=lambda: hashes.append(blobs.put(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashes) == 8
    assert len(set(hashes)) == len(files(blobs)) == 1
