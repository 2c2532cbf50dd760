"""Texts in picture files: round trips in three formats, other programs' forms, and hostile files."""

import io
import os
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.core import limits
from modules.library.metadata import Metadata, pack, unpack
from tests.effort import effort

FORMATS = ("png", "jpeg", "webp")
RECORD = {"request": {"prompt": "猫, é\0\ud800", "seed": 1, "steps": [1, 2.5, None]}, "seed": 1}


def saved(format: str, infotext: str = "", record=None) -> bytes:
    options, warnings = pack(format, infotext, record)
    assert not warnings
    return encoded(format, options)


def encoded(format: str, options) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, format.upper(), **options)
    return out.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("infotext", ["", "a cat\nSteps: 20", "猫, \U0001f98a, é\u202e", "x" * 20_000])
@pytest.mark.parametrize("record", [None, {"request": {"prompt": "猫, é"}, "seed": 1}])
def test_round_trip(format, infotext, record):
    data = saved(format, infotext, record)
    assert unpack(data) == Metadata(infotext, record)
    assert Image.open(io.BytesIO(data)).size == (8, 8)


@pytest.mark.parametrize("format", FORMATS)
def test_no_character_loses_the_picture(format, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(saved(format, "a\ud800b", RECORD))
    found = unpack(path)
    assert found.infotext == "a?b"
    assert found.record is not None
    assert found.record["request"]["prompt"].startswith("猫, é\0")


def test_others_read_what_we_write():
    png = Image.open(io.BytesIO(saved("png", "猫\nSteps: 20")))
    assert png.info["parameters"] == "猫\nSteps: 20"
    for format in ("jpeg", "webp"):
        exif = Image.open(io.BytesIO(saved(format, "猫\nSteps: 20"))).getexif()
        raw = exif.get_ifd(0x8769)[0x9286]
        assert raw == b"UNICODE\0" + "猫\nSteps: 20".encode("utf-16-be")


def test_jpeg_out_of_room_keeps_what_fits():
    repeated = {"request": {"prompt": "a cat, " * 5_000}}
    options, warnings = pack("jpeg", "a cat, " * 4_000, repeated)
    assert not warnings  # the record fits once it is compressed
    assert unpack(encoded("jpeg", options)) == Metadata("a cat, " * 4_000, repeated)

    options, warnings = pack("jpeg", "猫" * 40_000, repeated)
    assert [warning.code for warning in warnings] == ["picture_text"]
    assert unpack(encoded("jpeg", options)) == Metadata("", repeated)

    dense = {"x": os.urandom(70_000).hex()}
    options, warnings = pack("jpeg", "a cat", dense)
    assert len(warnings) == 1
    assert unpack(encoded("jpeg", options)) == Metadata("a cat")
    options, _ = pack("jpeg", "猫" * 40_000, dense)
    assert unpack(encoded("jpeg", options)) == Metadata()
    assert unpack(saved("webp", "猫" * 40_000, dense)) == Metadata("猫" * 40_000, dense)


@pytest.mark.parametrize("kind", ["zip", "itxt", "text"])
def test_a_huge_text_is_left_out_with_a_warning(kind):
    info = PngInfo()
    if kind == "text":
        info.add_text("parameters", "a" * 2_000_000)
    elif kind == "zip":
        info.add_text("parameters", "a" * 2_000_000, zip=True)
    else:
        info.add_itxt("parameters", "猫" * 2_000_000, zip=True)
    info.add_itxt("atelier", '{"a": 1}')
    found = unpack(encoded("png", {"pnginfo": info}))
    assert found.infotext == ""
    assert [warning.code for warning in found.warnings] == ["picture_text"]
    assert found.record == {"a": 1}


def test_a_bomb_is_not_unpacked():
    info = PngInfo()
    info.add_text("parameters", "a" * 64_000_000, zip=True)
    data = encoded("png", {"pnginfo": info})
    tracemalloc.start()
    try:
        found = unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert len(found.warnings) == 1


@pytest.mark.parametrize("packed", [True, False])
def test_all_kinds_of_png_text(packed):
    for add in ("add_text", "add_itxt"):
        info = PngInfo()
        getattr(info, add)("parameters", "é cat", zip=packed)
        info.add_text("parameters", "the first one holds")
        assert unpack(encoded("png", {"pnginfo": info})).infotext == "é cat"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"UNICODE\0" + "a cat, 猫".encode("utf-16-le"), "a cat, 猫"),
        (b"ASCII\0\0\0a cat", "a cat"),
        (b"a cat\0", "a cat"),
        (bytes(8) + b"a cat", "a cat"),
        (b"UNICODE\0a", "\ufffd"),
    ],
)
def test_other_programs_comments(raw, text):
    exif = Image.Exif()
    exif[0x8769] = {0x9286: raw, 0x927C: b"Nikon\0\x02"}
    for format in ("jpeg", "webp"):
        assert unpack(encoded(format, {"exif": exif})) == Metadata(text)


def test_a_record_that_is_no_record():
    for written in ("[1]", "1"):
        info = PngInfo()
        info.add_itxt("atelier", written)
        assert unpack(encoded("png", {"pnginfo": info})) == Metadata()
    info = PngInfo()
    info.add_itxt("atelier", '{"a": NaN}')
    found = unpack(encoded("png", {"pnginfo": info}))
    assert found.record is None
    assert len(found.warnings) == 1


def test_a_directory_of_echoes_is_bounded():
    rows = struct.pack(">HHII", 0x9286, 7, 4_000_000, 0) * 65_000
    tiff = b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4) + struct.pack(">H", 65_000) + rows
    data = b"RIFF" + bytes(4) + b"WEBP" + b"EXIF" + struct.pack("<I", len(tiff)) + tiff
    with effort(5.0):
        unpack(data)


def test_floods_are_bounded():
    chunk = struct.pack(">I4s", 0, b"tEXt") + struct.pack(">I", zlib.crc32(b"tEXt"))
    png = b"\x89PNG\r\n\x1a\n" + chunk * 1_000_000
    riff = b"RIFF" + bytes(4) + b"WEBP" + (b"abcd" + bytes(4)) * 1_000_000
    jpeg = b"\xff\xd8" + (b"\xff\xe2\x00\x02") * 1_000_000
    with effort(15.0):
        for data in (png, riff, jpeg, b"", b"GIF89a"):
            assert unpack(data) == Metadata()
    assert len(chunk) * 100_000 < limits.BLOB_BYTES


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMATS), st.data())
def test_any_damage_is_an_answer(format, data):
    raw = bytearray(saved(format, "a cat\nSteps: 20", {"a": 1}))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(12, min(len(raw) - 1, 300)))] = data.draw(st.integers(0, 255))
    unpack(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
