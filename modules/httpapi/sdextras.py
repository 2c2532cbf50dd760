"""A1111's Extras over HTTP: pictures enlarged by their pixels, one or several in a call."""

import base64
import io
from collections.abc import Callable
from typing import Final, Literal, Self

from fastapi import APIRouter
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, ValidationError

from modules.core import limits, strictjson
from modules.core.errors import BadValue, WorkbenchError
from modules.core.upscaling import UpscalerFacts, find_upscaler
from modules.httpapi.sdpictures import decoded
from modules.httpapi.wire import Json, Raw
from modules.library import metadata, picturefile
from modules.library.blobs import READABLE

_RESAMPLING: Final = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
_NONE: Final = "None"

Enlarge = Callable[[Image.Image, str, int, int], Image.Image]
"""A picture enlarged with an upscaler of that name to a width and a height."""


class Wish(BaseModel):
    """What both routes take, with A1111's defaults; null means the default, unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    resize_mode: Literal[0, 1] = 0
    show_extras_results: bool = True
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0
    codeformer_weight: float = 0
    upscaling_resize: float = 2
    upscaling_resize_w: int = 512
    upscaling_resize_h: int = 512
    upscaling_crop: bool = True
    upscaler_1: str = _NONE
    upscaler_2: str = _NONE
    extras_upscaler_2_visibility: float = 0
    upscale_first: bool = False

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read a body; raises WorkbenchError 400 or 422 naming the field."""
        given = strictjson.loads(raw)
        if not isinstance(given, dict):
            raise BadValue("The body is no object.", "Send one JSON object.")
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise BadValue(f"{name}: {first['msg']}.", "See docs/api.md.", field=name) from None

    def check(self) -> None:
        """Raises BadValue naming the first field that is out of its range or names an upscaler there is none of."""
        for name, low, high in (("upscaling_resize", 0.05, 8.0), ("extras_upscaler_2_visibility", 0.0, 1.0),
                                ("upscaling_resize_w", 1, limits.FRAME_REACH),
                                ("upscaling_resize_h", 1, limits.FRAME_REACH)):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadValue(f"{name} is {value}, outside {low}-{high}.", f"Use {min(max(value, low), high)}.",
                               field=name, low=low, high=high)  # fmt: skip
        for name in ("upscaler_1", "upscaler_2"):
            if find_upscaler(getattr(self, name), name).latent:
                raise BadValue(f"{getattr(self, name)!r} enlarges latents, not pictures.", "Use Lanczos.", field=name)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """What a picture of this size is enlarged to, before anything is cut from it."""
        factor = self.upscaling_resize
        if self.resize_mode == 1:
            factor = max(self.upscaling_resize_w / width, self.upscaling_resize_h / height)
        return max(1, round(width * factor)), max(1, round(height * factor))


class OneWish(Wish):
    """One picture, as base64."""

    image: str = ""


class NamedPicture(BaseModel):
    """A picture of a list, as base64, with its file's name."""

    data: str
    name: str = ""


class ManyWish(Wish):
    """Several pictures."""

    imageList: list[NamedPicture] = []


def router(enlarge: Enlarge | None = None) -> APIRouter:
    """The routes, below the dialect's prefix; ``enlarge`` does what an upscaler from a file does (None: none can)."""
    made = APIRouter()

    @made.post("/extra-single-image")
    def one(raw: Raw) -> Json:
        """Enlarge one picture; its generation data goes along."""
        wish = OneWish.from_json(raw)
        image, about = _enlarged(wish, decoded(wish.image, "image"), enlarge)
        return Json({"html_info": about, "image": image})

    @made.post("/extra-batch-images")
    def many(raw: Raw) -> Json:
        """Enlarge several pictures, answered in their order."""
        wish = ManyWish.from_json(raw)
        found = [_enlarged(wish, decoded(row.data, "imageList"), enlarge) for row in wish.imageList]
        return Json({"html_info": " ".join(dict.fromkeys(about for _, about in found)),
                     "images": [image for image, _ in found]})  # fmt: skip

    return made


def _enlarged(wish: Wish, data: bytes, enlarge: Enlarge | None) -> tuple[str, str]:
    """(base64 PNG, what was done and what could not be) of one picture."""
    wish.check()
    image = picturefile.decode(data, READABLE)
    width, height = wish.size(image.width, image.height)
    if width * height > limits.IMAGE_PIXELS:
        raise BadValue(
            f"{width} x {height} are more than {limits.IMAGE_PIXELS:,} pixels.", "Use a smaller factor.",
            field="upscaling_resize", code="too_many_pixels",
        )  # fmt: skip
    rows = [find_upscaler(name) for name in (wish.upscaler_1, wish.upscaler_2)]
    if rows[0].name != _NONE:
        image = _by(rows[0], image, width, height, enlarge)
        if rows[1].name != _NONE and wish.extras_upscaler_2_visibility:
            source = picturefile.decode(data, READABLE)
            other = _by(rows[1], source, width, height, enlarge)
            image = Image.blend(image, other, wish.extras_upscaler_2_visibility)
        if wish.resize_mode == 1 and wish.upscaling_crop:
            image = ImageOps.fit(image, (wish.upscaling_resize_w, wish.upscaling_resize_h))
    options, _ = metadata.pack("png", _told(wish, rows, metadata.unpack(data).infotext), None)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=picturefile.PNG_LEVEL, **options)
    faces = wish.gfpgan_visibility or wish.codeformer_visibility
    about = f"{image.width}x{image.height}." + (" Faces were not restored: there is no such model." if faces else "")
    return base64.b64encode(out.getvalue()).decode(), about


def _by(row: UpscalerFacts, image: Image.Image, width: int, height: int, enlarge: Enlarge | None) -> Image.Image:
    if row.name in _RESAMPLING:
        return image.resize((width, height), _RESAMPLING[row.name])
    if enlarge is None:
        raise WorkbenchError(
            f"The upscaler {row.name!r} cannot be used over this address.", "Use Lanczos or Nearest.",
            code="no_upscaler", field="upscaler_1", status=501,
        )  # fmt: skip
    return enlarge(image, row.name, width, height)


def _told(wish: Wish, rows: list[UpscalerFacts], text: str) -> str:
    """The picture's infotext with what was done to it, under A1111's keys."""
    if rows[0].name == _NONE:
        return text
    size = (f"Postprocess upscale to: {wish.upscaling_resize_w}x{wish.upscaling_resize_h}" if wish.resize_mode == 1
            else f"Postprocess upscale by: {wish.upscaling_resize:g}")  # fmt: skip
    said = [size, f"Postprocess upscaler: {rows[0].name}"]
    if rows[1].name != _NONE and wish.extras_upscaler_2_visibility:
        said.append(f"Postprocess upscaler 2: {rows[1].name}")
    return ", ".join([text, *said]) if text else ", ".join(said)
