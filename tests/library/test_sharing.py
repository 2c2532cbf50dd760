"""Copies to give away: equal pixels, and not a byte that tells anything."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.settings import Settings
from modules.library.index import Gallery
from modules.library.outputs import Outputs
from modules.library.sharing import without_words

SECRET = "canary-prompt-9321"


def pixels_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image), image.info, dict(image.getexif())


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_of_our_own_pictures_nothing_but_pixels_is_left(tmp_path, format):
    gallery = Gallery(tmp_path, background=False)
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    saved = Outputs(gallery, Settings(image_format=format)).save(
        noise, request=GenerationRequest(prompt=SECRET + " 苹果", seed=1), facts={"model": SECRET}, picture=0, seed=1,
        job=SECRET, elapsed_s=1.0,
    )  # fmt: skip
    data, type = gallery.share_copy(saved.id)
    assert type == f"image/{format}"
    before, _, _ = pixels_of(saved.path.read_bytes())
    after, info, exif = pixels_of(data)
    assert np.array_equal(before, after)
    assert exif == {}
    assert set(info) <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "loop",
        "background",
        "duration",
        "timestamp",
    }
    for word in (
        SECRET.encode(),
        SECRET.encode("utf-16-be"),
        SECRET.encode("utf-16-le"),
        b"Atelier",
        b"atelier",
        b"parameters",
    ):
        assert word not in data
    gallery.close()


def with_everything(format):
    image = Image.linear_gradient("L").convert("RGB")
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = SECRET
    exif[ExifTags.Base.GPSInfo] = {1: "N"}
    options = {
        "exif": exif, "xmp": SECRET.encode(), "comment": SECRET.encode(),
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }  # fmt: skip
    if format == "PNG":
        info = PngInfo()
        info.add_text("a", SECRET)
        info.add_text("b", SECRET, zip=True)
        info.add_itxt("c", SECRET)
        info.add(b"prVt", SECRET.encode())
        options = {"pnginfo": info, "exif": exif, "dpi": (72, 72)}
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue() + SECRET.encode() * (format != "WEBP")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_of_foreign_pictures_too(format):
    data = with_everything(format)
    assert SECRET.encode() in data
    clean = without_words(data)
    assert SECRET.encode() not in clean
    assert np.array_equal(pixels_of(clean)[0], pixels_of(data)[0])
    assert pixels_of(clean)[2] == {}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_cut_or_foreign_file_is_refused(format):
    data = without_words(with_everything(format))
    for length in (0, 3, 12, 20, len(data) // 2, len(data) - 3):
        with pytest.raises(WorkbenchError):
            without_words(data[:length])


def test_a_second_picture_behind_the_first_is_left_out():
    data = with_everything("JPEG")
    assert without_words(data + data) == without_words(data)


def test_progressive_jpeg_with_many_scans_keeps_them_all():
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(out, "JPEG", progressive=True, comment=SECRET.encode())
    clean = without_words(out.getvalue())
    assert np.array_equal(pixels_of(clean)[0], pixels_of(out.getvalue())[0])
