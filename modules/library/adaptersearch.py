"""Looking for LoRAs and embeddings by anything that is known or was said about them, a window at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modules.library.adapter import Adapter, Kind
from modules.library.adapternotes import Note
from modules.library.adapters import FOLDERS, Adapters


class Found(NamedTuple):
    """A window of a search, and how many there are in all."""

    adapters: Sequence[Adapter]
    total: int


def search(
    adapters: Adapters,
    query: str = "",
    kind: Kind | None = None,
    family: str | None = None,
    notes: Mapping[tuple[Kind, str], Note] | None = None,
    offset: int = 0,
    limit: int = 100,
) -> Found:
    """Those that hold every word of the query in folder, name, alias, trigger words, tags or notes.

    Favourites come first, then those whose own name begins with the query, then all others by name. ``kind`` None means
    both; ``family`` leaves out what is known to be made for another architecture.
    """
    said = notes or {}
    begins = query.strip().lower()
    words = begins.split()
    fitting: list[Adapter] = []
    for one_kind in FOLDERS if kind is None else (kind,):
        for one in adapters.list(one_kind):
            if family is not None and one.family not in (None, family):
                continue
            own = said.get((one.kind, one.name))
            text = one.words if own is None else f"{one.words}\n{own.words or ''}\n{own.notes or ''}".lower()
            if all(word in text for word in words):
                fitting.append(one)

    def rank(one: Adapter) -> int:
        own = said.get((one.kind, one.name))
        if own is not None and own.favourite:
            return 0
        return 1 if begins and one.name.rpartition("/")[2].lower().startswith(begins) else 2

    fitting.sort(key=rank)
    return Found(fitting[offset : offset + limit], len(fitting))
