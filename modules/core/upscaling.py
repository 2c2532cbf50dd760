"""The upscalers by name: what the page, the API and infotext need to know without their arithmetic."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from modules.core.errors import BadValue


@dataclass(frozen=True)
class UpscalerFacts:
    """One upscaler as people know it; ``latent`` ones enlarge latents, all others a picture's pixels.

    Of a latent one, ``mode`` and ``antialias`` are torch's words for how it interpolates. Of another, ``factor`` is
    what it enlarges by in one go, 0 where it takes any.
    """

    name: str
    latent: bool = False
    mode: str = ""
    antialias: bool = False
    factor: int = 0


UPSCALERS: list[UpscalerFacts] = [
    UpscalerFacts("Latent", True, "bilinear"),
    UpscalerFacts("Latent (antialiased)", True, "bilinear", True),
    UpscalerFacts("Latent (bicubic)", True, "bicubic"),
    UpscalerFacts("Latent (bicubic antialiased)", True, "bicubic", True),
    UpscalerFacts("Latent (nearest)", True, "nearest"),
    UpscalerFacts("Latent (nearest-exact)", True, "nearest-exact"),
    UpscalerFacts("None"),
    UpscalerFacts("Lanczos"),
    UpscalerFacts("Nearest"),
]

_BUILT_IN = tuple(UPSCALERS)


def set_upscalers(found: Sequence[UpscalerFacts]) -> None:
    """Exactly these stand behind the built-in ones from now on, as files on the disk; a built-in name stays."""
    taken = {row.name.lower() for row in _BUILT_IN}
    UPSCALERS[:] = [*_BUILT_IN, *(row for row in found if row.name.lower() not in taken)]


def find_upscaler(name: str, field: str = "hires.upscaler") -> UpscalerFacts:
    """The upscaler of that name, in any case; raises BadValue naming the nearest."""
    rows = {row.name.lower(): row for row in UPSCALERS}
    if name.lower() in rows:
        return rows[name.lower()]
    near = difflib.get_close_matches(name.lower(), rows, n=1, cutoff=0.0)
    nearest = rows[near[0]].name if near else UPSCALERS[0].name
    raise BadValue(
        f"There is no upscaler named {name!r}.", f"The nearest is {nearest!r}.", field=field, nearest=nearest
    )
