"""Reading A1111's "parameters" text: the last line's pairs, taken one by one into fields that are each valid."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from modules.core.compat import PRESETS, SWITCHES
from modules.core.errors import BadValue
from modules.core.request import GenerationRequest, Inpaint, StartFrom
from modules.core.sampling import split_sampler_name
from modules.library.infotextkeys import (
    EMPHASIS,
    EXTENDED,
    EXTENDED_MOST,
    EXTENSION,
    FILLS,
    HIRES_SIGNS,
    HIRES_WORDS,
    KEY,
    MASKED,
    NEGATIVE,
    PROGRAM,
    SAMPLING,
    SIZE,
    SOFT,
    TILING,
    ZERO_SNR,
)
from modules.library.recall import Gathering, Recall

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
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?")
_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_HASHED: Final = re.compile(r"(.*\S)\s*\[[0-9a-f]{6,64}\]")  # "name [hash]", as checkpoints are titled


def _unquote(value: str) -> str:
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()


def split(text: str) -> tuple[str, str, dict[str, str]]:
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
    starts = (place for place, line in enumerate(lines) if line.startswith(NEGATIVE))
    start = next(starts, len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE)
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
    if KEY.fullmatch(head):
        return head
    start = len(head)
    while start and (head[start - 1].isalnum() or head[start - 1] in "_ -/"):
        start -= 1
    head = head[start:].lstrip(" -/")
    return head if KEY.fullmatch(head) else ""


class Reader(Gathering):
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
        self._older()
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

    def _older(self) -> None:
        """A1111's rules of earlier days, which are not ours: said, since the picture will come out otherwise."""
        match = _VERSION.match(self._known["Version"])
        if self._is_ours or match is None:
            return
        version = tuple(int(part) for part in match.groups())
        sampler = self.fields.get("sampling.sampler", "")
        rules = [
            (version < (1, 6, 0) and "[" in self.fields.get("prompt", "") and "hires" not in self.fields,
             "schedules in the prompt went on counting in the hires pass"),
            (version < (1, 6, 0) and sampler in ("DDIM", "PLMS"), "DDIM and PLMS padded prompts to one length"),
            (version < (1, 8, 0) and "refiner" not in self.fields, "the refiner took over by steps, not by noise"),
        ]  # fmt: skip
        for holds, rule in rules:
            if holds:
                self.warn(BadValue(f"It was made by A1111 {match[0].lstrip('v')}, where {rule}; it may come out "
                                   "differently here.", "Compare it with the picture.", code="older_rules",
                                   version=match[0].lstrip("v")), "compat")  # fmt: skip

    def recall(self) -> Recall:
        return Recall(self.fields, self._left, tuple(self.warnings), self._known["Model hash"], self._known["Version"])

    def _size(self) -> None:
        if not (size := self._left.pop("Size", "")):
            return
        if match := SIZE.fullmatch(size):
            self.take("size.width", int(match[1]), "size.height", int(match[2]))
        else:
            self.warn(BadValue(f"The size {size[:40]!r} is none.", "Write it as 512x512."), "size")

    def _sampling(self) -> None:
        plain = GenerationRequest(seed=0).sampling
        for key, name, kind in SAMPLING:
            self.fields[f"sampling.{name}"] = getattr(plain, name)
            self._named(key, f"sampling.{name}", kind)
        if self._left.get("Noise Schedule") == ZERO_SNR:
            del self._left["Noise Schedule"]
            self.take("sampling.zero_terminal_snr", True)

    def _seeds(self) -> None:
        seed, strength = (self._parse(self._left.get(key, ""), kind) for key, kind in
                          (("Variation seed", int), ("Variation seed strength", float)))  # fmt: skip
        taken = seed is not None and self.take("variation.seed", seed, "variation.strength", strength or 0.0)
        if taken:
            del self.fields["variation"]
            self._drop("Variation seed", "Variation seed strength")
        size = SIZE.fullmatch(self._left.get("Seed resize from", ""))
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
                soft = (key for key, _ in SOFT)
                self._drop(*MASKED, *soft, "Soft inpainting enabled", "Noise multiplier", "Extra noise",
                           "Image CFG scale", "Conditional mask weight", "Denoising strength")  # fmt: skip
            return
        if "Denoising strength" in self._left and not HIRES_SIGNS & self._left.keys():
            self._number("Denoising strength", "start.denoise_strength", float)
        self._number("Image CFG scale", "start.image_cfg_scale", float)
        self._number("Noise multiplier", "start.noise_multiplier", float)
        self._number("Extra noise", "start.extra_noise", float)
        self._number("Conditional mask weight", "start.inpaint.conditioning_weight", float)
        if not self._left.keys().isdisjoint(MASKED):
            self._inpainting()
        if self._left.pop("Soft inpainting enabled", "") == "True":
            found = {f"start.inpaint.soft.{name}": self._parse(self._left.pop(key, ""), float) for key, name in SOFT}
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
        if not HIRES_SIGNS & self._left.keys():
            return
        scale = self._parse(self._left.pop("Hires upscale", ""), float)
        resize = SIZE.fullmatch(self._left.get("Hires resize", ""))
        self.fields.pop("hires")
        self.take("hires.scale", 2.0 if scale is None else scale)
        if resize and self.take("hires.width", int(resize[1]), "hires.height", int(resize[2])):
            self._drop("Hires resize")
        self._number("Hires steps", "hires.steps", int)
        self._number("Denoising strength", "hires.denoise_strength", float)
        self._number("Hires denoising strength", "hires.denoise_strength", float)
        self._number("Hires CFG Scale", "hires.cfg_scale", float)
        for key, name in HIRES_WORDS.items():
            if (text := self._left.pop(key, "")) and not text.startswith("Use same "):
                self.take(f"hires.{name}", text)

    def _wording(self) -> None:
        if not self._is_ours:
            return
        self.fields |= {"prompt_template": None, "negative_prompt_template": None}
        if "Template" in self._left or "Negative Template" in self._left:
            self.take("prompt_template", self._left.pop("Template", ""))
            self.take("negative_prompt_template", self._left.pop("Negative Template", ""))
        for key, path in (("Hires Template", "hires.prompt_template"),
                          ("Hires Negative Template", "hires.negative_prompt_template")):  # fmt: skip
            if key in self._left:
                self.take(path, self._left.pop(key))
        if written := self._left.pop("Styles", ""):
            self._parsed("styles", written)
        self._named("Combinations", "combinations", bool)

    def _extensions(self) -> None:
        self._extended()
        for key in [key for key in self._left if self._is_ours and key.startswith(EXTENSION)]:
            name = key.removeprefix(EXTENSION)
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
        for name, ((key, field, _), *others) in EXTENDED.items():
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
