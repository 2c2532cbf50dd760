"""Plan: a request with nothing left to decide; derived by planning, never stored, walked by the engine."""

import hashlib
import json
from typing import Literal

from pydantic import Field, JsonValue

from modules.core.geometry import Size
from modules.core.part import Part
from modules.core.request import GenerationRequest


class VaeFile(Part):
    """An autoencoder that takes the place of a checkpoint's own."""

    name: str
    path: str
    stamp: tuple[int, int]


class ModelFile(Part):
    """A checkpoint as the library saw it: which file, which architecture, and what was decided about it.

    ``stamp`` is (size in bytes, mtime in ns): whoever reads the file later compares it first, because a file replaced
    under its name would make other pictures than its hash says.
    """

    name: str
    path: str
    family: str
    stamp: tuple[int, int]
    sha256: str | None = None  # None while the background hash is not ready
    prediction: Literal["eps", "v", "x0", "flow"] = "eps"
    zero_snr: bool = False  # whether its last time is noise alone
    vae: VaeFile | None = None  # None: its own


class AdapterFile(Part):
    """A LoRA or one of its kin as a prompt asked for it: which file, how strongly on which part, and when.

    ``te`` and ``unet`` are strengths on the text encoders and on the network, ``blocks`` weights in the network's
    blocks (see `modules.prompt.blocks`), ``rank`` how much of its rank is used (None: all). It acts from ``start`` to
    ``stop`` of each pass, as shares; ``pictures`` are those it is for, None for all of the job.
    """

    name: str
    path: str
    stamp: tuple[int, int]
    family: str | None = None  # that it was made for, where its file says so
    sha256: str | None = None
    short_hash: str = ""  # 12 digits as infotext writes them; empty while nobody knows
    te: float = 1.0
    unet: float = 1.0
    rank: int | None = None
    blocks: tuple[float, ...] = ()
    start: float = 0.0
    stop: float = 1.0
    pictures: tuple[int, ...] | None = None


class EmbeddingFile(Part):
    """A textual inversion that a prompt names: the ``word``, and its ``vectors`` many vectors.

    ``bundled`` is its name inside an adapter's file, empty for a file of its own.
    """

    word: str
    path: str
    stamp: tuple[int, int]
    vectors: int
    bundled: str = ""
    short_hash: str = ""


class Remark(Part):
    """Something that the plan leaves out, for the pictures' owner to hear: the job goes on without it."""

    code: str
    message: str
    hint: str = ""
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class Enlarging(Part):
    """How the pass before becomes this one's start: by which upscaler, and how large it is before its middle is cut."""

    upscaler: str
    canvas: Size


class Pass(Part):
    """One walk from noise to latents: txt2img is one, hires is two; later passes start from the pass before.

    ``size`` is what the picture will have, ``canvas`` what the network sees (padded to the family's multiple),
    ``start`` where x comes from: noise, the request's picture, or the latents of the pass before, enlarged.
    ``denoise_strength`` says how much of the schedule is walked; ``exact_steps`` stretches the schedule so that all
    steps are. ``refiner`` takes over for good at ``switch_at`` of the time (0-1).
    """

    model: str  # a key of Plan.models
    start: Literal["noise", "picture", "latents"]
    size: Size
    canvas: Size
    prompt: str = ""
    negative_prompt: str = ""
    sampler: str
    schedule: str
    steps: int
    cfg_scale: float
    denoise_strength: float = 1.0
    exact_steps: bool = False
    enlarging: Enlarging | None = None
    refiner: str | None = None  # a key of Plan.models
    switch_at: float = 1.0


class Plan(Part):
    """Everything the engine needs: models by key, passes in order, and which pictures with which seeds.

    ``pictures`` are the indexes still to be made (a retry after a crash leaves out the finished ones); ``seeds`` has
    one seed for each of them, in the same order, and so has ``variation_seeds`` where noise is mixed in. The request
    rides along for everything that is the same in all passes, for extensions and metadata.
    """

    request: GenerationRequest
    models: dict[str, ModelFile]
    passes: tuple[Pass, ...]
    pictures: tuple[int, ...]
    seeds: tuple[int, ...]
    variation_seeds: tuple[int, ...] = ()
    numerics: str = "auto"  # the named profile of dtypes and attention, see modules.engine
    adapters: tuple[AdapterFile, ...] = ()
    embeddings: tuple[EmbeddingFile, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def hash(self) -> str:
        """sha256 over everything that decides pixels: the cache key."""
        data = self.model_dump(mode="json", exclude={"pictures", "remarks"})
        return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
