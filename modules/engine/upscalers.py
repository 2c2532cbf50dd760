"""Upscalers from files: loaded when first used, run tile by tile, their seams faded into each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from modules.core.errors import ModelError
from modules.engine.architectures import network_of
from modules.engine.residency import Residency
from modules.engine.upscale import UPSCALERS, Pixels, Upscaler
from modules.library.upscalers import UpscalerFile, Upscalers

TILE, OVERLAP = 192, 8  # pixels before enlarging, as in A1111


class FileUpscaler:
    """One network over pictures of any size; ``check`` raises to stop between two tiles."""

    def __init__(self, network: Any, device: torch.device, check: Callable[[], None]) -> None:
        self._network, self._device, self._check = network, device, check

    def enlarge(self, pixels: Pixels, factor: float) -> Pixels:
        """As `Upscaler.enlarge`, by the network's own factor."""
        height, width, _ = pixels.shape
        scale = self._network.scale
        total = np.zeros((height * scale, width * scale, 3), np.float32)
        weight = np.zeros((height * scale, width * scale, 1), np.float32)
        for top, bottom in spans(height):
            for left, right in spans(width):
                self._check()
                made = self._call(pixels[top:bottom, left:right])
                share = _ramp(top, bottom, height, scale)[:, None, None] * _ramp(left, right, width, scale)[:, None]
                place = np.s_[top * scale : bottom * scale, left * scale : right * scale]
                total[place] += made * share
                weight[place] += share
        return np.rint(total / weight * 255).astype(np.uint8)

    def _call(self, tile: Pixels) -> np.ndarray:
        """A tile [h w 3] -> [h' w' 3] in float32, 0 to 1."""
        x = torch.from_numpy(np.ascontiguousarray(tile)).permute(2, 0, 1)[:, None].to(self._device, torch.float32) / 255
        grey = self._network.input_channels == 1  # then it enlarges each colour alone
        with torch.inference_mode():
            made = self._network(x) if grey else self._network(x.transpose(0, 1)).transpose(0, 1)
        return made[:, 0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()


def spans(length: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along a side: equally long, at most `TILE`, lying over each other by `OVERLAP`."""
    if length <= TILE:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    starts = np.linspace(0, length - TILE, count).round().astype(int)
    return [(int(start), int(start) + TILE) for start in starts]


def finder(files: Upscalers, residency: Residency, check: Callable[[], None]) -> Callable[[str], Upscaler | None]:
    """What finds an upscaler by name: a built-in one, or one from a file, loaded with the first picture."""

    def find(name: str) -> Upscaler | None:
        if name in UPSCALERS:
            return UPSCALERS[name]
        one = files.find(name)
        network = residency.tool((one.path, one.stamp), one.name, lambda: _load(files, one, residency.device))
        return FileUpscaler(network, residency.device, check)

    return find


def _load(files: Upscalers, one: UpscalerFile, device: torch.device) -> Any:
    path = files.weights(one)
    try:
        weights = load_file(path)
    except Exception as problem:  # a file of any bytes
        raise ModelError(
            f"The upscaler {one.path.name} cannot be read.", "Fetch it again from where it came.",
            code="model_damaged", field="upscaler", file=one.path.name,
        ) from problem  # fmt: skip
    with torch.inference_mode(False), torch.no_grad():
        found = network_of(weights, one.path.name)
        return found.to(device, torch.float32)


def _ramp(start: int, end: int, length: int, scale: int) -> np.ndarray:
    """A tile's share along one side: it fades over the overlap, but not at the picture's own edge."""
    fade = np.minimum((np.arange((end - start) * scale) + 0.5) / (OVERLAP * scale), 1).astype(np.float32)
    made = np.ones_like(fade)
    if start > 0:
        made *= fade
    if end < length:
        made *= fade[::-1]
    return made
