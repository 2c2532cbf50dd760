"""What the form needs to know about checkpoints: their defaults, whether a request would run, what it would cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modules.core.errors import WorkbenchError
from modules.core.geometry import Size
from modules.core.request import GenerationRequest
from modules.families.base import Defaults
from modules.planning.check import check, omissions

if TYPE_CHECKING:
    from modules.jobs.studio import Studio

UNKNOWN = Defaults(
    size=Size(width=512, height=512), steps={"draft": 12, "good": 20, "best": 28}, cfg_scale=7.0, sampler="DPM++ 2M"
)

# A checkpoint that lists its vocabulary is one of ours: above 5 its colours go hard (docs/model-card.md).
STARTER_CFG = 4.0


class Models:
    """The library's checkpoints as the form sees them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def own(self) -> str:
        """The name of the checkpoint that "" stands for; "" where there is none."""
        try:
            return self._studio.checkpoints.find("").name
        except WorkbenchError:
            return ""

    def vocabulary(self) -> dict[str, Any] | None:
        """What the program's own checkpoint was taught, where its file says so."""
        try:
            return self._studio.checkpoints.find("").vocabulary
        except WorkbenchError:
            return None

    def defaults(self, name: str) -> Defaults:
        """The defaults of a checkpoint ("" is the program's own): its family's, and what its file and name say."""
        try:
            found = self._studio.checkpoints.find(name or "")
        except WorkbenchError:
            return UNKNOWN
        made = found.defaults or UNKNOWN
        return replace(made, cfg_scale=STARTER_CFG) if found.vocabulary else made

    def refuse(self, request: GenerationRequest) -> None:
        """Raise the first thing that stands in the way of this request, naming its field."""
        for problem in check(request, self._studio.checkpoints, self._studio.blobs):
            raise problem.as_error()
        self._studio.extensions.make(request.extensions)

    def outlook(self, request: GenerationRequest) -> dict[str, Any]:
        """Problems of the request, what it names in vain, and how many seconds it may take (None: nothing learnt)."""
        found = check(request, self._studio.checkpoints, self._studio.blobs)
        problems = [problem.model_dump(mode="json") for problem in found]
        noted = [note.model_dump(mode="json") for note in omissions(request, self._studio.checkpoints)]
        return {
            "problems": problems,
            "notes": noted,
            "estimate_s": None if problems else self._studio.estimate(request),
        }
