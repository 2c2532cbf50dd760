"""Small pictures for the gallery: made once, kept in a cache that may be deleted at any time."""

import io
from pathlib import Path

from PIL import Image

from modules.core import limits
from modules.library import atomic, picturefile

QUALITY = 82


def place(folder: Path, id: str) -> Path:
    """Where the thumbnail of this picture lies: ``<folder>/<first two of the id>/<id>.webp``."""
    return folder / id[:2] / f"{id}.webp"


def make(source: Path, target: Path) -> Path:
    """Draw the picture file ``source`` as a WebP of at most 448 px a side.

    Raises WorkbenchError for a file that is no picture, is cut short, or has more than 64 megapixels.
    """
    return write(picturefile.decode(source), target)


def write(image: Image.Image, target: Path) -> Path:
    """Write the thumbnail of decoded pixels; ``image`` is left as it is."""
    small = image.convert("RGB") if image.mode != "RGB" else image.copy()
    small.thumbnail((limits.THUMBNAIL_SIDE, limits.THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=QUALITY, method=2)
    atomic.write(target, out.getvalue(), durable=False)
    return target
