"""The axes of an X/Y/Z plot: under which names people know them, what their values are, and which fields they set."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modules.core.errors import BadValue
from modules.core.sampling import SAMPLERS, SCHEDULES
from modules.core.sheet import NOTHING
from modules.core.upscaling import UPSCALERS
from modules.planning import ranges

Kind = Literal["nothing", "whole", "number", "text", "name", "switch", "size", "order"]
Data = dict[str, Any]  # a request as plain data
Apply = Callable[[Data, Any], None]

CHEAP, WORDS, PARTS, MODEL = 0.0, 0.2, 0.7, 1.0  # nothing to load; encodes again; loads a part; loads a checkpoint


@dataclass(frozen=True)
class Row:
    """One axis: A1111's ``name`` for it, its ``kind`` of values, and what a value does to a request's plain data.

    ``needs`` names the part of the request without which the axis says nothing ("hires", "refiner", "start", ...);
    ``cost`` grows with what a change of the value loads or computes anew. ``choices`` are the values that there are
    where they are known beforehand; "*" stands for all of them.
    """

    name: str
    kind: Kind
    apply: Apply
    cost: float = CHEAP
    needs: str = ""
    choices: tuple[str, ...] = ()
    library: Literal["", "checkpoints", "vaes", "styles"] = ""  # where the choices are looked up

    def parse(self, text: str, choices: Sequence[str] = ()) -> list[Any]:
        """The axis's values from what was typed; raises BadValue saying which value is none."""
        if self.kind == "nothing":
            return [None]
        if self.kind in ("whole", "number"):
            made: list[Any] = ranges.numbers(text, whole=self.kind == "whole")
            made = [int(value) for value in made] if self.kind == "whole" else made
        else:
            made = [_read(self, value) for value in self._written(text, choices)]
        if self.kind == "order":
            return [*_orders(self._written(text, choices))]
        if not made:
            raise BadValue(f"{self.name} has no values.", "Type some, separated by commas.")
        return made

    def _written(self, text: str, choices: Sequence[str]) -> list[str]:
        known = tuple(choices) or self.choices
        return list(known) if text.strip() == "*" and known else ranges.split(text)


def find(name: str) -> Row:
    """The axis of that name, in any case; raises BadValue naming the nearest."""
    row = _BY_NAME.get(name.strip().lower())
    if row is None:
        nearest = difflib.get_close_matches(name.lower(), _BY_NAME, n=1, cutoff=0)
        hint = f"Did you mean {_BY_NAME[nearest[0]].name}?" if nearest else ""
        raise BadValue(f"There is no axis {name[:60]!r}.", hint)
    return row


def label(row: Row, value: Any) -> str:
    """A value as the sheet's legend writes it."""
    if row.kind in ("nothing",):
        return ""
    if isinstance(value, bool):
        return f"{row.name}: {'yes' if value else 'no'}"
    if row.kind == "order":
        return ", ".join(str(word) for word in value)
    if row.kind == "text":
        return str(value)
    return f"{row.name}: {value:g}" if isinstance(value, float) else f"{row.name}: {value}"


def put(data: Data, path: str, value: Any) -> None:
    """Set a field by its dotted path, in copies of the parts that it lies in."""
    *outer, last = path.split(".")
    place = data
    for name in outer:
        place[name] = dict(place[name] or {})
        place = place[name]
    place[last] = value


def _read(row: Row, value: str) -> Any:
    if row.kind == "switch":
        words = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False,
                 "off": False}  # fmt: skip
        if value.lower() not in words:
            raise BadValue(f"{row.name}: {value[:40]!r} is neither yes nor no.", "Write yes or no.")
        return words[value.lower()]
    if row.kind == "size":
        sides = value.lower().replace("×", "x").split("x")
        if len(sides) != 2 or not all(side.strip().isdecimal() and len(side.strip()) < 6 for side in sides):
            raise BadValue(f"{row.name}: {value[:40]!r} is no size.", "Write width x height, as 512x768.")
        return f"{int(sides[0])}x{int(sides[1])}"
    return value


def _orders(words: Sequence[str]) -> list[list[str]]:
    if len(words) > 5:
        raise BadValue(f"{len(words)} words have too many orders.", "Name at most 5.", high=5)
    return [list(order) for order in itertools.permutations(words)]


def _field(path: str) -> Apply:
    return lambda data, value: put(data, path, value)


def _named(path: str, words: Mapping[str, Any] | None = None) -> Apply:
    """Sets a name; a model's is no longer the one whose hash was kept."""

    def apply(data: Data, value: Any) -> None:
        known = {key.lower(): said for key, said in (words or {}).items()}
        put(data, path, known.get(str(value).lower(), value))
        if path.endswith("checkpoint"):
            put(data, path.replace("checkpoint", "sha256"), None)

    return apply


def _variation(name: str) -> Apply:
    def apply(data: Data, value: Any) -> None:
        data["variation"] = {**(data["variation"] or {"seed": data["seed"], "strength": 0.0}), name: value}

    return apply


def _size(data: Data, value: str) -> None:
    width, height = value.split("x")
    data["size"] = {"width": int(width), "height": int(height)}


def _styles(data: Data, value: str) -> None:
    """A style instead of the form's own; several are joined by a semicolon, none is "None"."""
    names = [name.strip() for name in value.split(";")]
    data["styles"] = [name for name in names if name and name.lower() != "none"]


def _denoise(data: Data, value: float) -> None:
    put(data, "start.denoise_strength" if data["start"] else "hires.denoise_strength", value)


def _sampler(path: str) -> Apply:
    return _named(path, {row.name: row.name for row in SAMPLERS})


def _nothing(data: Data, value: Any) -> None:
    """Leaves all as it is."""


def _extension(name: str, field: str) -> Apply:
    def apply(data: Data, value: Any) -> None:
        own = dict(data["extensions"] or {})
        data["extensions"] = {**own, name: {**(own.get(name) or {}), field: value}}

    return apply


_SAMPLERS, _SCHEDULES = tuple(row.name for row in SAMPLERS), tuple(row.name for row in SCHEDULES)

AXES: tuple[Row, ...] = (
    Row(NOTHING, "nothing", _nothing),
    Row("Seed", "whole", _field("seed")),
    Row("Var. seed", "whole", _variation("seed")),
    Row("Var. strength", "number", _variation("strength")),
    Row("Steps", "whole", _field("sampling.steps")),
    Row("Hires steps", "whole", _field("hires.steps"), needs="hires"),
    Row("CFG Scale", "number", _field("sampling.cfg_scale")),
    Row("Hires CFG Scale", "number", _field("hires.cfg_scale"), needs="hires"),
    Row("Image CFG Scale", "number", _field("start.image_cfg_scale"), needs="start"),
    Row("Prompt S/R", "text", _nothing, WORDS),  # sheets.py: what is sought is the first value
    Row("Prompt order", "order", _nothing, WORDS),
    Row("Sampler", "name", _sampler("sampling.sampler"), choices=_SAMPLERS),
    Row("Hires sampler", "name", _sampler("hires.sampler"), needs="hires", choices=_SAMPLERS),
    Row("Checkpoint name", "name", _named("model.checkpoint"), MODEL, library="checkpoints"),
    Row("Negative Guidance minimum sigma", "number", _extension("ngms", "below")),
    Row("Sigma Churn", "number", _field("sampling.s_churn")),
    Row("Sigma min", "number", _field("sampling.s_tmin")),
    Row("Sigma max", "number", _field("sampling.s_tmax")),
    Row("Sigma noise", "number", _field("sampling.s_noise")),
    Row("Schedule type", "name", _named("sampling.schedule"), choices=_SCHEDULES),
    Row("Schedule min sigma", "number", _field("sampling.sigma_min")),
    Row("Schedule max sigma", "number", _field("sampling.sigma_max")),
    Row("Schedule rho", "number", _field("sampling.rho")),
    Row("Beta schedule alpha", "number", _field("sampling.beta_alpha")),
    Row("Beta schedule beta", "number", _field("sampling.beta_beta")),
    Row("Eta", "number", _field("sampling.eta")),
    Row("Clip skip", "whole", _field("clip_skip"), WORDS),
    Row("Denoising", "number", _denoise, needs="hires or start"),
    Row("Initial noise multiplier", "number", _field("start.noise_multiplier"), needs="start"),
    Row("Extra noise", "number", _field("start.extra_noise"), needs="start"),
    Row("Hires upscaler", "name", _named("hires.upscaler"), needs="hires",
        choices=tuple(row.name for row in UPSCALERS)),
    Row("Hires upscale", "number", _field("hires.scale"), needs="hires"),
    Row("Cond. Image Mask Weight", "number", _field("start.inpaint.conditioning_weight"), needs="mask"),
    Row("VAE", "name", _named("vae", {"Automatic": "", "None": "none"}), PARTS, library="vaes"),
    Row("Styles", "name", _styles, WORDS, library="styles"),
    Row("UniPC Order", "whole", _field("sampling.unipc_order")),
    Row("Always discard next-to-last sigma", "switch", _field("sampling.discard_penultimate")),
    Row("SGM noise multiplier", "switch", _field("sampling.sgm_noise_multiplier")),
    Row("Refiner checkpoint", "name", _named("refiner.checkpoint"), MODEL, needs="refiner", library="checkpoints"),
    Row("Refiner switch at", "number", _field("refiner.switch_at"), needs="refiner"),
    Row("RNG source", "name", _named("noise", {"nv": "nv", "cpu": "cpu", "gpu": "gpu"}), choices=("NV", "CPU", "GPU")),
    Row("Size", "size", _size),
    Row("Tiling", "name", _named("tiling"), PARTS, choices=("none", "both", "x", "y")),
)  # fmt: skip

_BY_NAME = {row.name.lower(): row for row in AXES}
