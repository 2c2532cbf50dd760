"""Colour correction: a result in the colours of the picture that it was made from, keeping its own light and dark."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.950456, 1.0, 1.088754])  # D65
_LUMINOSITY = np.array([0.3, 0.59, 0.11])  # the weights of the W3C's Compositing and Blending, section 10


def corrected(result: Pixels, reference: Pixels) -> Pixels:
    """``result`` [h w 3] with the reference's histograms in 8-bit L*a*b*, then with its own luminosity again."""
    own, wanted = _to_lab(result), _to_lab(reference)
    matched = np.stack([_matched(own[..., k], wanted[..., k]) for k in range(3)], -1)
    return _with_luminosity(_from_lab(matched), result)


def _matched(values: Floats, reference: Floats) -> Floats:
    """Each value becomes the one at the same rank of the reference: Gonzalez and Woods, histogram specification."""
    _, places, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    known, known_counts = np.unique(reference.ravel(), return_counts=True)
    ranks, known_ranks = np.cumsum(counts) / values.size, np.cumsum(known_counts) / reference.size
    return np.interp(ranks, known_ranks, known)[places].reshape(values.shape)


def _with_luminosity(colours: Floats, light: Pixels) -> Pixels:
    """Hue and saturation of sRGB ``colours`` in 0 to 1, luminosity of ``light``, brought back into range."""
    made = colours + ((light / 255.0 - colours) @ _LUMINOSITY)[..., None]
    luminosity = (made @ _LUMINOSITY)[..., None]
    low, high = made.min(-1, keepdims=True), made.max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.where(low < 0, luminosity + (made - luminosity) * luminosity / (luminosity - low), made)
        made = np.where(high > 1, luminosity + (made - luminosity) * (1 - luminosity) / (high - luminosity), made)
    return np.rint(np.clip(np.nan_to_num(made), 0, 1) * 255).astype(np.uint8)


def _to_lab(pixels: Pixels) -> Floats:
    """sRGB -> 8-bit L*a*b* as image programs keep it: L * 255 / 100, a + 128, b + 128, whole numbers (CIE 15:2004)."""
    scaled = pixels / 255.0
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T / _WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    light = 116 * f[..., 1] - 16
    lab = np.stack([light * 2.55, 500 * (f[..., 0] - f[..., 1]) + 128, 200 * (f[..., 1] - f[..., 2]) + 128], -1)
    return np.rint(np.clip(lab, 0, 255))


def _from_lab(lab: Floats) -> Floats:
    """8-bit L*a*b* -> sRGB in 0 to 1."""
    fy = (lab[..., 0] / 2.55 + 16) / 116
    f = np.stack([fy + (lab[..., 1] - 128) / 500, fy, fy - (lab[..., 2] - 128) / 200], -1)
    xyz = np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) * _WHITE
    linear = np.clip(xyz @ np.linalg.inv(_XYZ).T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
