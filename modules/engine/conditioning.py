"""Prompts become what the network is told: weighted hidden states over the walk, for each AND part and the negative."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from modules.core.plan import Pass
from modules.core.request import GenerationRequest
from modules.core.sampling import find_sampler
from modules.engine.adapters import embeddings
from modules.engine.adapters.embeddings import Vectors
from modules.engine.guidance import Negative, Positive, Weighted
from modules.engine.prediction import Cond
from modules.families.base import Frame, Model
from modules.prompt import emphasis, grammar, tags, tokens
from modules.prompt.dialect import NATIVE, Dialect, dialect_of

CACHED_CHUNKS = 128  # 77 x 768 floats each: at most 30 MB


@dataclass(frozen=True)
class Entry:
    """What one part says up to ``end``: a moment of the pass (0-1, hires 1-2), or a number of calls by A1111's."""

    end: float
    cond: Cond


@dataclass(frozen=True)
class Part:
    """One AND part over the pass: its weight and its entries in order; the last holds to the end."""

    weight: float
    entries: tuple[Entry, ...]

    def at(self, moment: float, included: bool) -> Cond:
        """The conditioning at a moment; ``included`` says that an entry still holds at its own end."""
        for entry in self.entries:
            if moment < entry.end or (included and moment == entry.end):
                return entry.cond
        return self.entries[-1].cond


@dataclass(frozen=True)
class Conditioning:
    """What one pass of a picture is told: the prompt's AND parts and the negative prompt."""

    positive: tuple[Part, ...]
    negative: Part


Read = tuple[Tensor, Tensor | None]
"""What the model read in one chunk: hidden states [1 77 width], and one vector [1 width] where it has that."""


class Cache:
    """Hidden states by content, the least recently used forgotten: a repeated prompt is read once."""

    def __init__(self, size: int = CACHED_CHUNKS) -> None:
        self._kept: OrderedDict[Hashable, Read] = OrderedDict()
        self._size = size

    def get(self, key: Hashable, make: Callable[[], Read]) -> Read:
        """What is kept under the key, or what ``make`` returns, kept from now on."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(frozen=True)
class Reading:
    """How texts are read: by which grammar, and what the weights of brackets do to the hidden states.

    ``mode`` is the request's emphasis: "original" multiplies and restores the mean, "no_norm" multiplies, "ignore"
    takes the brackets away, "none" leaves them as text. ``joint`` restores the mean over all texts of a schedule
    together, padded to one length; ``from_empty`` moves away from an empty prompt's states instead;
    ``fixed_clip_skip`` reads families at one layer that other programs read at one.
    """

    dialect: Dialect = NATIVE
    mode: str = "original"
    joint: bool = False
    from_empty: bool = False
    fixed_clip_skip: bool = False

    @classmethod
    def of(cls, request: GenerationRequest) -> "Reading":
        """As the request and its switches say."""
        has = request.compat.__contains__
        return cls(
            dialect_of(request.compat), request.emphasis, has("joint-emphasis"), has("empty-emphasis"),
            has("fixed-clip-skip"),
        )  # fmt: skip

    def runs(self, text: str) -> tuple[emphasis.Run, ...]:
        """The text's runs of one weight."""
        if self.mode == "none":
            return (emphasis.Run(text, 1.0, ((0, len(text)),) if text else ()),)
        found = emphasis.runs(text, dialect=self.dialect)
        if self.mode == "ignore":
            return tuple(run if run.is_break else run._replace(weight=1.0) for run in found)
        return found


@dataclass(frozen=True)
class Reader:
    """Reads prompts with one model's text encoder; a chunk is encoded by itself and kept by its tokens.

    ``vectors`` are the textual inversions that the prompts may name, by word; ``read_by`` says what else decides how
    the model reads (the adapters that are on it).
    """

    model: Model
    cache: Cache
    clip_skip: int = 1
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    read_by: Hashable = ()

    def states(self, texts: Sequence[str], reading: Reading) -> list[Cond]:
        """One conditioning [1 77*chunks width] for each text of a schedule, weighted as ``reading`` says."""
        words = {word: len(next(iter(vectors.values()))) for word, vectors in self.vectors.items()}
        chunked = [tokens.chunks(reading.runs(text), dialect=reading.dialect, embeddings=words) for text in texts]
        empty = tokens.chunks(emphasis.runs(""), dialect=reading.dialect)[0]
        if reading.joint:
            longest = max(len(chunks) for chunks in chunked)
            chunked = [(*chunks, *[empty] * (longest - len(chunks))) for chunks in chunked]
        skip = self._clip_skip(reading.fixed_clip_skip)
        read = [[self._chunk(chunk, skip) for chunk in chunks] for chunks in chunked]
        plain = [torch.cat([states for states, _ in chunks], 1) for chunks in read]
        weights = [torch.tensor([w for chunk in chunks for w in chunk.weights])[None, :, None] for chunks in chunked]
        encoders = self.model.encoders
        if reading.mode != "original":
            restored = [z * w.to(z.device) if bool((w != 1).any()) else z for z, w in zip(plain, weights, strict=True)]
        elif reading.from_empty:
            nothing = self._chunk(empty, skip)[0]
            restored = [_from_empty(z, w, nothing) for z, w in zip(plain, weights, strict=True)]
        elif reading.joint:
            restored = _emphasised(torch.cat(plain), torch.cat(weights), encoders).split(1)
        else:
            restored = [_emphasised(z, w, encoders) for z, w in zip(plain, weights, strict=True)]
        vectors = [chunks[0][1] for chunks in read]  # of the first chunk, never weighted
        return [
            {"context": z} if vector is None else {"context": z, "pooled": vector}
            for z, vector in zip(restored, vectors, strict=True)
        ]

    def _chunk(self, chunk: tokens.Chunk, clip_skip: int) -> Read:
        named = tuple((place, id(self.vectors[place.name])) for place in chunk.embeddings)
        return self.cache.get((chunk.ids, named, clip_skip, self.read_by), lambda: self._read(chunk, clip_skip))

    def _read(self, chunk: tokens.Chunk, clip_skip: int) -> Read:
        with embeddings.standing_in(self.model, chunk.embeddings, self.vectors):
            return self.model.read(torch.tensor([chunk.ids]), clip_skip)

    def _clip_skip(self, is_fixed: bool) -> int:
        fixed = self.model.family.clip_skip_in_a1111
        return fixed if is_fixed and fixed is not None else self.clip_skip


def _emphasised(z: Tensor, weights: Tensor, encoders: Sequence[int] = ()) -> Tensor:
    """z times its weights, with the mean that it had before: each text encoder's part by itself."""
    if bool((weights == 1).all()):
        return z
    if len(encoders) > 1:
        return torch.cat([_emphasised(part, weights) for part in z.split(list(encoders), -1)], -1)
    weighted = z * weights.to(z.device)
    after = weighted.mean()
    return weighted * (z.mean() / after) if after != 0 else weighted


def _from_empty(z: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
    """Each token's distance from the empty prompt's in its place, times its weight: what ComfyUI does."""
    if bool((weights == 1).all()):
        return z
    base = empty.repeat(1, z.shape[1] // empty.shape[1], 1)
    return (z - base) * weights.to(z.device) + base


def read(request: GenerationRequest, passes: Sequence[Pass], number: int, reader: Reader) -> Conditioning:
    """The conditioning of pass ``number``: every text that its schedule shows, read once."""
    negative = _parts(request, request.negative_prompt, False, passes, number, reader)[0]
    return Conditioning(_parts(request, request.prompt, True, passes, number, reader), negative)


def _parts(
    request: GenerationRequest, text: str, composable: bool, passes: Sequence[Pass], number: int, reader: Reader
) -> tuple[Part, ...]:
    reading, by_calls = Reading.of(request), "call-clock" in request.compat
    untagged, _ = tags.split(tags.without_comments(text).text)
    parsed = grammar.parse(
        untagged.text,
        composable=composable,
        dialect=reading.dialect,
        field="prompt" if composable else "negative_prompt",
    )
    made = []
    frame = Frame(passes[number].canvas, negative=not composable)
    for part in parsed.parts:
        shown = _by_calls(part, passes, number) if by_calls else _by_progress(part, passes, number)
        texts = list(dict.fromkeys(variant.text for variant in shown))
        # an empty negative prompt is told as nothing at all, as A1111 and diffusers do where a family can; ComfyUI not
        told = replace(frame, empty=frame.negative and not any(texts) and "encoded-negative" not in request.compat)
        read = reader.states(texts, reading)
        states = {text: reader.model.tell(cond, told) for text, cond in zip(texts, read, strict=True)}
        made.append(Part(part.weight, tuple(Entry(variant.end, states[variant.text]) for variant in shown)))
    return tuple(made)


def _by_progress(part: grammar.SubPrompt, passes: Sequence[Pass], number: int) -> tuple[grammar.Variant, ...]:
    hires = passes[1].steps if len(passes) > 1 else 0
    return grammar.timeline(part, passes[0].steps, hires_steps=hires, second_pass=number > 0)


def _by_calls(part: grammar.SubPrompt, passes: Sequence[Pass], number: int) -> tuple[grammar.Variant, ...]:
    first, this = _calls(passes[0]), _calls(passes[number])
    return grammar.variants(part, this, first_pass_calls=first if number > 0 else None)


def _calls(one: Pass) -> int:
    return one.steps * (2 if find_sampler(one.sampler).second else 1)


def walked(sigmas: Sequence[float]) -> Callable[[float], float]:
    """How much of a pass is done at a sigma, 0-1: each of the schedule's steps counts alike."""
    rising = np.log(np.maximum(sigmas, 1e-12))[::-1]
    progress = np.linspace(1.0, 0.0, len(sigmas))  # at each of the rising sigmas
    return lambda sigma: float(np.interp(np.log(max(sigma, 1e-12)), rising, progress))


def over_sigma(conditioning: Conditioning, sigmas: Sequence[float], second_pass: bool) -> tuple[Positive, Negative]:
    """The native clock: what is shown is chosen by how far sigma has fallen, so the denoiser is a pure function."""
    share = walked(sigmas)

    def moment(sigma: float) -> float:
        return share(sigma) + second_pass

    def positive(sigma: float) -> list[Weighted]:
        return [Weighted(part.at(moment(sigma), False), part.weight) for part in conditioning.positive]

    def negative(sigma: float) -> Cond:
        return conditioning.negative.at(moment(sigma), False)

    return positive, negative


def over_calls(conditioning: Conditioning) -> tuple[Positive, Negative]:
    """A1111's clock: calls are counted from 0, and an entry holds up to and including its end."""
    calls = {"positive": -1, "negative": -1}

    def positive(sigma: float) -> list[Weighted]:
        calls["positive"] += 1
        return [Weighted(part.at(calls["positive"], True), part.weight) for part in conditioning.positive]

    def negative(sigma: float) -> Cond:
        calls["negative"] += 1
        return conditioning.negative.at(calls["negative"], True)

    return positive, negative
