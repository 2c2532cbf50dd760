"""What leaves the prompt before it is read: comments, and network tags such as ``<lora:name:0.8>``."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from modules.core import limits
from modules.core.errors import BadValue
from modules.prompt import blocks
from modules.prompt.excerpt import Excerpt, keep
from modules.prompt.grammar import When

_TAG: Final = re.compile(r"<(\w++):([^>]++)>")
_COMMENT: Final = re.compile(r"#[^\n]*+")
_MOMENT: Final = re.compile(r"\d{1,4}(?:\.\d*)?|\.\d+")
BEGIN: Final = When(0.0, True)
END: Final = When(1.0, True)
LORA_KINDS: Final = frozenset({"lora", "lyco"})


@dataclass(frozen=True, slots=True)
class Tag:
    """``<kind:one:two:key=value>`` as written, with its place in the text it was taken from."""

    kind: str
    positional: tuple[str, ...]
    named: dict[str, str]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA asked for by a prompt: its name, its strengths for the text encoder and the network, its rank.

    ``blocks`` are its weights in the network's blocks (see `modules.prompt.blocks`), empty for all alike; it acts from
    ``start`` to ``stop`` of each pass.
    """

    name: str
    te: float = 1.0
    unet: float = 1.0
    rank: int | None = None
    blocks: tuple[float, ...] = ()
    start: When = BEGIN
    stop: When = END


def without_comments(text: str) -> Excerpt:
    """Leave out everything from ``#`` to the end of its line, and a line that is only a comment altogether."""
    cuts: list[tuple[int, int]] = []
    for match in _COMMENT.finditer(text):
        start, end = match.span()
        fills_line = start == 0 or text[start - 1] == "\n"
        cuts.append((start, min(end + 1, len(text)) if fills_line else end))
    return keep(text, cuts)


def split(text: str) -> tuple[Excerpt, tuple[Tag, ...]]:
    """Take every ``<kind:arguments>`` out of the text; linear, and never raises."""
    tags: list[Tag] = []
    for match in _TAG.finditer(text, 0, text.rfind(">") + 1):  # without a ">" ahead every "<" would look for it anew
        pieces = [piece.partition("=") for piece in match[2].split(":")]
        tags.append(
            Tag(
                match[1],
                tuple(key for key, equals, _ in pieces if not equals),
                {key.strip(): value for key, equals, value in pieces if equals},
                *match.span(),
            )
        )
    return keep(text, [(tag.start, tag.end) for tag in tags]), tuple(tags)


def loras(tags: Iterable[Tag], *, field: str = "prompt") -> tuple[Lora, ...]:
    """The LoRAs among the tags: ``<lora:name:te:unet:rank>``, where ``te= unet= dyn=`` may stand in any place.

    Without ``unet`` the text encoder's strength holds for both; without any it is 1. Strengths are within +-10.
    ``lbw=`` are block weights, ``start= stop=`` moments (a fraction of the pass with a point, a step without), and
    ``step=0.2-0.8`` says both. Raises BadValue with the code ``bad_tag`` or ``too_many_tags``.
    """
    wanted = [tag for tag in tags if tag.kind.lower() in LORA_KINDS]
    if len(wanted) > limits.NETWORK_TAGS:
        raise BadValue(
            f"The prompt names {len(wanted)} networks; {limits.NETWORK_TAGS} are allowed.",
            "Remove some of the <lora:...> tags.",
            code="too_many_tags", field=field, value=len(wanted), high=limits.NETWORK_TAGS,
        )  # fmt: skip
    return tuple(_lora(tag, field) for tag in wanted)


def _lora(tag: Tag, field: str) -> Lora:
    name, te, unet, rank, *_ = (*tag.positional, *[""] * 4)
    if not name.strip():
        raise _bad_tag(tag, "it has no name", field)
    te_strength = _strength(tag, tag.named.get("te") or te or "1", field)
    unet_strength = _strength(tag, tag.named.get("unet") or unet or str(te_strength), field)
    rank = tag.named.get("dyn") or rank
    if rank and not (rank.isascii() and rank.isdigit() and len(rank) < 6):
        raise _bad_tag(tag, f"{rank[:40]!r} is no rank", field)
    weights = blocks.read(tag.named.get("lbw", "ALL"))
    if weights is None or not all(abs(weight) <= limits.PROMPT_WEIGHT for weight in weights):
        raise _bad_tag(tag, "lbw= takes 12, 17, 20 or 26 numbers within +-10, or a name such as MIDD", field)
    start, _, stop = tag.named.get("step", "").partition("-")
    return Lora(
        name.strip(), te_strength, unet_strength, int(rank) if rank else None,
        weights if "lbw" in tag.named else (),
        _moment(tag, tag.named.get("start") or start or "0.0", field),
        _moment(tag, tag.named.get("stop") or stop or "1.0", field),
    )  # fmt: skip


def _moment(tag: Tag, text: str, field: str) -> When:
    if not _MOMENT.fullmatch(text.strip()):
        raise _bad_tag(tag, f"{text[:40]!r} is no moment: a fraction (0.5) or a step (10)", field)
    return When(float(text), "." in text)


def _strength(tag: Tag, number: str, field: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not abs(value) <= limits.PROMPT_WEIGHT:
        raise _bad_tag(tag, f"{number[:40]!r} is no strength between -10 and 10", field)
    return value


def _bad_tag(tag: Tag, why: str, field: str) -> BadValue:
    shown = f"<{tag.kind}:{':'.join(tag.positional)[:60]}>"
    return BadValue(
        f"The tag {shown} cannot be used: {why}.",
        "Write it as <lora:name:0.8>.",
        code="bad_tag", field=field, tag=shown,
    )  # fmt: skip
