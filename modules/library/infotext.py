"""A request as the "parameters" text that A1111 and its kin put into pictures, and such text as a request again."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from modules.core import limits
from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.sampling import split_sampler_name

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


@dataclass(frozen=True)
class Recall:
    """What a picture's text says.

    ``fields`` are the request's fields by dotted path (``sampling.steps``), each already valid; ``unknown`` the pairs
    that mean nothing here, as written; ``warnings`` name fields whose values could not be used. ``model_hash`` is the
    start of a checkpoint's sha256, ``made_by`` the program's version as written.
    """

    fields: Mapping[str, Any]
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[WorkbenchError, ...] = ()
    model_hash: str = ""
    made_by: str = ""

    def apply(self, base: GenerationRequest) -> GenerationRequest:
        """``base`` with the fields of this text; raises BadValue where they do not fit together."""
        return GenerationRequest.from_data(_overlay(base.model_dump(mode="json"), self.fields))


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


def _pairs(request: GenerationRequest, facts: Mapping[str, Any], index: int) -> list[tuple[str, str]]:
    sampling, hires = request.sampling, request.hires
    sha256 = str(facts.get("sha256") or request.model.sha256 or "")
    listed: list[tuple[str, Any]] = [
        ("Steps", sampling.steps),
        ("Sampler", sampling.sampler),
        ("Schedule type", sampling.schedule),
        ("CFG scale", sampling.cfg_scale),
        ("Seed", request.seeds()[index]),
        ("Size", request.size),
        ("Model hash", sha256[:10]),
        ("Model", facts.get("model") or request.model.checkpoint),
        ("Denoising strength", hires.denoise_strength if hires else None),
        ("Clip skip", request.clip_skip if request.clip_skip > 1 else None),
        ("RNG", request.noise.upper()),
        ("Hires upscale", hires.scale if hires else None),
        ("Hires steps", (hires.steps or None) if hires else None),
        ("Hires upscaler", hires.upscaler if hires else None),
        ("Lora hashes", _hashes(facts.get("lora_hashes"))),
        ("TI hashes", _hashes(facts.get("ti_hashes"))),
        ("Eta DDIM" if sampling.sampler.startswith("DDIM") else "Eta", sampling.eta),
        ("Compat", " ".join(request.compat)),
    ]
    room = limits.INFOTEXT_WRITTEN_BYTES - 4 * (len(request.prompt) + len(request.negative_prompt)) - 16_384
    for name, settings in request.extensions.items():
        written = json.dumps(settings, ensure_ascii=False)
        room -= 2 * len(written.encode("utf-8", "replace"))
        if room > 0 and _KEY.fullmatch(_EXTENSION + name):
            listed.append((_EXTENSION + name, written))
    listed.append(("Version", f"{PROGRAM} {facts['version']}" if facts.get("version") else PROGRAM))
    return [(key, _shown(value)) for key, value in listed if value is not None and value != ""]


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


def _overlay(data: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Put values at dotted paths into nested dicts, in place."""
    for path, value in fields.items():
        *parents, name = path.split(".")
        place = data
        for parent in parents:
            place[parent] = place.get(parent) or {}
            place = place[parent]
        place[name] = value
    return data


class _Reader:
    """Takes pairs one by one into valid fields; what is left over is unknown."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._left = dict(pairs)
        self._fields: dict[str, Any] = {}
        self._warnings: list[WorkbenchError] = []
        self._is_ours = pairs.get("Version", "").split(" ")[0] == PROGRAM
        self._known = {"Version": pairs.get("Version", ""), "Model hash": pairs.get("Model hash", "")}

    def take(self, *names_and_values: Any) -> None:
        """Fields that stand or fall together: path, value, path, value."""
        fields = dict(zip(names_and_values[::2], names_and_values[1::2], strict=True))
        try:
            GenerationRequest.from_data(_overlay({"seed": 0}, fields))
            self._fields |= fields
        except WorkbenchError as problem:
            self._warn(problem, next(iter(fields)))

    def take_all(self) -> None:
        self._fields |= {"clip_skip": 1, "sampling.eta": None, "hires": None, "extensions": {}}  # what silence means
        self._number("Steps", "sampling.steps", int)
        self._number("CFG scale", "sampling.cfg_scale", float)
        self._number("Seed", "seed", int)
        self._number("Clip skip", "clip_skip", int)
        self._number("Eta", "sampling.eta", float)
        self._number("Eta DDIM", "sampling.eta", float)
        if sampler := self._left.pop("Sampler", ""):
            name, schedule = split_sampler_name(sampler)
            self.take("sampling.sampler", name)
            self.take("sampling.schedule", self._left.pop("Schedule type", schedule or "Automatic"))
        self._size()
        self.take("noise", self._left.pop("RNG", "nv").lower())  # A1111's GPU noise is what NV computes anywhere
        if model := self._left.pop("Model", ""):
            self.take("model.checkpoint", model, "model.sha256", None)
        self._hires()
        compat = self._left.pop("Compat", "").split() if self._is_ours else ["a1111"]
        self.take("compat", compat)
        self._extensions()
        for key in self._known:
            self._left.pop(key, None)

    def recall(self) -> Recall:
        return Recall(
            self._fields, self._left, tuple(self._warnings), self._known["Model hash"], self._known["Version"]
        )

    def _size(self) -> None:
        if size := self._left.pop("Size", ""):
            match = _SIZE.fullmatch(size)
            if match:
                self.take("size.width", int(match[1]), "size.height", int(match[2]))
            else:
                self._warn(BadValue(f"The size {size[:40]!r} is none.", "Write it as 512x512."), "size")

    def _hires(self) -> None:
        if not {"Hires upscale", "Hires resize", "Hires upscaler", "Hires steps"} & self._left.keys():
            return
        scale = self._parse(self._left.pop("Hires upscale", ""), float)
        resize = _SIZE.fullmatch(self._left.get("Hires resize", ""))
        if scale is None and resize and "size.width" in self._fields:
            del self._left["Hires resize"]
            scale = max(int(resize[1]) / self._fields["size.width"], int(resize[2]) / self._fields["size.height"])
        self._fields.pop("hires")
        self.take("hires.scale", 2.0 if scale is None else scale)
        self._number("Hires steps", "hires.steps", int)
        self._number("Denoising strength", "hires.denoise_strength", float)
        if upscaler := self._left.pop("Hires upscaler", ""):
            self.take("hires.upscaler", upscaler)

    def _extensions(self) -> None:
        for key in [key for key in self._left if self._is_ours and key.startswith(_EXTENSION)]:
            name = key.removeprefix(_EXTENSION)
            try:
                settings = json.loads(self._left[key])
                extensions = {**self._fields.get("extensions", {}), name: settings}
            except (ValueError, RecursionError):
                self._warn(BadValue(f"The settings of {name!r} are not JSON.", "They are left out."), "extensions")
                continue
            del self._left[key]
            self.take("extensions", extensions)

    def _number(self, key: str, path: str, kind: Callable[[str], float]) -> None:
        if (text := self._left.pop(key, None)) is None:
            return
        value = self._parse(text, kind)
        if value is None:
            self._warn(BadValue(f"{key} is {text[:40]!r}, which is no number.", "It is left out."), path)
        else:
            self.take(path, value)

    @staticmethod
    def _parse(text: str, kind: Callable[[str], float]) -> float | None:
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        if kind is int and value.is_integer() and abs(value) < 2**53:
            return int(value)
        return None if kind is int else value

    def _warn(self, problem: WorkbenchError, path: str) -> None:
        self._warnings.append(
            BadValue(problem.message, problem.hint, code=problem.code, field=problem.field or path, **problem.facts)
        )
