"""Which adapters a request's prompts mean: every LoRA tag and every embedding's word, as the library knows them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from modules.core.errors import ModelError, WorkbenchError
from modules.core.plan import AdapterFile, EmbeddingFile, Remark
from modules.core.request import GenerationRequest
from modules.library.adapter import Adapter, Kind
from modules.library.adapterkeys import FAMILIES
from modules.library.checkpoints import Checkpoint
from modules.prompt import tags
from modules.prompt.grammar import When
from modules.prompt.tags import Lora


class Adapters(Protocol):
    """What planning needs of the library; ``modules.library.adapters.Adapters`` has it."""

    def find(self, kind: Kind, name: str, /) -> Adapter:
        """The usable file of that name; raises ModelError."""
        ...

    def embeddings(self, family: str | None, /) -> Mapping[str, int]:
        """Every embedding's word for a family, and how many vectors it is."""
        ...


class Chosen:
    """The adapters, the embeddings and the remarks of a plan."""

    def __init__(self, request: GenerationRequest, checkpoint: Checkpoint, library: Adapters) -> None:
        self.remarks: list[Remark] = []
        self.problems: list[WorkbenchError] = []
        self.adapters: list[AdapterFile] = []
        self._library, self._checkpoint = library, checkpoint
        self._found: dict[str, Adapter | None] = {}
        told = [_told(request, picture) for picture in range(request.count)]
        for (lora, _), pictures in _by_lora(told, "last-lora" in request.compat).items():
            self._add(lora, tuple(pictures) if len(pictures) < request.count else None, request.sampling.steps)
        self.embeddings = self._embeddings(dict.fromkeys(text for texts in told for text in texts))

    def _add(self, lora: Lora, pictures: tuple[int, ...] | None, steps: int) -> None:
        found = self._find(lora.name)
        if found is not None:
            self.adapters.append(
                AdapterFile(
                    name=found.name, path=str(found.path), stamp=found.stamp, family=found.family,
                    sha256=found.sha256, short_hash=found.short_hash, te=lora.te, unet=lora.unet, rank=lora.rank,
                    blocks=lora.blocks, start=_share(lora.start, steps), stop=_share(lora.stop, steps),
                    pictures=pictures,
                )
            )  # fmt: skip

    def _find(self, name: str) -> Adapter | None:
        """The adapter of that name; a remark where there is none, a problem where it cannot serve."""
        if name in self._found:
            return self._found[name]
        self._found[name] = None
        try:
            found = self._library.find("lora", name)
            refuse_other_family(found, self._checkpoint)
            self._found[name] = found
        except ModelError as problem:
            if problem.code != "unknown_adapter":
                self.problems.append(problem)
            else:
                self.remarks.append(
                    Remark(
                        code=problem.code, message=f"{problem.message} The pictures are made without it.",
                        hint=problem.hint, facts=problem.facts,
                    )
                )  # fmt: skip
        return self._found[name]

    def _embeddings(self, texts: Iterable[str]) -> list[EmbeddingFile]:
        """Those whose word may stand in a text: files of their own, and what comes bundled in the adapters."""
        bundled = {
            word: (found, vectors)
            for found in self._found.values()
            if found and found.facts
            for word, (vectors, _) in found.facts.embeddings.items()
        }
        known = self._library.embeddings(self._checkpoint.family)
        counts = {**known, **{word: vectors for word, (_, vectors) in bundled.items()}}
        said = "\n".join(texts).lower()
        made: list[EmbeddingFile] = []
        for word in sorted(word for word in counts if word.lower() in said):
            try:
                found = bundled[word][0] if word in bundled else self._library.find("embedding", word)
            except ModelError:
                continue  # gone a moment ago: its word is text
            made.append(
                EmbeddingFile(
                    word=word, path=str(found.path), stamp=found.stamp, vectors=counts[word],
                    bundled=word if word in bundled else "", short_hash=found.short_hash,
                )
            )  # fmt: skip
        return made


def refuse_other_family(adapter: Adapter, checkpoint: Checkpoint) -> None:
    """Raise ModelError where an adapter is known to be made for another architecture than the checkpoint's."""
    made_for, wanted = adapter.family, checkpoint.family
    if made_for is None or wanted is None or made_for == wanted or wanted not in FAMILIES:
        return
    raise ModelError(
        f"The LoRA {adapter.name!r} is made for {FAMILIES[made_for]}; the checkpoint {checkpoint.name!r} is "
        f"{FAMILIES[wanted]}.",
        f"Take it out of the prompt, or choose a checkpoint of {FAMILIES[made_for]}.",
        code="adapter_family", field="prompt", name=adapter.name, made_for=FAMILIES[made_for],
        family=FAMILIES[wanted],
    )  # fmt: skip


def known_words(prompt: str, checkpoint: Checkpoint | None, library: Adapters) -> dict[str, int]:
    """Every word that is an embedding while this prompt is read, and its vectors, for counting tokens."""
    found = dict(library.embeddings(checkpoint.family if checkpoint else None))
    for lora in _tolerant(prompt):
        try:
            facts = library.find("lora", lora.name).facts
        except ModelError:
            continue
        if facts:
            found |= {word: vectors for word, (vectors, _) in facts.embeddings.items()}
    return found


def _told(request: GenerationRequest, picture: int) -> tuple[str, ...]:
    """All texts that one picture is told."""
    own = request.at(picture)
    return own.prompt, own.negative_prompt


def _by_lora(told: Sequence[Sequence[str]], a1111: bool) -> dict[tuple[Lora, int], list[int]]:
    """(LoRA, how often it was named before) -> the pictures that name it so often."""
    wanted: dict[tuple[Lora, int], list[int]] = {}
    for picture, texts in enumerate(told):
        before: Counter[Lora] = Counter()
        for lora in _loras(texts, a1111):
            wanted.setdefault((lora, before[lora]), []).append(picture)
            before[lora] += 1
    return wanted


def _loras(texts: Sequence[str], a1111: bool) -> list[Lora]:
    """The texts' LoRAs; a1111 reads only the prompt's, and gives one that is named twice its last strengths twice."""
    found = [
        lora
        for index, text in enumerate(texts[:1] if a1111 else texts)
        for lora in tags.loras(
            tags.split(tags.without_comments(text).text)[1], field="negative_prompt" if index else "prompt"
        )
    ]
    last = {lora.name: lora for lora in found}
    return [last[lora.name] for lora in found] if a1111 else found


def _tolerant(text: str) -> list[Lora]:
    try:
        return _loras((text,), False)
    except WorkbenchError:
        return []  # half typed


def _share(when: When, steps: int) -> float:
    return min(max(when.value if when.is_fraction else when.value / steps, 0.0), 1.0)
