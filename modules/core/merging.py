"""MergeRequest: how a new checkpoint is made of others, as frozen data that the queue stores."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from modules.core import limits
from modules.core.errors import BadValue
from modules.core.part import Part
from modules.core.request import Name, validated

Method = Literal["weighted", "difference", "none"]
Precision = Literal["fp32", "fp16", "bf16"]
Amount = Annotated[float, Field(ge=limits.MERGE_AMOUNT[0], le=limits.MERGE_AMOUNT[1])]
Strength = Annotated[float, Field(ge=-limits.PROMPT_WEIGHT, le=limits.PROMPT_WEIGHT)]

_NO_FILE_NAME = '<>:"/\\|?*'  # Windows forbids them in names; two of them lead into other folders everywhere
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


class BakedLora(Part):
    """A LoRA that becomes part of the checkpoint.

    ``weight`` is its strength, ``text_weight`` that on the text encoders where it differs; ``blocks`` a preset's name
    or numbers as in the tag's ``lbw`` (see `modules.prompt.blocks`).
    """

    name: Name
    weight: Strength = 1.0
    text_weight: Strength | None = None
    blocks: Annotated[str, Field(max_length=limits.BLOCK_WEIGHTS_CHARACTERS)] = ""


class MergeRequest(Part):
    """One merge. ``a``, ``b`` and ``c`` are checkpoints by name or hash.

    ``method``: "weighted" is A (1 - m) + B m, "difference" A + m (B - C), "none" A itself. m is ``amount``, or the
    block's own in ``blocks``: BASE (text encoders and autoencoder) first, then the UNet's blocks in order; empty: one
    for all. ``vae`` takes the place of A's own. ``prune`` leaves out what no network reads, as a training's averages.
    """

    kind: Literal["merge"] = "merge"
    name: str
    a: Name
    b: Name = ""
    c: Name = ""
    method: Method = "weighted"
    amount: Amount = 0.3
    blocks: Annotated[tuple[Amount, ...], Field(max_length=limits.MERGE_BLOCKS)] = ()
    loras: Annotated[tuple[BakedLora, ...], Field(max_length=limits.NETWORK_TAGS)] = ()
    vae: Name = ""
    precision: Precision = "fp16"
    prune: bool = True

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, name: str) -> str:
        has_control = any(ord(letter) < 32 for letter in name)
        if not name or name != name.strip(" .") or has_control or set(name) & set(_NO_FILE_NAME):
            raise BadValue(
                f"{name[:80]!r} is no file's name.", f"Leave out {' '.join(_NO_FILE_NAME)} and points at its ends.",
                field="name",
            )  # fmt: skip
        if name.lower().split(".")[0] in _DEVICES or name.lower().endswith((".vae", ".safetensors")):
            raise BadValue(
                f"The name {name!r} means something else.", "Choose another; its ending comes by itself.", field="name"
            )
        if len(name.encode("utf-8", "replace")) > limits.MERGE_NAME_BYTES:
            raise BadValue("The name is too long.", f"Use at most {limits.MERGE_NAME_BYTES} bytes.", field="name")
        return name

    @model_validator(mode="after")
    def _has_its_sources(self) -> "MergeRequest":
        needed = {"weighted": ("a", "b"), "difference": ("a", "b", "c"), "none": ("a",)}[self.method]
        for letter in needed:
            if not getattr(self, letter):
                raise BadValue(f"The model {letter.upper()} is missing.", "Choose one.", field=letter)
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The checkpoints that the method reads, A first."""
        return {"weighted": (self.a, self.b), "difference": (self.a, self.b, self.c), "none": (self.a,)}[self.method]

    def to_json(self) -> str:
        """Canonical JSON, as GenerationRequest's."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_data(cls, data: Any) -> "MergeRequest":
        """Validate parsed JSON; raises BadValue naming the first bad field."""
        return validated(cls, data)
