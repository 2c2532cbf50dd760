"""What each picture of a job wears: which of the plan's adapters on which model, and the words that are embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modules.core.errors import ModelError
from modules.core.plan import AdapterFile, Plan
from modules.engine.adapters import embeddings
from modules.engine.adapters.embeddings import Vectors

if TYPE_CHECKING:
    from modules.engine.residency import Loaded

Warn = Callable[[str, str, str, Mapping[str, Any]], None]  # code, message, hint, facts


class Outfit:
    """The adapters of one plan."""

    def __init__(self, plan: Plan, main: str, warn: Warn) -> None:
        self._plan, self._main, self._warn = plan, main, warn
        self._unfit: dict[tuple[int, str], bool] = {}
        self._vectors: dict[int, dict[str, Vectors]] = {}

    def grouped(self, pictures: Sequence[int]) -> list[int]:
        """The pictures with those of equal adapters side by side, so that weights change as seldom as can be."""
        sets = [self.of(picture) for picture in pictures]
        return [
            picture for _, picture in sorted(zip(map(sets.index, sets), pictures, strict=True), key=lambda row: row[0])
        ]

    def of(self, picture: int) -> tuple[AdapterFile, ...]:
        """What one picture wears."""
        return tuple(one for one in self._plan.adapters if one.pictures is None or picture in one.pictures)

    def put_on(self, key: str, loaded: Loaded, picture: int, check: Callable[[], None]) -> None:
        """Dress the model of that key of the plan for a picture.

        On the plan's main model an adapter that does not fit is an error; on one beside it (of a hires pass, a refiner)
        it is left out, and the pictures' owner hears of it. Raises what `Adapted.wear` raises.
        """
        wanted = self.of(picture)
        if key != self._main:
            wanted = tuple(one for one in wanted if self._fits(one, loaded))
        loaded.adapted.wear(wanted, check)

    def vectors(self, loaded: Loaded) -> Mapping[str, Vectors]:
        """The embeddings that the prompts may name, as this model reads them; one that does not fit stays text."""
        made = self._vectors.get(id(loaded))
        if made is None:
            made = self._vectors[id(loaded)] = {}
            for file in self._plan.embeddings:
                try:
                    made[file.word] = embeddings.read(file, loaded.model)
                except ModelError as problem:
                    self._warn(problem.code, problem.message, problem.hint, problem.facts)
        return made

    def facts(self, picture: int) -> dict[str, dict[str, str]]:
        """What the picture's metadata says of it: short hashes by name."""
        loras = {one.name.rpartition("/")[2]: one.short_hash for one in self.of(picture) if one.short_hash}
        texts = (self._plan.request.at(picture).prompt, self._plan.request.at(picture).negative_prompt)
        words = [file for file in self._plan.embeddings if any(file.word.lower() in text.lower() for text in texts)]
        return {
            name: hashes
            for name, hashes in (("lora_hashes", loras), ("ti_hashes", _hashes((w.word, w.short_hash) for w in words)))
            if hashes
        }

    def _fits(self, one: AdapterFile, loaded: Loaded) -> bool:
        key = (id(loaded), one.path)
        if key not in self._unfit:
            self._unfit[key] = not loaded.adapted.fits(one)
            if self._unfit[key]:
                self._warn(
                    "adapter_left_out",
                    f"The LoRA {one.name!r} does not fit {loaded.file.name}, which goes on without it.",
                    "",
                    {"name": one.name, "checkpoint": loaded.file.name},
                )
        return not self._unfit[key]


def _hashes(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: digest for name, digest in pairs if digest}
