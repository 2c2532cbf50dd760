"""GenerationRequest: one picture's recipe as frozen, versioned data, shared by page, API, queue, file and gallery."""

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, JsonValue, ValidationError, ValidationInfo, field_validator, model_validator

from modules.core import limits
from modules.core.compat import Preset, Switch, expanded
from modules.core.errors import BadValue
from modules.core.geometry import Box, Size
from modules.core.part import Part
from modules.core.sampling import find_sampler, find_schedule
from modules.core.sheet import Script, Sheet

VERSION = 1
P = TypeVar("P", bound=Part)

Prompt = Annotated[str, Field(max_length=limits.PROMPT_CHARACTERS)]
Name = Annotated[str, Field(max_length=1_000)]
Steps = Annotated[int, Field(ge=limits.STEPS[0], le=limits.STEPS[1])]
Scale = Annotated[float, Field(ge=limits.CFG_SCALE[0], le=limits.CFG_SCALE[1])]
Seed = Annotated[int, Field(ge=limits.SEED[0], le=limits.SEED[1])]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Sigma = Annotated[float, Field(ge=0.0, le=limits.SIGMA)]


class Sampling(Part):
    """How the walk from noise to picture is made; None is the sampler's or the schedule's own."""

    sampler: Name = "DPM++ 2M"
    schedule: Name = "Automatic"
    steps: Steps = 20
    cfg_scale: Scale = 7.0
    eta: Share | None = None
    # Noise that a sampler adds on its way: as much as s_churn of the step, between s_tmin and s_tmax, times s_noise.
    s_churn: Annotated[float, Field(ge=0.0, le=limits.CHURN)] | None = None
    s_tmin: Sigma | None = None
    s_tmax: Sigma | None = None
    s_noise: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    # The schedule's ends and bend.
    sigma_min: Sigma | None = None
    sigma_max: Sigma | None = None
    rho: Annotated[float, Field(gt=0.0, le=limits.RHO)] | None = None
    beta_alpha: Annotated[float, Field(gt=0.0, le=10.0)] = 0.6
    beta_beta: Annotated[float, Field(gt=0.0, le=10.0)] = 0.6
    discard_penultimate: bool | None = None
    zero_terminal_snr: bool = False  # the noise at the last time is all there is (arXiv:2305.08891, section 3.1)
    sgm_noise_multiplier: bool = False  # start where the network's own x has variance 1
    unipc_order: Annotated[int, Field(ge=1, le=50)] | None = None
    unipc_variant: Literal["bh1", "bh2"] = "bh1"
    unipc_skip: Literal["time_uniform", "time_quadratic", "logSNR"] = "time_uniform"
    unipc_lower_order_final: bool = True

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        return find_sampler(name).name

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return find_schedule(name).name


class Hires(Part):
    """A second pass at a larger size, started from the first pass's picture or latents.

    ``width`` and ``height`` of 0 follow from ``scale``; one of them alone keeps the picture's proportions, both
    together are covered and the rest is cut from the middle. Whatever is empty or None is as in the first pass.
    """

    scale: Annotated[float, Field(ge=limits.HIRES_SCALE[0], le=limits.HIRES_SCALE[1])] = 2.0
    width: Annotated[int, Field(ge=0, le=limits.SIDE[1])] = 0
    height: Annotated[int, Field(ge=0, le=limits.SIDE[1])] = 0
    steps: Annotated[int, Field(ge=0, le=limits.STEPS[1])] = 0  # 0: as many as the first pass
    denoise_strength: Share = 0.7
    upscaler: Name = "Latent"
    sampler: Name = ""
    schedule: Name = ""
    cfg_scale: Scale | None = None
    checkpoint: Name = ""
    sha256: Sha256 | None = None  # the checkpoint's
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    prompt_template: Prompt | None = None  # as typed, before wildcards and styles; None: the prompt itself
    negative_prompt_template: Prompt | None = None
    prompts: Annotated[
        tuple[Prompt, ...], Field(max_length=limits.PICTURES[1])
    ] = ()  # one a picture, where they differ
    negative_prompts: Annotated[tuple[Prompt, ...], Field(max_length=limits.PICTURES[1])] = ()

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        return find_sampler(name, "hires.sampler").name if name else ""

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return find_schedule(name, "hires.schedule").name if name else ""

    def at(self, picture: int) -> "Hires":
        """The pass with one picture's own prompts."""
        own = {name: given[picture] for name, given in (("prompt", self.prompts),
               ("negative_prompt", self.negative_prompts)) if given}  # fmt: skip
        return self.model_copy(update={**own, "prompts": (), "negative_prompts": ()}) if own else self

    def whole(self, size: Size) -> Size:
        """A picture of ``size`` enlarged, before anything is cut from it."""
        if not self.width and not self.height:
            return size.times(self.scale)
        by_width = self.width / size.width, self.width, self.width * size.height / size.width
        by_height = self.height / size.height, self.height * size.width / size.height, self.height
        _, width, height = max(by_width, by_height)
        return Size(width=max(1, int(width)), height=max(1, int(height)))

    def enlarged(self, size: Size) -> Size:
        """A picture of ``size`` after this pass."""
        whole = self.whole(size)
        return Size(width=self.width or whole.width, height=self.height or whole.height)


class ModelChoice(Part):
    """Which checkpoint: its name in the library, and the sha256 that it had (None: whatever bears the name now)."""

    checkpoint: Name = ""  # empty: the program's default checkpoint
    sha256: Sha256 | None = None


class Refiner(Part):
    """A second checkpoint that takes the walk over for good once a share ``switch_at`` of the time is walked."""

    checkpoint: Name
    sha256: Sha256 | None = None
    switch_at: Share = 0.8


class Variation(Part):
    """A second seed whose noise is mixed into the first one's: none of it at ``strength`` 0, nothing else at 1."""

    seed: Seed
    strength: Share = 0.0


class SoftInpaint(Part):
    """A mask that fades instead of a cut: how the old picture is kept under it while walking, and shown after.

    ``schedule_bias`` keeps more at first (above 1) or at last, ``preservation_strength`` keeps more of everything;
    ``transition_contrast_boost`` keeps contrast where old and new mix. The rest decides what is shown: the mask's own
    influence, and from which difference on (``difference_threshold``) and how sharply the new picture shows.
    """

    schedule_bias: Annotated[float, Field(ge=0.0, le=8.0)] = 1.0
    preservation_strength: Annotated[float, Field(ge=0.0, le=8.0)] = 0.5
    transition_contrast_boost: Annotated[float, Field(ge=1.0, le=32.0)] = 4.0
    mask_influence: Share = 0.0
    difference_threshold: Annotated[float, Field(ge=0.0, le=8.0)] = 0.5
    difference_contrast: Annotated[float, Field(ge=0.0, le=8.0)] = 2.0


class Inpaint(Part):
    """Which part is made anew: where the ``mask`` is white, and where the frame reaches past the picture.

    ``mask`` is a picture's hash (white or opaque is made anew), None only with such a frame. ``fill`` is what the part
    starts from, ``area`` says whether the whole picture is walked or only the masked part with ``padding`` pixels
    around it, and ``overlay`` lays the old pixels over the result where nothing was masked.
    """

    mask: Sha256 | None = None
    blur: Annotated[int, Field(ge=0, le=limits.MASK_BLUR)] = 4
    invert: bool = False
    fill: Literal["fill", "original", "noise", "nothing"] = "original"
    area: Literal["whole", "masked"] = "whole"
    padding: Annotated[int, Field(ge=0, le=limits.MASK_PADDING)] = 32
    conditioning_weight: Share = 1.0  # of the mask, for checkpoints made for inpainting
    overlay: bool = True
    soft: SoftInpaint | None = None


class StartFrom(Part):
    """The picture that a walk starts from, by its hash; ``frame`` is the part of it that counts, in its pixels.

    A frame may reach past the picture: what lies outside is made anew. ``resize`` says how the frame becomes the
    request's size where it differs.
    """

    picture: Sha256
    resize: Literal["stretch", "crop", "fill", "latent"] = "crop"
    denoise_strength: Share = 0.75
    exact_steps: bool = False  # walk all steps, not only the strength's share of them
    noise_multiplier: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    extra_noise: Share = 0.0
    image_cfg_scale: Annotated[float, Field(ge=0.0, le=limits.CFG_SCALE[1])] = 1.5  # for checkpoints made for edits
    color_correction: bool = False
    frame: Box | None = None
    inpaint: Inpaint | None = None

    @field_validator("frame")
    @classmethod
    def _within_reach(cls, frame: Box | None) -> Box | None:
        reach = limits.FRAME_REACH
        if frame and (min(frame.width, frame.height) < 1 or _furthest(frame) > reach):
            raise BadValue(f"The frame is empty or reaches further than {reach} pixels.", "Draw it anew.",
                           field="start.frame")  # fmt: skip
        return frame

    @model_validator(mode="after")
    def _something_is_masked(self) -> "StartFrom":
        if self.inpaint and self.inpaint.mask is None and self.frame is None:
            raise BadValue("There is nothing to make anew: no mask is given.", "Paint a mask.",
                           field="start.inpaint.mask")  # fmt: skip
        return self

    def inputs(self) -> tuple[tuple[str, str], ...]:
        """(sha256, role) of the pictures that this needs: "start", "mask"."""
        mask = self.inpaint.mask if self.inpaint else None
        return ((self.picture, "start"), *([(mask, "mask")] if mask else []))


class GenerationRequest(Part):
    """Everything that decides a picture's pixels, with the seed already concrete.

    ``count`` pictures are made with the seeds ``seed, seed + 1, ...``; ``extensions`` holds extension settings under
    the extension's name, only for those switched on. A later version adds fields with defaults, so that every stored
    request of an earlier one still loads; a stored request of a newer version is refused by name.
    """

    version: Literal[1] = VERSION
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    prompt_template: Prompt | None = None  # as typed, before wildcards and styles; None: the prompt itself
    negative_prompt_template: Prompt | None = None
    styles: Annotated[
        tuple[Name, ...], Field(max_length=limits.STYLES)
    ] = ()  # in the prompts, once there is a template
    combinations: bool = False  # of the template's wildcards all of them, one a picture, instead of some by seed
    prompts: Annotated[
        tuple[Prompt, ...], Field(max_length=limits.PICTURES[1])
    ] = ()  # one a picture, where they differ
    negative_prompts: Annotated[tuple[Prompt, ...], Field(max_length=limits.PICTURES[1])] = ()
    size: Size = Size(width=512, height=512)
    seed: Seed
    variation: Variation | None = None
    seed_resize: Size | None = None  # draw the noise at this size, and lay it into the middle
    ensd: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] = 0  # eta noise seed delta: of every draw but the first
    count: Annotated[int, Field(ge=limits.PICTURES[0], le=limits.PICTURES[1])] = 1
    sampling: Sampling = Sampling()
    model: ModelChoice = ModelChoice()
    vae: Name = ""  # empty: automatic; "none": the checkpoint's own
    refiner: Refiner | None = None
    clip_skip: Annotated[int, Field(ge=limits.CLIP_SKIP[0], le=limits.CLIP_SKIP[1])] = 1
    noise: Literal["nv", "cpu", "gpu"] = "nv"
    emphasis: Literal["original", "no_norm", "ignore", "none"] = "original"
    tiling: Literal["none", "both", "x", "y"] = "none"
    start: StartFrom | None = None
    hires: Hires | None = None
    script: Script | None = None  # many pictures that differ on purpose, as typed
    sheet: Sheet | None = None  # what the script came to, a cell a picture; written when the request is queued
    compat: tuple[Switch | Preset, ...] = ()  # named switches (a preset becomes its switches); empty: native
    extensions: dict[str, dict[str, JsonValue]] = Field(default_factory=dict, max_length=limits.EXTENSIONS_PER_REQUEST)

    @field_validator("compat")
    @classmethod
    def _as_switches(cls, names: tuple[str, ...]) -> tuple[Switch, ...]:
        return expanded(names)

    @field_validator("size", "seed_resize")
    @classmethod
    def _within_bounds(cls, size: Size | None, info: ValidationInfo) -> Size | None:
        low, high = limits.SIDE
        sides = ((f"{info.field_name}.{side}", getattr(size, side)) for side in ("width", "height") if size)
        for field, side in sides:
            if not low <= side <= high:
                nearest = min(max(side, low), high)
                raise BadValue(
                    f"{field} is {side}, outside {low}-{high}.", f"Use {nearest}.", field=field,
                    value=side, low=low, high=high, nearest=nearest,
                )  # fmt: skip
        return size

    @model_validator(mode="after")
    def _one_prompt_a_picture(self) -> "GenerationRequest":
        owners = (("", self), *((("hires.", self.hires),) if self.hires else ()))
        for path, owner in owners:
            for name in ("prompts", "negative_prompts"):
                given = len(getattr(owner, name))
                if given not in (0, self.count):
                    raise BadValue(
                        f"{path}{name} holds {given} prompts for {self.count} pictures.", "Give one a picture.",
                        field=path + name,
                    )  # fmt: skip
        if self.sheet and len(self.sheet.cells) != self.count:
            raise BadValue(f"The sheet has {len(self.sheet.cells)} cells for {self.count} pictures.",
                           "Leave the sheet out: it is made from the script.", field="sheet")  # fmt: skip
        return self

    def is_worded(self) -> bool:
        """Whether styles and wildcards are in the prompts already: then the templates say what was typed.

        The prompts of a sheet are its cells' own.
        """
        return self.sheet is not None or self.prompt_template is not None or self.negative_prompt_template is not None

    def at(self, picture: int) -> "GenerationRequest":
        """The request as one of its pictures sees it: with that picture's own prompts. Seed and count stay.

        A cell of a sheet is a whole request of its own, of one picture; the number behind the last cell's is the sheet
        itself as a picture. Raises BadValue where a stored cell is none.
        """
        if self.sheet and picture == len(self.sheet.cells):
            return self
        if self.sheet:
            cell = self.sheet.cells[picture]
            plain = self.model_copy(update={"script": None, "sheet": None, "count": 1, "seed": cell.seed})
            if not cell.changes:
                return plain
            data = {**plain.model_dump(mode="json"), **cell.changes, "script": None, "sheet": None, "count": 1}
            return validated(GenerationRequest, data)
        hires = self.hires.at(picture) if self.hires else None
        if not self.prompts and not self.negative_prompts and hires is self.hires:
            return self
        own = {name: given[picture] for name, given in (("prompt", self.prompts),
               ("negative_prompt", self.negative_prompts)) if given}  # fmt: skip
        return self.model_copy(update={**own, "prompts": (), "negative_prompts": (), "hires": hires})

    def seeds(self) -> tuple[int, ...]:
        """One seed a picture, wrapping at 2^32; with a variation all are one, and its own seeds differ."""
        if self.sheet:
            return tuple(cell.seed for cell in self.sheet.cells)
        return (self.seed,) * self.count if self._varies() else _counted(self.seed, self.count)

    def variation_seeds(self) -> tuple[int, ...]:
        """One seed a picture for the noise that is mixed in; empty where nothing is."""
        if self.sheet:
            return ()  # each cell's own request says it
        return _counted(self.variation.seed, self.count) if self.variation and self._varies() else ()

    def _varies(self) -> bool:
        return self.variation is not None and self.variation.strength > 0

    def final_size(self) -> Size:
        """The finished pictures' size in pixels, hires included.

        Where only the masked part of a picture is made anew, the finished picture is that picture or its frame, which
        this cannot know; planning does.
        """
        return self.hires.enlarged(self.size) if self.hires else self.size

    def parents(self) -> tuple[tuple[str, str], ...]:
        """(sha256, role) of every input picture: what the gallery keeps as lineage."""
        return self.start.inputs() if self.start else ()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, so that equal requests are equal texts."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "GenerationRequest":
        """Read a stored request; raises BadValue naming the field."""
        return cls.from_data(json.loads(text))

    @classmethod
    def from_data(cls, data: Any) -> "GenerationRequest":
        """Validate parsed JSON (lists for tuples allowed); raises BadValue naming the first bad field."""
        version = cast(dict[str, Any], data).get("version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise BadValue(
                f"This request has version {version}; this program knows up to {VERSION}.",
                "Update Atelier to read it.",
                field="version",
            )
        return validated(cls, _without_retired(data))

    def hash(self) -> str:
        """sha256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


_RETIRED = ("s_min_uncond", "s_min_uncond_all", "skip_early_cond")  # of sampling; extensions do that


def _without_retired(data: Any) -> Any:
    """Parsed JSON with fields of earlier requests said as what took their place; anything else unchanged."""
    if not isinstance(data, dict) or not isinstance((request := cast(dict[str, Any], data)).get("sampling"), dict):
        return cast(Any, data)
    sampling: dict[str, Any] = request["sampling"]
    said = {name: value for name, value in sampling.items() if name in _RETIRED}
    if not said:
        return request
    kept = {name: value for name, value in sampling.items() if name not in _RETIRED}
    extensions: dict[str, Any] = {}
    if said.get("s_min_uncond"):
        extensions["ngms"] = {"below": said["s_min_uncond"], "every_step": bool(said.get("s_min_uncond_all"))}
    if said.get("skip_early_cond"):
        extensions["skip-early-cfg"] = {"share": said["skip_early_cond"]}
    given: dict[str, Any] = request.get("extensions") or {}
    return {**request, "sampling": kept, "extensions": {**extensions, **given}}


def _furthest(frame: Box) -> int:
    return max(abs(side) for side in (frame.left, frame.top, frame.width, frame.height))


def _counted(seed: int, count: int) -> tuple[int, ...]:
    return tuple((seed + index) % (limits.SEED[1] + 1) for index in range(count))


def validated(kind: type[P], data: Any) -> P:
    """Validate parsed JSON as ``kind``; raises BadValue with the first problem's field, low, high and nearest."""
    try:
        text = json.dumps(data, ensure_ascii=False)
        return kind.model_validate_json(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadValue("The text holds half of a surrogate pair, which is no character.", "Remove it.") from None
    except ValidationError as problem:
        raise _first_problem(problem) from None


def _first_problem(problem: ValidationError) -> BadValue:
    first = problem.errors(include_url=False)[0]
    context = first.get("ctx", {})
    path = ".".join(str(step) for step in first["loc"])
    low, high = context.get("ge", context.get("gt")), context.get("le", context.get("lt"))
    facts = {key: value for key, value in (("low", low), ("high", high)) if value is not None}
    given = first.get("input")
    if isinstance(given, int | float) and not isinstance(given, bool) and facts:
        facts["value"] = given
        facts["nearest"] = low if low is not None and given < low else high
    hint = f"Use {facts['nearest']}." if "nearest" in facts else "See the API's documentation for this field."
    return BadValue(f"{path or 'The request'}: {first['msg']}.", hint, field=path or None, **facts)
