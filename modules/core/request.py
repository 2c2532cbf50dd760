"""GenerationRequest: one picture's recipe as frozen, versioned data, shared by page, API, queue, file and gallery."""

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, JsonValue, ValidationError, field_validator

from modules.core import limits
from modules.core.errors import BadValue
from modules.core.geometry import Size
from modules.core.part import Part
from modules.core.sampling import find_sampler, find_schedule

VERSION = 1
P = TypeVar("P", bound=Part)

Prompt = Annotated[str, Field(max_length=limits.PROMPT_CHARACTERS)]
Name = Annotated[str, Field(max_length=1_000)]
Steps = Annotated[int, Field(ge=limits.STEPS[0], le=limits.STEPS[1])]
Scale = Annotated[float, Field(ge=limits.CFG_SCALE[0], le=limits.CFG_SCALE[1])]


class Sampling(Part):
    """How the walk from noise to picture is made."""

    sampler: Name = "DPM++ 2M"
    schedule: Name = "Automatic"
    steps: Steps = 20
    cfg_scale: Scale = 7.0
    eta: Annotated[float, Field(ge=0.0, le=1.0)] | None = None  # None: the sampler's own

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        return find_sampler(name).name

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return find_schedule(name).name


class Hires(Part):
    """A second pass at a larger size, started from the first pass's latents."""

    scale: Annotated[float, Field(ge=limits.HIRES_SCALE[0], le=limits.HIRES_SCALE[1])] = 2.0
    steps: Annotated[int, Field(ge=0, le=limits.STEPS[1])] = 0  # 0: as many as the first pass
    denoise_strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    upscaler: Literal["Latent"] = "Latent"


class ModelChoice(Part):
    """Which checkpoint: its name in the library, and the sha256 that it had (None: whatever bears the name now)."""

    checkpoint: Name = ""  # empty: the program's default checkpoint
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class GenerationRequest(Part):
    """Everything that decides a picture's pixels, with the seed already concrete.

    ``count`` pictures are made with the seeds ``seed, seed + 1, ...``; ``extensions`` holds extension settings under
    the extension's name, only for those switched on. A later version adds fields with defaults, so that every stored
    request of an earlier one still loads; a stored request of a newer version is refused by name.
    """

    version: Literal[1] = VERSION
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    size: Size = Size(width=512, height=512)
    seed: Annotated[int, Field(ge=limits.SEED[0], le=limits.SEED[1])]
    count: Annotated[int, Field(ge=limits.PICTURES[0], le=limits.PICTURES[1])] = 1
    sampling: Sampling = Sampling()
    model: ModelChoice = ModelChoice()
    clip_skip: Annotated[int, Field(ge=limits.CLIP_SKIP[0], le=limits.CLIP_SKIP[1])] = 1
    noise: Literal["nv", "cpu", "gpu"] = "nv"
    hires: Hires | None = None
    compat: tuple[Literal["a1111"], ...] = ()  # named switches; empty: native
    extensions: dict[str, dict[str, JsonValue]] = Field(default_factory=dict, max_length=limits.EXTENSIONS_PER_REQUEST)

    @field_validator("size")
    @classmethod
    def _within_bounds(cls, size: Size) -> Size:
        low, high = limits.SIDE
        for field, side in (("size.width", size.width), ("size.height", size.height)):
            if not low <= side <= high:
                nearest = min(max(side, low), high)
                raise BadValue(
                    f"{field} is {side}, outside {low}-{high}.", f"Use {nearest}.", field=field,
                    value=side, low=low, high=high, nearest=nearest,
                )  # fmt: skip
        return size

    def seeds(self) -> tuple[int, ...]:
        """One seed a picture, wrapping at 2^32."""
        return tuple((self.seed + index) % (limits.SEED[1] + 1) for index in range(self.count))

    def final_size(self) -> Size:
        """The finished pictures' size in pixels: hires included."""
        return self.size.times(self.hires.scale) if self.hires else self.size

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
        return validated(cls, data)

    def hash(self) -> str:
        """sha256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


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
