"""What a picture file says about how it was made, whoever made it: our record, A1111's text, or another program's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import WorkbenchError
from modules.core.request import GenerationRequest
from modules.library import foreign, infotext, metadata
from modules.library.foreign import stealth
from modules.library.foreign.gathered import mapping
from modules.library.infotextkeys import PROGRAM
from modules.library.recall import Recall


@dataclass(frozen=True)
class Told:
    """What was found: ``recall`` (None: nothing), our own ``request`` with its ``seed`` where this program made it.

    ``infotext`` is the text that was read, "" where it was another program's data; ``program`` who made it.
    """

    recall: Recall | None = None
    request: GenerationRequest | None = None
    seed: int | None = None
    infotext: str = ""
    program: str = ""
    warnings: tuple[WorkbenchError, ...] = ()


def from_file(source: Path | bytes) -> Told:
    """Read a picture file; never raises for what it holds, OSError for a path that cannot be read.

    Our own record counts first, then infotext, then what other programs write, at last what is hidden in the pixels.
    """
    said = metadata.unpack(source)
    if said.record is not None and (own := _own(said)) is not None:
        return own
    if said.infotext or said.others:
        found = _from_texts(said.infotext, said.others)
        if found.recall is not None:
            return Told(found.recall, None, None, found.infotext, found.program, said.warnings)
    hidden = stealth.read(source)
    if hidden:
        texts = {key: value for key, value in (mapping(hidden) or {}).items() if isinstance(value, str)}
        found = _from_texts("" if texts else hidden, texts)
        return Told(found.recall, None, None, found.infotext, found.program, said.warnings)
    return Told(warnings=said.warnings)


def from_text(text: str) -> Told:
    """Read a text as somebody pasted it: an infotext, or another program's JSON; nothing where it is only a prompt."""
    data = mapping(text)
    if data is None:
        return _from_texts(text, {})
    return _from_texts(text, {"invokeai_metadata" if "positive_prompt" in data else "prompt": text})


def _own(said: metadata.Metadata) -> Told | None:
    record = said.record or {}
    try:
        request = GenerationRequest.from_data(record.get("request"))
    except WorkbenchError:
        return None
    seed = record.get("seed")
    return Told(None, request, seed if isinstance(seed, int) else request.seed, said.infotext, PROGRAM, said.warnings)


def _from_texts(text: str, others: Mapping[str, str]) -> Told:
    if found := foreign.read({**others, "parameters": text} if text else others):
        return Told(found, program=found.made_by)
    if text and infotext.pairs(text):
        recall = infotext.read(text)
        version = recall.made_by
        program = version if version.split(" ")[0] in (PROGRAM, "Fooocus", "ComfyUI") else "A1111"
        return Told(recall, infotext=text, program=program)
    return Told(infotext=text)
