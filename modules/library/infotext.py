"""A request as the "parameters" text that A1111 and its kin put into pictures, and such text as a request again."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from modules.core import limits
from modules.core.errors import BadValue
from modules.core.request import GenerationRequest, Hires, Inpaint, SoftInpaint
from modules.library.infotextkeys import (
    EMPHASIS,
    EXTENDED,
    EXTENDED_MOST,
    EXTENSION,
    FILLS,
    KEY,
    NEGATIVE,
    PROGRAM,
    SAMPLING,
    SOFT,
    TILING,
    ZERO_SNR,
)
from modules.library.infotextreader import Reader, split
from modules.library.recall import Recall


def write(request: GenerationRequest, facts: Mapping[str, Any], index: int) -> str:
    """The text for picture ``index`` of the request, at most 256 KiB of UTF-8.

    ``facts`` may hold ``model`` (name), ``sha256`` of its file, ``lora_hashes`` and ``ti_hashes`` ({name: hash}) and
    ``version``. Keys, their order and quoting are A1111's; beside them stand ``Compat`` and ``Extension <name>``.
    """
    pairs = _pairs(request, facts, index)
    line = ", ".join(key if key == value else f"{key}: {_quote(value)}" for key, value in pairs)
    prompt, negative = map(_safe, (request.prompt, request.negative_prompt))
    lines = [prompt] if prompt else []
    lines += [f"{NEGATIVE} {negative}"] if negative else []
    return "\n".join([*lines, line])


def read(text: str) -> Recall:
    """Read any such text, also one that is only a prompt; linear, and never raises.

    Values are checked as the API checks them: one that would be refused there becomes a warning here. A text that does
    not say that this program wrote it gets ``compat`` a1111, since its pictures were made by A1111's rules.
    """
    if len(text) > limits.INFOTEXT_READ_BYTES:
        warning = BadValue("The picture's text is too long to be read.", "It is left out.", code="infotext_too_long")
        return Recall({}, warnings=(warning,))
    prompt, negative, pairs = split(text.replace("\r\n", "\n"))
    reader = Reader(pairs)
    reader.take("prompt", prompt)
    if pairs or negative:
        reader.take("negative_prompt", negative)
    if pairs:
        reader.take_all()
    return reader.recall()


def parts(text: str) -> tuple[str, str, dict[str, str]]:
    """(prompt, negative prompt, pairs as they are written) of such a text; linear, and never raises."""
    prompt, negative, pairs = (
        split(text.replace("\r\n", "\n")) if len(text) <= limits.INFOTEXT_READ_BYTES else ("", "", {})
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
        ("Noise Schedule", ZERO_SNR if sampling.zero_terminal_snr else None),
        ("Emphasis", EMPHASIS[request.emphasis] if request.emphasis != "original" else None),
        ("Lora hashes", _hashes(facts.get("lora_hashes"))),
        ("TI hashes", _hashes(facts.get("ti_hashes"))),
        *(_soft(inpaint.soft) if inpaint and inpaint.soft else ()),
        ("Template", request.prompt_template),
        ("Negative Template", request.negative_prompt_template),
        ("Hires Template", hires.prompt_template if hires else None),
        ("Hires Negative Template", hires.negative_prompt_template if hires else None),
        *_own(request),
    ]  # fmt: skip
    room = limits.INFOTEXT_WRITTEN_BYTES - 4 * sum(map(len, _texts(request))) - 16_384
    for name, settings in request.extensions.items():
        if _is_extended(name, settings):
            continue
        written = json.dumps(settings, ensure_ascii=False)
        room -= 2 * len(written.encode("utf-8", "replace"))
        if room > 0 and KEY.fullmatch(EXTENSION + name):
            listed.append((EXTENSION + name, written))
    listed.append(("Version", f"{PROGRAM} {facts['version']}" if facts.get("version") else PROGRAM))
    may_be_empty = ("Template", "Negative Template", "Hires Template", "Hires Negative Template")
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
    for key, name, _ in SAMPLING:
        yield key, _but(getattr(request.sampling, name), getattr(plain, name))


def _extended(request: GenerationRequest) -> Pairs:
    """Extensions' settings under A1111's keys."""
    for name, rows in EXTENDED.items():
        settings = request.extensions.get(name)
        if settings is not None and _is_extended(name, settings):
            yield from ((key, settings[field] or None) for key, field, _ in rows)


def _is_extended(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether A1111's keys say all of an extension's settings."""
    rows = EXTENDED.get(name, ())
    if not rows or set(settings) != {field for _, field, _ in rows}:
        return False
    first, *others = (settings[field] for _, field, _ in rows)
    is_number = isinstance(first, int | float) and not isinstance(first, bool)
    return is_number and 0 < first <= EXTENDED_MOST[name] and all(isinstance(other, bool) for other in others)


def _soft(soft: SoftInpaint) -> Pairs:
    yield "Soft inpainting enabled", True
    for key, name in SOFT:
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
    names = ("prompt", "negative_prompt", "prompt_template", "negative_prompt_template")
    return [text for text in (*given, *(getattr(hires, name) for name in names if hires)) if text]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return _readable(str(value))[:65_536]


def _hashes(hashes: object) -> str:
    known = cast(Mapping[str, object], hashes if isinstance(hashes, Mapping) else {})
    return ", ".join(f"{name}: {digest}" for name, digest in known.items())


def _safe(text: str) -> str:
    """A prompt that every reader takes: no line of it starts the negative prompt."""
    return _readable(text).replace(NEGATIVE, NEGATIVE.replace(":", " :"))


def _readable(text: str) -> str:
    """Text without half surrogates and NUL, which no reader takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _quote(value: str) -> str:
    is_plain = not any(char in value for char in ",:\n\r") and value == value.strip() and value[:1] not in ('"', "{")
    return value if is_plain else json.dumps(value, ensure_ascii=False)
