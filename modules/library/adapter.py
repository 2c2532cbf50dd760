"""One LoRA or textual inversion as the library knows it, and as its cache keeps it."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from modules.core.errors import ModelError
from modules.library import adaptercards
from modules.library.adaptercards import Card, Facts

Kind = Literal["lora", "embedding"]
State = Literal["here", "missing", "changed"]
Stamp = tuple[int, int]
_PAYLOAD: Final = 12  # digits of the hash that infotext shows


@dataclass(frozen=True)
class Adapter:
    """One file. ``path`` stays inside the program; ``name`` is the path below its folder without the suffix.

    ``facts`` and ``card`` are None until the file was read, the hashes until the background got there: ``sha256`` of
    the file, ``payload_sha256`` of what follows its header (AutoV3). ``problem`` says why a file cannot be used.
    """

    kind: Kind
    name: str
    path: Path
    size_bytes: int
    mtime_ns: int
    beside: Mapping[str, Path] = field(default_factory=dict[str, Path], repr=False)
    beside_stamp: str = ""
    facts: Facts | None = None
    card: Card | None = None
    sha256: str | None = None
    payload_sha256: str | None = None
    problem: ModelError | None = None

    @property
    def stamp(self) -> Stamp:
        return self.size_bytes, self.mtime_ns

    @property
    def family(self) -> str | None:
        """The architecture that it was made for; None where nothing tells."""
        return (self.facts.family if self.facts else None) or (self.card.family if self.card else None)

    @property
    def short_hash(self) -> str:
        """12 digits as infotext writes them: of a LoRA's payload, of an embedding's file; empty if not known."""
        if self.kind == "embedding":
            return (self.sha256 or "")[:_PAYLOAD]
        return (self.payload_sha256 or (self.facts.hash if self.facts else ""))[:_PAYLOAD]

    @property
    def alias(self) -> str:
        """The name that its trainer gave it, which other programs write into prompts."""
        return (self.facts.alias if self.facts else "") or self.name.rpartition("/")[2]

    @property
    def preview(self) -> Path | None:
        """The picture beside it."""
        return adaptercards.preview(self.beside)

    @cached_property
    def words(self) -> str:
        """All that a search looks through, in lower case."""
        facts, card = self.facts or Facts(), self.card or Card()
        parts = [
            self.name,
            facts.alias,
            card.title,
            card.activation,
            card.notes,
            *card.words,
            *facts.tags,
            *facts.kinds,
        ]
        return "\n".join(parts).lower()


def as_json(one: Adapter) -> str:
    """All that `from_row` needs beside the row's own columns."""
    facts = one.facts._asdict() if one.facts else None
    card = one.card._asdict() if one.card else None
    problem = one.problem.as_dict() if one.problem else None
    return json.dumps({"kind": one.kind, "name": one.name, "facts": facts, "card": card, "problem": problem})


def from_row(row: sqlite3.Row) -> Adapter:
    """What the cache kept of a file."""
    said: dict[str, Any] = json.loads(row["facts"])
    facts: dict[str, Any] | None = said["facts"]
    problem: dict[str, Any] | None = said["problem"]
    return Adapter(
        said["kind"], said["name"], Path(row["path"]), row["size_bytes"], row["mtime_ns"],
        beside_stamp=row["beside"], sha256=row["sha256"], payload_sha256=row["payload_sha256"],
        facts=_facts(facts) if facts else None,
        card=_card(said["card"]) if said["card"] else None,
        problem=ModelError(problem["message"], problem["hint"], code=problem["code"], **problem.get("facts", {}))
        if problem else None,
    )  # fmt: skip


def _card(said: dict[str, Any]) -> Card:
    said["words"] = tuple(said["words"])
    return Card(**said)


def _facts(said: dict[str, Any]) -> Facts:
    said["kinds"], said["tags"] = tuple(said["kinds"]), tuple(said["tags"])
    said["embeddings"] = {name: (count, widths) for name, (count, widths) in said["embeddings"].items()}
    return Facts(**said)
