"""What is known about one adapter file without opening its weights: from its header, and from what lies beside it."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from modules.core import limits
from modules.core.errors import ModelError
from modules.library import adapterkeys, header
from modules.library.adapterkeys import Shapes

PICTURES: Final = (".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp", ".png", ".jpg", ".jpeg", ".webp")
CARDS: Final = (".json", ".civitai.info")
_TAGS: Final = 24
_VALUE_CHARACTERS: Final = 500
_METADATA_CHARACTERS: Final = 4_000
_FREQUENCY: Final = re.compile(r'"((?:[^"\\]|\\.){1,200})": ?(\d{1,9})\b')


class Facts(NamedTuple):
    """What a file's header says: the ``family`` it was made for, its ``kinds`` ("LoRA", "LoHa" ...) and ``rank``.

    ``embeddings`` are the textual inversions in it: name -> (vectors, their width by text encoder); a file of the
    embeddings folder holds one, under the empty name. ``tags`` are its commonest training tags, ``hash`` the sha256 of
    its payload as its trainer noted it.
    """

    family: str | None = None
    kinds: tuple[str, ...] = ()
    rank: int | None = None
    alias: str = ""
    tags: tuple[str, ...] = ()
    hash: str = ""
    metadata: Mapping[str, str] = {}
    embeddings: Mapping[str, tuple[int, Mapping[str, int]]] = {}


class Card(NamedTuple):
    """What people or model sites wrote about an adapter, in a file beside it."""

    title: str = ""
    words: tuple[str, ...] = ()  # that it listens to
    activation: str = ""  # text to put into the prompt
    negative: str = ""
    weight: float = 0.0  # the preferred strength; 0: none is said
    notes: str = ""
    description: str = ""
    family: str | None = None


def read(path: Path, kind: str) -> Facts:
    """The facts of a "lora" or an "embedding"; raises ModelError for what is neither."""
    found = header.read(path)
    return _embedding(path, found.shapes, found.metadata) if kind == "embedding" else _lora(path, found)


def _lora(path: Path, found: header.Header) -> Facts:
    shapes, said = found.shapes, found.metadata
    places, _ = adapterkeys.groups(shapes)
    kinds = Counter(adapterkeys.kind(group) for group in places.values())
    del kinds[""]
    if not kinds:
        raise ModelError(
            f"The file {path.name} is no LoRA or its kin: no tensor in it names a change of a model.",
            "It may be a checkpoint or another part in the wrong folder.",
            code="adapter_unknown_layout", file=path.name,
        )  # fmt: skip
    bundled: dict[str, Shapes] = {}
    for name, shape in shapes.items():
        if match := adapterkeys.BUNDLED.fullmatch(name):
            bundled[match[1]] = {**bundled.get(match[1], {}), match[2]: shape}
    try:
        family = adapterkeys.family(places, shapes, said)
        rank = adapterkeys.rank(places, shapes)
    except IndexError:
        family, rank = None, None  # misshapen: the engine refuses it by the tensor
    return Facts(
        family=family,
        kinds=tuple(name for name, _ in kinds.most_common()),
        rank=rank,
        alias=said.get("ss_output_name", ""),
        tags=frequent_tags(said.get("ss_tag_frequency", "")),
        hash=_noted_hash(said),
        metadata=_short(said),
        embeddings={name: measured for name, inner in bundled.items() if (measured := vectors(inner))},
    )


def _embedding(path: Path, shapes: Shapes, said: Mapping[str, str]) -> Facts:
    measured = vectors(shapes)
    if measured is None:
        raise ModelError(
            f"The file {path.name} is no textual inversion: its tensors are no vectors of a text encoder.",
            "It may be a LoRA or another part in the wrong folder.",
            code="adapter_unknown_layout", file=path.name,
        )  # fmt: skip
    widths = measured[1]
    by_width = {768: "sd1", 1024: "sd2"}
    family = "sdxl" if len(widths) > 1 else by_width.get(widths["text"])
    return Facts(
        family=family, kinds=("Textual inversion",), alias=said.get("name", ""), metadata=_short(said),
        embeddings={"": measured},
    )  # fmt: skip


def vectors(shapes: Shapes) -> tuple[int, dict[str, int]] | None:
    """How many vectors a textual inversion has, and their width for each text encoder; None where it is none.

    One tensor [vectors width] of whatever name, or [width]; or SDXL's pair ``clip_l`` and ``clip_g``.
    """
    named = {name.rpartition(".")[2]: (1, *shape)[-2:] for name, shape in shapes.items() if 1 <= len(shape) <= 2}
    if {"clip_l", "clip_g"} <= set(named):
        small, large = named["clip_l"], named["clip_g"]
        good = small[0] == large[0] and small[0] > 0 and small[1] and large[1]
        return (small[0], {"text": small[1], "text_2": large[1]}) if good else None
    if len(shapes) == 1 and len(named) == 1:
        count, width = next(iter(named.values()))
        return (count, {"text": width}) if 0 < count <= limits.EMBEDDING_VECTORS and width > 0 else None
    return None


def card(beside: Mapping[str, Path]) -> Card:
    """What the cards say (``beside``: suffix -> file); what a person wrote in .json goes before a site's .info."""
    own, site = (_json(beside[suffix]) if suffix in beside else {} for suffix in CARDS)
    model = site.get("model")
    words = site.get("trainedWords")
    listed = [word for word in cast(list[Any], words) if isinstance(word, str)] if isinstance(words, list) else []
    weight = own.get("preferred weight")
    activation = _text(own.get("activation text"))
    return Card(
        title=_text(cast(dict[str, Any], model).get("name")) if isinstance(model, dict) else "",
        words=tuple(word.strip().strip(",")[:200] for word in listed[:_TAGS] if word.strip()),
        activation=activation or ", ".join(word.strip().strip(",") for word in listed[:1]),
        negative=_text(own.get("negative text")),
        weight=float(weight) if isinstance(weight, int | float) and abs(weight) <= limits.PROMPT_WEIGHT else 0.0,
        notes=_text(own.get("notes")),
        description=_text(own.get("description")) or _text(site.get("description")),
        family=adapterkeys.said({key: str(value)[:80] for key, value in {**site, **own}.items()}),
    )


def frequent_tags(text: str) -> tuple[str, ...]:
    """The commonest tags of kohya's ``ss_tag_frequency`` (JSON, that may have been cut), folders added up."""
    counted: Counter[str] = Counter()
    for tag, number in _FREQUENCY.findall(text):
        counted[re.sub(r"\\(.)", r"\1", tag).strip()] += int(number)
    return tuple(tag for tag, _ in counted.most_common(_TAGS) if tag)


def _noted_hash(said: Mapping[str, str]) -> str:
    noted = said.get("sshs_model_hash", "").lower()
    return noted if re.fullmatch("[0-9a-f]{64}", noted) else ""


def _short(said: Mapping[str, str]) -> dict[str, str]:
    """The short entries: thousands of files are listed from memory."""
    kept: dict[str, str] = {}
    room = _METADATA_CHARACTERS
    for key in sorted(said, key=lambda key: (not key.startswith("modelspec."), key)):
        size = len(key) + len(said[key])
        if len(said[key]) <= _VALUE_CHARACTERS and size <= room:
            kept[key] = said[key]
            room -= size
    return kept


def _json(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= limits.MIB:
            found = json.loads(path.read_text("utf-8", "replace"))
            return cast(dict[str, Any], found) if isinstance(found, dict) else {}
    return {}


def _text(value: Any) -> str:
    """Text as somebody wrote it, shown as text only; halves of surrogate pairs leave."""
    return value.strip()[:2_000].encode("utf-8", "ignore").decode() if isinstance(value, str) else ""


def preview(beside: Mapping[str, Path]) -> Path | None:
    """The picture beside the file."""
    return next((beside[suffix] for suffix in PICTURES if suffix in beside), None)


def suffixes() -> Sequence[str]:
    """Of everything that may lie beside an adapter."""
    return (*CARDS, *PICTURES)
