"""CIE L*a*b*: the space in which the starter's colours are named, jittered and measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.training.world import Rgb


def lab(colour: NDArray[np.floating[Any]] | Rgb) -> NDArray[np.floating[Any]]:
    """sRGB [... 3] in 0..1 to CIE L*a*b* under D65 (CIE 15:2004, section 8.2.1)."""
    colour = np.asarray(colour)
    linear = np.where(colour <= 0.04045, colour / 12.92, ((np.maximum(colour, 0) + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def distance(one: Rgb, other: Rgb) -> float:
    """CIE 1976 colour difference of two sRGB colours in 0..1."""
    return float(np.linalg.norm(lab(one) - lab(other)))


def towards(start: Rgb, end: Rgb, limit: float) -> Rgb:
    """The colour on the way from `start` to `end` that is at most `limit` (Delta E) from `start`."""
    share = min(1.0, limit / max(distance(start, end), 1e-6))
    while share > 0.01:
        r, g, b = (s + (e - s) * share for s, e in zip(start, end, strict=True))
        if distance(start, (r, g, b)) <= limit:
            return r, g, b
        share *= 0.9
    return start
