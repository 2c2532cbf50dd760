"""Previews: a small JPEG of the picture as it stands, often enough to watch and never dear or harmful to the job."""

import io
import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from modules.core import limits
from modules.core.events import Preview
from modules.core.geometry import Box, Size
from modules.engine.decode import finish
from modules.engine.preview_decoder import load_preview_decoder
from modules.engine.residency import Loaded
from modules.families.base import Model

FOLDER = "preview"
QUALITY = 75
FIRST_S = 0.01  # what a preview is expected to cost before one was drawn
PATCH = 8  # latent pixels a side, decoded once a model where it has no preview decoder
_log = logging.getLogger(__name__)


class Previewer:
    """Draws previews of one job: at most 5 a second, and at most 3% of the job's time.

    A preview that fails is logged once, and the job goes on without previews.
    """

    def __init__(self, emit: Callable[[Preview], None], enabled: bool = True) -> None:
        self._emit = emit
        self._enabled = enabled
        self._began = time.monotonic()
        self._spent_s = 0.0
        self._dearest_s = FIRST_S
        self._last = self._began

    def offer(self, loaded: Loaded, x0: Tensor, picture: int, canvas: Size, box: Box) -> None:
        """Show x0 [1 c h w] as a preview of the picture, if its turn has come."""
        now = time.monotonic()
        budget_s = limits.PREVIEW_SHARE * (now - self._began)
        too_dear = self._spent_s + self._dearest_s > budget_s
        if not self._enabled or too_dear or now - self._last < 1 / limits.PREVIEWS_PER_SECOND:
            return
        try:
            self._emit(self._drawn(loaded, x0, picture, canvas, box))
        except Exception:
            _log.exception("previews are off for this job")
            self._enabled = False
        self._last = time.monotonic()
        self._spent_s += self._last - now
        self._dearest_s = max(self._dearest_s, self._last - now)

    def _drawn(self, loaded: Loaded, x0: Tensor, picture: int, canvas: Size, box: Box) -> Preview:
        small = _small(loaded, x0)
        shown = _fit(box)
        scale = small.shape[-1] / canvas.width
        whole = Image.fromarray(finish(small[0].float().cpu(), _all(small), truncate=False))
        edges = (box.left * scale, box.top * scale, box.right * scale, box.bottom * scale)
        cut = whole.resize((shown.width, shown.height), Image.Resampling.BICUBIC, box=edges)
        file = io.BytesIO()
        cut.save(file, "JPEG", quality=QUALITY)
        return Preview(picture=picture, width=shown.width, height=shown.height, jpeg=file.getvalue())


def _small(loaded: Loaded, x0: Tensor) -> Tensor:
    """By the family's own way, by the preview decoder beside the checkpoint, or along a straight line."""
    small = loaded.model.preview(x0)
    if small is not None:
        return small
    if loaded.preview is None:
        file = decoder_file(Path(loaded.file.path))
        loaded.preview = load_preview_decoder(file, str(x0.device)) if file else _straight(loaded.model)
    return loaded.preview(x0.float())


def decoder_file(checkpoint: Path) -> Path | None:
    """The preview decoder of a checkpoint: the file of its name in a folder ``preview`` beside it or its folder."""
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        file = folder / FOLDER / f"{checkpoint.stem}.safetensors"
        if file.is_file():
            return file
    return None


def _straight(model: Model) -> Callable[[Tensor], Tensor]:
    rows = model.family.latent.rgb
    line = torch.tensor(rows) if rows else fitted_line(model)
    return lambda latents: by_line(latents, line)


def by_line(x0: Tensor, line: Tensor) -> Tensor:
    """x0 [b c h w] -> colours [b 3 h w] along a straight line [c + 1, 3]."""
    line = line.to(x0.device)
    return torch.einsum("bchw,cd->bdhw", x0.float(), line[:-1]) + line[-1][None, :, None, None]


def fitted_line(model: Model) -> Tensor:
    """The straight line from latent to colour that comes nearest to the model's own decoder: [c + 1, 3], bias last.

    By least squares over one decoded patch of smooth random latents, each set against the mean colour of its pixels.
    """
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, model.family.latent.channels, 6, 6, generator=draw) * 1.3
    latents = functional.interpolate(coarse, size=(PATCH, PATCH), mode="bicubic").to(model.device)
    colours = functional.avg_pool2d(model.decode(latents).clamp(-1, 1), model.family.latent.downscale)
    given = torch.cat([latents.flatten(2)[0], torch.ones(1, PATCH**2, device=latents.device)]).T.float().cpu()
    return torch.linalg.lstsq(given, colours.flatten(2)[0].T.float().cpu()).solution


def _fit(box: Box) -> Size:
    """The picture's size, made to fit into the largest preview."""
    return Size(width=box.width, height=box.height).times(min(1.0, limits.PREVIEW_SIDE / max(box.width, box.height)))


def _all(picture: Tensor) -> Box:
    return Box(left=0, top=0, width=picture.shape[-1], height=picture.shape[-2])
