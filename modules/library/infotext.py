"""A request as the "parameters" text that A1111 and its kin put into pictures, and such text as a request again."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from modules.core import limits
from modules.core.compat import PRESETS, SWITCHES
from modules.core.errors import BadValue
from modules.core.request import GenerationRequest, Hires, Inpaint, SoftInpaint, StartFrom
from modules.core.sampling import split_sampler_name
from modules.library.recall import Gathering, Recall

PROGRAM: Final = "Atelier"
_NEGATIVE: Final = "Negative prompt:"
_EXTENSION: Final = "Extension "
_FEWEST_PAIRS: Final = 3  # a last line with fewer is prompt
_LAST_LINES: Final = 8  # other programs add lines behind the parameters
_PAIRS_MOST: Final = 2_000  # a picture carries some tens

_PAIR: Final = re.compile(
    r"""(?P<head>[^,:]*+)
    (?: : [ \t]*+
        (?P<value> "(?:\\.|[^\\"])*+" (?=\s*+(?:,|$)) | \{[^{}]*+\} (?=\s*+(?:,|$)) | [^,]*+ )
    )? \s*+ (?:,|$)""",
    re.VERBOSE,
)
_KEY: Final = re.compile(r"\w[\w \-/]+")
_SIZE: Final = re.compile(r"(\d{1,9})x(\d{1,9})")
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?")
_HASHED: Final = re.compile(r"(.*\S)\s*\[[0-9a-f]{6,64}\]")  # "name [hash]", as checkpoints are titled

# A1111's words for our values.
EMPHASIS: Final = {"original": "Original", "no_norm": "No norm", "ignore": "Ignore", "none": "None"}
FILLS: Final = {"fill": "fill", "original": "original", "noise": "latent noise", "nothing": "latent nothing"}
TILING: Final = {"both": "True", "x": "X", "y": "Y"}
_ZERO_SNR: Final = "Zero Terminal SNR"
# Numbers and names that are read as they are written: key, path, kind. Silence means the field's default.
_SAMPLING: Final = (
    ("Sigma churn", "s_churn", float), ("Sigma tmin", "s_tmin", float), ("Sigma tmax", "s_tmax", float),
    ("Sigma noise", "s_noise", float), ("Schedule min sigma", "sigma_min", float),
    ("Schedule max sigma", "sigma_max", float), ("Schedule rho", "rho", float),
    ("Beta schedule alpha", "beta_alpha", float), ("Beta schedule beta", "beta_beta", float),
    ("Discard penultimate sigma", "discard_penultimate", bool), ("SGM noise multiplier", "sgm_noise_multiplier", bool),
    ("UniPC variant", "unipc_variant", str),
    ("UniPC skip type", "unipc_skip", str), ("UniPC order", "unipc_order", int),
    ("UniPC lower order final", "unipc_lower_order_final", bool),
)  # fmt: skip
# What A1111 has of its own and here an extension does: extension -> key, field, kind; without the first there is none.
_EXTENDED: Final = {
    "ngms": (("NGMS", "below", float), ("NGMS all steps", "every_step", bool)),
    "skip-early-cfg": (("Skip Early CFG", "share", float),),
}
EXTENDED_MOST: Final = {"ngms": 15.0, "skip-early-cfg": 1.0}  # the first field's largest value
_HIRES_SIGNS: Final = frozenset({"Hires upscale", "Hires resize", "Hires upscaler", "Hires steps"})
_HIRES_WORDS: Final = {
    "Hires upscaler": "upscaler", "Hires checkpoint": "checkpoint", "Hires sampler": "sampler",
    "Hires schedule type": "schedule", "Hires prompt": "prompt", "Hires negative prompt": "negative_prompt",
}  # fmt: skip
_SOFT: Final = tuple((f"Soft inpainting {name.replace('_', ' ')}", name) for name in SoftInpaint.model_fields)


def write(request: GenerationRequest, facts: Mapping[str, Any], index: int) -> str:
    """The text for picture ``index`` of the request, at most 256 KiB of UTF-8.

    ``facts`` may hold ``model`` (name), ``sha256`` of its file, ``lora_hashes`` and ``ti_hashes`` ({name: hash}) and
    ``version``. Keys, their order and quoting are A1111's; beside them stand ``Compat`` and ``Extension <name>``.
    """
    pairs = _pairs(request, facts, index)
    line = ", ".join(key if key == value else f"{key}: {_quote(value)}" for key, value in pairs)
    prompt, negative = map(_safe, (request.prompt, request.negative_prompt))
    lines = [prompt] if prompt else []
    lines += [f"{_NEGATIVE} {negative}"] if negative else []
    return "\n".join([*lines, line])


def read(text: str) -> Recall:
    """Read any such text, also one that is only a prompt; linear, and never raises.

    Values are checked as the API checks them: one that would be refused there becomes a warning here. A text that does
    not say that this program wrote it gets ``compat`` a1111, since its pictures were made by A1111's rules.
    """
    if len(text) > limits.INFOTEXT_READ_BYTES:
        warning = BadValue("The picture's text is too long to be read.", "It is left out.", code="infotext_too_long")
        return Recall({}, warnings=(warning,))
    prompt, negative, pairs = _split(text.replace("\r\n", "\n"))
    reader = _Reader(pairs)
    reader.take("prompt", prompt)
    if pairs or negative:
        reader.take("negative_prompt", negative)
    if pairs:
        reader.take_all()
    return reader.recall()


def parts(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, pairs as they are written) of such a text; linear, and never raises."""
    prompt, negative, pairs = (
        _split(text.replace("\r\n", "\n")) if len(text) <= limits.INFOTEXT_READ_BYTES else ("", "", {})
    )
    return prompt, negative, pairs


def pairs(text: str) -> dict[str, str]:
    """The pairs alone."""
    return parts(text)[2]


def _pairs(request: GenerationRequest, facts: Mapping[str, Any], index: int) -> list[tuple[str, str]]:
    """Keys and values in A1111's order; what is as A1111 takes it to be in silence is left out."""
    sampling, hires, start = request.sampling, request.hires, request.start
    inpaint = start.inpaint if start else None
    vary = request.variation if request.variation_seeds() else None
    sha256 = str(facts.get("sha256") or request.model.sha256 or "")
    strength = start.denoise_strength if start else hires.denoise_strength if hires else None
    extended = dict(_extended(request))
    listed: list[tuple[str, Any]] = [
        ("Steps", sampling.steps),
        ("Sampler", sampling.sampler),
        ("Schedule type", sampling.schedule),
        ("CFG scale", sampling.cfg_scale),
        ("Image CFG scale", start.image_cfg_scale if start and start.image_cfg_scale != 1.5 else None),
        ("Seed", request.seeds()[index]),
        ("Size", request.size),
        ("Model hash", sha256[:10]),
        ("Model", facts.get("model") or request.model.checkpoint),
        ("VAE hash", str(facts.get("vae_sha256") or "")[:10]),
        ("VAE", request.vae),
        ("Variation seed", request.variation_seeds()[index] if vary else None),
        ("Variation seed strength", vary.strength if vary else None),
        ("Seed resize from", request.seed_resize),
        ("Denoising strength", strength),
        ("Conditional mask weight", _but(inpaint.conditioning_weight, 1.0) if inpaint else None),
        ("Clip skip", request.clip_skip if request.clip_skip > 1 else None),
        ("ENSD", request.ensd or None),
        ("RNG", request.noise.upper()),
        ("NGMS", extended.get("NGMS")),
        ("Tiling", TILING.get(request.tiling)),
        *(_hires(hires, start is not None) if hires else ()),
        ("Refiner", request.refiner.checkpoint if request.refiner else None),
        ("Refiner switch at", request.refiner.switch_at if request.refiner else None),
        *(_inpaint(inpaint) if inpaint else ()),
        ("Noise multiplier", _but(start.noise_multiplier, 1.0) if start else None),
        ("Extra noise", start.extra_noise or None if start else None),
        ("Eta DDIM" if sampling.sampler.startswith("DDIM") else "Eta", sampling.eta),
        *_sampling(request),
        *((key, value) for key, value in extended.items() if key != "NGMS"),
        ("Noise Schedule", _ZERO_SNR if sampling.zero_terminal_snr else None),
        ("Emphasis", EMPHASIS[request.emphasis] if request.emphasis != "original" else None),
        ("Lora hashes", _hashes(facts.get("lora_hashes"))),
        ("TI hashes", _hashes(facts.get("ti_hashes"))),
        *(_soft(inpaint.soft) if inpaint and inpaint.soft else ()),
        ("Template", request.prompt_template),
        ("Negative Template", request.negative_prompt_template),
        *_own(request),
    ]  # fmt: skip
    room = limits.INFOTEXT_WRITTEN_BYTES - 4 * sum(map(len, _texts(request))) - 16_384
    for name, settings in request.extensions.items():
        if _is_extended(name, settings):
            continue
        written = json.dumps(settings, ensure_ascii=False)
        room -= 2 * len(written.encode("utf-8", "replace"))
        if room > 0 and _KEY.fullmatch(_EXTENSION + name):
            listed.append((_EXTENSION + name, written))
    listed.append(("Version", f"{PROGRAM} {facts['version']}" if facts.get("version") else PROGRAM))
    may_be_empty = ("Template", "Negative Template")
    return [
        (key, _shown(value)) for key, value in listed if value is not None and (value != "" or key in may_be_empty)
    ]  # fmt: skip


Pairs = Iterator[tuple[str, Any]]


def _hires(hires: Hires, has_start: bool) -> Pairs:
    sized = hires.width or hires.height
    yield "Hires upscale", None if sized else hires.scale
    yield "Hires resize", f"{hires.width}x{hires.height}" if sized else None
    yield "Hires steps", hires.steps or None
    yield "Hires upscaler", hires.upscaler
    yield "Hires checkpoint", hires.checkpoint
    yield "Hires sampler", hires.sampler
    yield "Hires schedule type", hires.schedule
    yield "Hires prompt", hires.prompt
    yield "Hires negative prompt", hires.negative_prompt
    yield "Hires CFG Scale", hires.cfg_scale
    yield "Hires denoising strength", hires.denoise_strength if has_start else None  # A1111 has one or the other


def _inpaint(inpaint: Inpaint) -> Pairs:
    yield "Mask mode", "Inpaint not masked" if inpaint.invert else None
    yield "Mask blur", inpaint.blur or None
    yield "Inpaint area", "Only masked" if inpaint.area == "masked" else None
    yield "Masked area padding", inpaint.padding if inpaint.area == "masked" else None
    yield "Masked content", FILLS[inpaint.fill] if inpaint.fill != "original" else None


def _sampling(request: GenerationRequest) -> Pairs:
    plain = type(request.sampling)()
    for key, name, _ in _SAMPLING:
        yield key, _but(getattr(request.sampling, name), getattr(plain, name))


def _extended(request: GenerationRequest) -> Pairs:
    """Extensions' settings under A1111's keys."""
    for name, rows in _EXTENDED.items():
        settings = request.extensions.get(name)
        if settings is not None and _is_extended(name, settings):
            yield from ((key, settings[field] or None) for key, field, _ in rows)


def _is_extended(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether A1111's keys say all of an extension's settings."""
    rows = _EXTENDED.get(name, ())
    if not rows or set(settings) != {field for _, field, _ in rows}:
        return False
    first, *others = (settings[field] for _, field, _ in rows)
    is_number = isinstance(first, int | float) and not isinstance(first, bool)
    return is_number and 0 < first <= EXTENDED_MOST[name] and all(isinstance(other, bool) for other in others)


def _soft(soft: SoftInpaint) -> Pairs:
    yield "Soft inpainting enabled", True
    for key, name in _SOFT:
        yield key, getattr(soft, name)


def _own(request: GenerationRequest) -> Pairs:
    """What A1111 has no key for."""
    yield "Styles", _json(request.styles) if request.styles else None
    yield "Combinations", request.combinations or None
    yield "Start", _json(request.start.model_dump(mode="json", exclude_defaults=True)) if request.start else None
    yield "Compat", " ".join(request.compat)


def _but(value: Any, silent: Any) -> Any:
    """The value, unless silence says the same."""
    return None if value == silent else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _texts(request: GenerationRequest) -> list[str]:
    hires = request.hires
    given = (request.prompt, request.negative_prompt, request.prompt_template, request.negative_prompt_template)
    return [text for text in (*given, *((hires.prompt, hires.negative_prompt) if hires else ())) if text]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return _safe(str(value))[:65_536]


def _hashes(hashes: object) -> str:
    known = cast(Mapping[str, object], hashes if isinstance(hashes, Mapping) else {})
    return ", ".join(f"{name}: {digest}" for name, digest in known.items())


def _safe(text: str) -> str:
    """Text that every reader takes: no half surrogates, no NUL, no second line that starts the negative prompt."""
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text.replace(_NEGATIVE, _NEGATIVE.replace(":", " :"))


def _quote(value: str) -> str:
    is_plain = not any(char in value for char in ",:\n\r") and value == value.strip() and value[:1] not in ('"', "{")
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _unquote(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()


def _split(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, pairs): the last line that looks like parameters ends the prompts."""
    lines = text.rstrip().split("\n")
    pairs: dict[str, str] = {}
    for place in range(len(lines) - 1, max(-1, len(lines) - 1 - _LAST_LINES), -1):
        found = dict(_read_pairs(lines[place]))
        if len(found) >= _FEWEST_PAIRS:
            pairs, lines = found, lines[:place]
            break
    else:
        lines = text.split("\n")
    starts = (place for place, line in enumerate(lines) if line.startswith(_NEGATIVE))
    start = next(starts, len(lines))
    negative = "\n".join(lines[start:]).removeprefix(_NEGATIVE)
    return "\n".join(lines[:start]), negative.removeprefix(" "), pairs


def _read_pairs(line: str) -> Iterable[tuple[str, str]]:
    """``key: value`` pairs in order; what is no pair is passed over, as A1111 does."""
    count = 0
    for match in _PAIR.finditer(line):
        if match["value"] is None or not (key := _key(match["head"])):
            continue
        yield key, _unquote(match["value"])
        count += 1
        if count == _PAIRS_MOST:
            return


def _key(head: str) -> str:
    """The key at the end of the text before a colon: word characters, spaces, ``-`` and ``/``, at least two."""
    head = head.strip()
    if _KEY.fullmatch(head):
        return head
    start = len(head)
    while start and (head[start - 1].isalnum() or head[start - 1] in "_ -/"):
        start -= 1
    head = head[start:].lstrip(" -/")
    return head if _KEY.fullmatch(head) else ""


class _Reader(Gathering):
    """Takes pairs one by one into valid fields; what is left over is unknown."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        super().__init__()
        self._left = dict(pairs)
        self._is_ours = pairs.get("Version", "").split(" ")[0] == PROGRAM
        self._known = {"Version": pairs.get("Version", ""), "Model hash": pairs.get("Model hash", "")}

    def take_all(self) -> None:
        # what silence means
        self.fields |= {"clip_skip": 1, "sampling.eta": None, "hires": None, "extensions": {}, "vae": "", "ensd": 0}
        self.fields |= {"variation": None, "seed_resize": None, "refiner": None, "tiling": "none", "styles": []}
        self.fields |= {"emphasis": "original", "combinations": False, "sampling.zero_terminal_snr": False}
        self._number("Steps", "sampling.steps", int)
        self._number("CFG scale", "sampling.cfg_scale", float)
        self._number("Seed", "seed", int)
        self._number("Clip skip", "clip_skip", int)
        self._number("ENSD", "ensd", int)
        self._number("Eta", "sampling.eta", float)
        self._number("Eta DDIM", "sampling.eta", float)
        if sampler := self._left.pop("Sampler", ""):
            name, schedule = split_sampler_name(sampler)
            self.take("sampling.sampler", name)
            self.take("sampling.schedule", self._left.pop("Schedule type", schedule or "Automatic"))
        self._sampling()
        self._size()
        self.take("noise", self._left.pop("RNG", "nv").lower())  # A1111's GPU noise is what NV computes anywhere
        if model := self._left.pop("Model", ""):
            self.take("model.checkpoint", model, "model.sha256", None)
        self._named("VAE", "vae", str)
        self._left.pop("VAE hash", None)
        self._word("Emphasis", "emphasis", EMPHASIS)
        self._word("Tiling", "tiling", TILING)
        self._seeds()
        self._refiner()
        self._starting()
        self._hires()
        self._wording()
        self._compat()
        self._extensions()
        for key in self._known:
            self._left.pop(key, None)

    def _compat(self) -> None:
        """By which program's rules it was made; switches that a later program knows are left out with a warning."""
        said = self._left.pop("Compat", "").split() if self._is_ours else ["a1111"]
        known = [name for name in said if name in SWITCHES or name in PRESETS]
        if len(known) < len(said):
            unknown = ", ".join(name[:40] for name in said if name not in known)
            self.warn(BadValue(f"Rules of compatibility are unknown: {unknown}.", "They are left out."), "compat")
        self.take("compat", known)

    def recall(self) -> Recall:
        return Recall(self.fields, self._left, tuple(self.warnings), self._known["Model hash"], self._known["Version"])

    def _size(self) -> None:
        if not (size := self._left.pop("Size", "")):
            return
        if match := _SIZE.fullmatch(size):
            self.take("size.width", int(match[1]), "size.height", int(match[2]))
        else:
            self.warn(BadValue(f"The size {size[:40]!r} is none.", "Write it as 512x512."), "size")

    def _sampling(self) -> None:
        plain = GenerationRequest(seed=0).sampling
        for key, name, kind in _SAMPLING:
            self.fields[f"sampling.{name}"] = getattr(plain, name)
            self._named(key, f"sampling.{name}", kind)
        if self._left.get("Noise Schedule") == _ZERO_SNR:
            del self._left["Noise Schedule"]
            self.take("sampling.zero_terminal_snr", True)

    def _seeds(self) -> None:
        seed, strength = (self._parse(self._left.get(key, ""), kind) for key, kind in
                          (("Variation seed", int), ("Variation seed strength", float)))  # fmt: skip
        taken = seed is not None and self.take("variation.seed", seed, "variation.strength", strength or 0.0)
        if taken:
            del self.fields["variation"]
            self._drop("Variation seed", "Variation seed strength")
        size = _SIZE.fullmatch(self._left.get("Seed resize from", ""))
        if size and self.take("seed_resize", {"width": int(size[1]), "height": int(size[2])}):
            self._drop("Seed resize from")

    def _refiner(self) -> None:
        if not (name := self._left.pop("Refiner", "")):
            return
        switch = self._parse(self._left.pop("Refiner switch at", ""), float)
        named = _HASHED.fullmatch(name)
        if self.take("refiner.checkpoint", named[1] if named and not self._is_ours else name,
                     "refiner.switch_at", 0.8 if switch is None else switch):  # fmt: skip
            del self.fields["refiner"]

    def _starting(self) -> None:
        """What A1111 says of a starting picture, which itself is not in the text; ours is named in it by its hash."""
        if self._is_ours:
            self.fields["start"] = None
            if written := self._left.pop("Start", ""):
                self._parsed("start", written)
                keys = (*(key for key, _ in _inpaint(Inpaint(mask="0" * 64))), *(key for key, _ in _SOFT))
                self._drop(*keys, "Soft inpainting enabled", "Noise multiplier", "Extra noise", "Image CFG scale",
                           "Conditional mask weight", "Denoising strength")  # fmt: skip
            return
        if "Denoising strength" in self._left and not _HIRES_SIGNS & self._left.keys():
            self._number("Denoising strength", "start.denoise_strength", float)
        self._number("Image CFG scale", "start.image_cfg_scale", float)
        self._number("Noise multiplier", "start.noise_multiplier", float)
        self._number("Extra noise", "start.extra_noise", float)
        self._number("Conditional mask weight", "start.inpaint.conditioning_weight", float)
        if {key for key, _ in _inpaint(Inpaint(mask="0" * 64))} & self._left.keys():
            self._inpainting()
        if self._left.pop("Soft inpainting enabled", "") == "True":
            found = {f"start.inpaint.soft.{name}": self._parse(self._left.pop(key, ""), float) for key, name in _SOFT}
            for path, value in found.items():
                if value is not None:
                    self.take(path, value)

    def _inpainting(self) -> None:
        silent = StartFrom(picture="0" * 64, inpaint=Inpaint(mask="0" * 64)).inpaint or Inpaint(mask="0" * 64)
        for name in ("invert", "blur", "area", "padding", "fill"):
            self.fields[f"start.inpaint.{name}"] = getattr(silent, name)
        self.take("start.inpaint.invert", self._left.pop("Mask mode", "") == "Inpaint not masked")
        self._number("Mask blur", "start.inpaint.blur", int)
        self.take("start.inpaint.area", "masked" if self._left.pop("Inpaint area", "") == "Only masked" else "whole")
        self._number("Masked area padding", "start.inpaint.padding", int)
        self._word("Masked content", "start.inpaint.fill", FILLS)

    def _hires(self) -> None:
        if not _HIRES_SIGNS & self._left.keys():
            return
        scale = self._parse(self._left.pop("Hires upscale", ""), float)
        resize = _SIZE.fullmatch(self._left.get("Hires resize", ""))
        self.fields.pop("hires")
        self.take("hires.scale", 2.0 if scale is None else scale)
        if resize and self.take("hires.width", int(resize[1]), "hires.height", int(resize[2])):
            self._drop("Hires resize")
        self._number("Hires steps", "hires.steps", int)
        self._number("Denoising strength", "hires.denoise_strength", float)
        self._number("Hires denoising strength", "hires.denoise_strength", float)
        self._number("Hires CFG Scale", "hires.cfg_scale", float)
        for key, name in _HIRES_WORDS.items():
            if (text := self._left.pop(key, "")) and not text.startswith("Use same "):
                self.take(f"hires.{name}", text)

    def _wording(self) -> None:
        if not self._is_ours:
            return
        self.fields |= {"prompt_template": None, "negative_prompt_template": None}
        if "Template" in self._left or "Negative Template" in self._left:
            self.take("prompt_template", self._left.pop("Template", ""))
            self.take("negative_prompt_template", self._left.pop("Negative Template", ""))
        if written := self._left.pop("Styles", ""):
            self._parsed("styles", written)
        self._named("Combinations", "combinations", bool)

    def _extensions(self) -> None:
        self._extended()
        for key in [key for key in self._left if self._is_ours and key.startswith(_EXTENSION)]:
            name = key.removeprefix(_EXTENSION)
            try:
                settings = json.loads(self._left[key])
                extensions = {**self.fields.get("extensions", {}), name: settings}
            except (ValueError, RecursionError):
                self.warn(BadValue(f"The settings of {name!r} are not JSON.", "They are left out."), "extensions")
                continue
            del self._left[key]
            self.take("extensions", extensions)

    def _extended(self) -> None:
        """What A1111 has under keys of its own as settings of the extensions that do it here."""
        for name, ((key, field, _), *others) in _EXTENDED.items():
            given = self._parse(self._left.pop(key, ""), float)
            flags = {other: self._left.pop(flag, "") == "True" for flag, other, _ in others}
            if given and given > 0:
                settings = {field: min(given, EXTENDED_MOST[name]), **flags}
                self.take("extensions", {**self.fields.get("extensions", {}), name: settings})

    def _parsed(self, path: str, written: str) -> None:
        """A field whose value is JSON."""
        try:
            self.take(path, json.loads(written))
        except (ValueError, RecursionError):
            self.warn(BadValue(f"What is said of {path} is not JSON.", "It is left out."), path)

    def _word(self, key: str, path: str, words: Mapping[str, str]) -> None:
        """A field that is one of a few words."""
        if text := self._left.pop(key, ""):
            meant = {word.lower(): value for value, word in words.items()}.get(text.lower(), text)
            if not (path == "tiling" and text.lower() == "false"):
                self.take(path, meant)

    def _named(self, key: str, path: str, kind: Callable[[str], Any]) -> None:
        """A field by its kind: a number, a text, or a claim."""
        if kind is bool or kind is str:
            if text := self._left.pop(key, ""):
                self.take(path, text == "True" if kind is bool else text)
        else:
            self._number(key, path, kind)

    def _number(self, key: str, path: str, kind: Callable[[str], float]) -> None:
        if (text := self._left.pop(key, None)) is None:
            return
        value = self._parse(text, kind)
        if value is None:
            self.warn(BadValue(f"{key} is {text[:40]!r}, which is no number.", "It is left out."), path)
        else:
            self.take(path, value)

    def _drop(self, *keys: str) -> None:
        for key in keys:
            self._left.pop(key, None)

    @staticmethod
    def _parse(text: str, kind: Callable[[str], float]) -> float | None:
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        if kind is int and value.is_integer() and abs(value) < 2**53:
            return int(value)
        return None if kind is int else value
