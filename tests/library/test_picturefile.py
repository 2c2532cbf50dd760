"""Pictures from outside: decoded upright and in sRGB, refused before they cost memory, and known when they are cut."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from modules.core.errors import WorkbenchError
from modules.library import picturefile

SIZE = (24, 16)


def scene(mode="RGB"):
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).astype(np.uint8).reshape(SIZE[1], SIZE[0], 3)
    return Image.fromarray(ramp).convert(mode)


def encoded(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def largest_error(image, wanted):
    return int(abs(np.asarray(image).astype(int) - np.asarray(wanted).astype(int)).max())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("cut", [8, 33, 100, "half", -13, -12, -1])
def test_a_cut_file_is_damaged_and_never_raises(tmp_path, format, cut):
    whole = encoded(scene().resize((200, 150)), format)
    length = len(whole) // 2 if cut == "half" else cut if cut > 0 else len(whole) + cut
    path = tmp_path / "x"
    path.write_bytes(whole)
    assert picturefile.look(path).whole
    path.write_bytes(whole[:length])
    assert not picturefile.look(path).whole


@pytest.mark.parametrize(
    "content", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"\xff" * 30, b"RIFF\xff\xff\xff\xffWEBP", b"\xff\xd8"]
)
def test_rubbish_is_damaged_and_never_raises(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert not picturefile.look(path).whole
    with pytest.raises(WorkbenchError) as caught:
        picturefile.decode(path)
    assert caught.value.status in (415, 422)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(scene(), "PNG", exif=exif)
    with Image.open(io.BytesIO(stored)) as image:
        wanted = ImageOps.exif_transpose(image)
    upright = picturefile.decode(stored)
    assert largest_error(upright, wanted) == 0
    assert upright.getexif().get(0x0112) is None


def test_modes_become_eight_bit_rgb():
    rgb = scene()
    cmyk = encoded(rgb.convert("CMYK"), "JPEG", quality=100, subsampling=0)
    with Image.open(io.BytesIO(cmyk)) as image:
        assert largest_error(picturefile.decode(cmyk), image.convert("RGB")) <= 2
    grey = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[1], SIZE[0])
    decoded = np.asarray(picturefile.decode(encoded(Image.fromarray(grey), "PNG")))
    assert abs(decoded[..., 0].astype(int) - np.round(grey / 257)).max() <= 2
    palette = rgb.quantize(16)
    assert largest_error(picturefile.decode(encoded(palette, "PNG")), palette.convert("RGB")) <= 2
    see_through = rgb.convert("RGBA")
    see_through.putalpha(0)
    assert np.asarray(picturefile.decode(encoded(see_through, "PNG"))).min() == 255
    one_bit = rgb.convert("1")
    assert largest_error(picturefile.decode(encoded(one_bit, "PNG")), one_bit.convert("RGB")) == 0
    for image in (cmyk, encoded(palette, "PNG"), encoded(one_bit, "PNG")):
        assert picturefile.decode(image).mode == "RGB"


def test_a_profile_is_applied_and_a_broken_one_ignored():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert largest_error(picturefile.decode(encoded(scene(), "PNG", icc_profile=profile)), scene()) <= 2
    assert largest_error(picturefile.decode(encoded(scene(), "PNG", icc_profile=b"nonsense")), scene()) == 0


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(1000))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(12_000, 12_000), (20_000, 20_000), (1, 2**31 - 1), (8001, 8000)])
def test_too_many_pixels_are_refused_before_they_cost_memory(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WorkbenchError) as caught:
        picturefile.decode(png_header(*size))
    assert caught.value.status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_a_text_chunk_beyond_pillows_bound_costs_the_text_and_not_the_picture(tmp_path):
    info = PngInfo()
    info.add_itxt("parameters", "a" * 2_000_000, zip=True)
    data = encoded(scene(), "PNG", pnginfo=info)
    assert largest_error(picturefile.decode(data), scene()) == 0
    path = tmp_path / "x.png"
    path.write_bytes(data)
    found = picturefile.look(path)
    assert found.whole
    assert (found.width, found.height) == SIZE


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_of_a_film_the_first_frame_is_taken(format):
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue", "green")]
    film = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    decoded = picturefile.decode(film, ("GIF", "PNG", "WEBP"))
    assert decoded.size == SIZE
    assert largest_error(decoded, frames[0]) <= 4


@pytest.mark.parametrize("content", [b"<svg xmlns='x'/>", b"%PDF-1.7", b"<html>", b"PK\x03\x04", b"GIF89a" + bytes(20)])
def test_other_formats_are_refused_by_content(content):
    with pytest.raises(WorkbenchError) as caught:
        picturefile.decode(content)
    assert (caught.value.status, caught.value.code) == (415, "picture_format")
