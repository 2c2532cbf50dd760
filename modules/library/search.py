"""The gallery's search: which words of a picture are found, and what a typed query means."""

import re
import unicodedata
from dataclasses import dataclass

from modules.core.errors import BadValue
from modules.core.request import GenerationRequest

_TERM = re.compile(r'"([^"]*)"|(\S+)')
_TRIGRAM = 3  # shorter terms (two Chinese characters are a word) are looked up by LIKE
MAX_QUERY = 1_000  # characters
MAX_TERMS = 16


def fold(text: str) -> str:
    """One spelling for what reads the same: composed characters, no case."""
    return unicodedata.normalize("NFC", text).casefold()


def words_of(request: GenerationRequest | None, infotext: str, facts: dict[str, object]) -> str:
    """The text under which a picture is found: prompts, model, sampler, schedule, seed, size, extensions.

    A picture without our request (made elsewhere) is found by its infotext.
    """
    if request is None:
        return fold(infotext)
    model = facts.get("model", "") or request.model.checkpoint
    parts = [
        request.prompt,
        request.negative_prompt,
        str(model),
        request.sampling.sampler,
        request.sampling.schedule,
        str(facts.get("seed", request.seed)),
        str(request.final_size()),
        *request.extensions,
    ]
    return fold("\n".join(part for part in parts if part))


@dataclass(frozen=True)
class Search:
    """A query in SQL: ``source`` yields pictures as ``p``, newest first by ``order``; ``where`` narrows them."""

    source: str
    order: str
    where: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


EVERYTHING = Search("pictures p", "p.seq")


def parse(query: str) -> Search:
    """Terms are separated by spaces, "quoted terms" keep theirs, and all of them must occur, anywhere, in any case.

    Raises BadValue for a query beyond 1,000 characters or 16 terms, or one that is no text.
    """
    # a quote without its partner is one that is still being typed
    typed = (quoted or plain.replace('"', "") for quoted, plain in _TERM.findall(query))
    terms = [fold(term) for term in typed if term.strip()]
    if len(query) > MAX_QUERY or len(terms) > MAX_TERMS:
        raise BadValue(
            f"The search has {len(query)} characters and {len(terms)} terms; {MAX_QUERY} and {MAX_TERMS} is the most.",
            "Search for fewer words.",
            field="q",
        )
    if any("\x00" <= character < " " or "\ud800" <= character <= "\udfff" for term in terms for character in term):
        raise BadValue("The search holds a character that is no text.", "Remove it.", field="q")
    phrases = ['"' + term.replace('"', '""') + '"' for term in terms if len(term) >= _TRIGRAM]
    short = ["%" + re.sub(r"([%_\\])", r"\\\1", term) + "%" for term in terms if len(term) < _TRIGRAM]
    likes = ("w.words LIKE ? ESCAPE '\\'",) * len(short)
    if phrases:  # the index walks its own rows backwards, so that a common word costs no more than a rare one
        source = "search s CROSS JOIN pictures p ON p.seq = s.rowid"
        source += " JOIN words w ON w.seq = p.seq" if short else ""
        return Search(source, "s.rowid", ("s.search MATCH ?", *likes), (" AND ".join(phrases), *short))
    if short:
        return Search("words w CROSS JOIN pictures p ON p.seq = w.seq", "w.seq", likes, tuple(short))
    return EVERYTHING
