"""CLIP's tokens without torch: exact counts for the page, and chunks of 75 with weights for the engine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from modules.prompt import emphasis, grammar, tags
from modules.prompt.dialect import NATIVE, Dialect
from modules.prompt.excerpt import trace

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START: Final = 49406
END: Final = 49407
COMMA: Final = 267
CHUNK: Final = 75  # tokens of the prompt in one call of the text encoder; with START and END 77
COMMA_BACKTRACK: Final = 20

_COUNTED_MOST: Final = 64
_MERGES: Final = Path(__file__).parent / "data" / "clip_merges.txt"
_WORDS: Final = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_FULL_WIDTH: Final = {0xFEE0 + code: code for code in range(0x21, 0x7F)}
_QUOTES: Final = {"\u02bc\u2018\u2019\u201a\u201b": "'", "\u201c\u201d\u201e\u201f": '"'}
_FOLD_A1111: Final[dict[int, int | str]] = {
    **_FULL_WIDTH,
    **{ord(char): plain for chars, plain in _QUOTES.items() for char in chars},
    **dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "\u017ft", "st"), strict=True)),
    0x132: "IJ", 0x133: "ij", 0x149: "\u02bcn", 0x1C7: "LJ", 0x1C8: "Lj", 0x1C9: "lj",
    0x1CA: "NJ", 0x1CB: "Nj", 0x1CC: "nj", 0x1F1: "DZ", 0x1F2: "Dz", 0x1F3: "dz",
}  # fmt: skip
_FOLD_NATIVE: Final[dict[int, int | str]] = {
    **_FULL_WIDTH,
    **{ord(char): plain for chars, plain in _QUOTES.items() for char in chars},
    **{ord(char): plain for char, plain in zip("、。〈〉《》「」『』【】·", ',.<>""""""[]-', strict=True)},
}


class Embedding(NamedTuple):
    """A textual inversion's place in a chunk: its vectors stand in for the tokens from ``offset`` (0-76) on."""

    offset: int
    name: str
    vectors: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One call of a CLIP text encoder.

    ``ids`` and ``weights`` hold 77 entries: START, 75 tokens, END; START, END and padding weigh 1. ``used`` of the 75
    are the prompt's. ``end`` is the offset in the tokenised text behind the chunk's last token.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    used: int
    end: int
    embeddings: tuple[Embedding, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """``used`` of ``capacity`` tokens (a multiple of 75, at least 75) by the longest text of the schedule.

    ``boundaries`` are the offsets in the prompt as typed where a chunk ends and another follows.
    """

    used: int
    capacity: int
    boundaries: tuple[int, ...]


class Tokens(NamedTuple):
    """Tokens side by side with the characters (start, end) that each stands for."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


class ClipTokenizer:
    """CLIP's byte-level BPE over lower-case text (Radford et al. 2021, arXiv:2103.00020, section 2.4)."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, *, dialect: Dialect = NATIVE) -> Tokens:
        """Tokens of plain text (no brackets, START or END); tokens that share a character have overlapping offsets.

        Half surrogates count as U+FFFD.
        """
        text = _SURROGATES.sub("\ufffd", text)
        folded = text.translate(_FOLD_NATIVE if dialect.ascii_punctuation else _FOLD_A1111)
        encoding = self._tokenizer.encode(folded, add_special_tokens=False)
        if not encoding.ids:
            return Tokens([], [], [])
        starts = [start for start, _ in encoding.offsets]
        ends = [end for _, end in encoding.offsets]
        if len(folded) != len(text):  # a ligature was one character and is two or three
            origin = [index for index, char in enumerate(text) for _ in char.translate(_FOLD_A1111)]
            starts, ends = [origin[start] for start in starts], [origin[end - 1] + 1 for end in ends]
        return Tokens(encoding.ids, starts, ends)


@lru_cache(maxsize=1)
def clip() -> ClipTokenizer:
    """The one tokenizer of SD 1.x, SDXL and their kin, loaded on first use (0.1 s)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    lines = _MERGES.read_text(encoding="utf-8").splitlines()
    merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    model = models.BPE(
        vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return ClipTokenizer(tokenizer)


def chunks(
    runs: Sequence[emphasis.Run],
    *,
    dialect: Dialect = NATIVE,
    padding: Literal["end", "zero"] = "end",
    backtrack: int = COMMA_BACKTRACK,
    embeddings: Mapping[str, int] | None = None,
) -> tuple[Chunk, ...]:
    """Cut weighted runs (from ``emphasis.runs``) into chunks; at least one.

    A full chunk hands what follows its last comma to the next one, if that comma is at most ``backtrack`` tokens back.
    ``padding`` is what fills a chunk: ``end`` for CLIP-L, ``zero`` (0 behind the first END) for OpenCLIP's encoders
    of SD 2 and SDXL. ``embeddings`` maps the names of textual inversions to their numbers of vectors.
    """
    filler = _Filler(dialect, padding, backtrack)
    lookup = _lookup(tuple(sorted((embeddings or {}).items())))
    for run in runs:
        if run.is_break:
            filler.finish()
            continue
        tokens = clip().encode(run.text, dialect=dialect)
        done = 0
        for start, word in _named(tokens.ids, lookup):
            filler.add(tokens, done, start, run)
            done = start + len(word.ids)
            filler.place(word, tokens.ends[done - 1], run)
        filler.add(tokens, done, len(tokens.ids), run)
    return filler.close()


def count(
    text: str,
    *,
    composable: bool = True,
    steps: int = 20,
    dialect: Dialect = NATIVE,
    embeddings: Mapping[str, int] | None = None,
) -> Count:
    """Count a prompt as typed, comments and tags included, for the live counter; ``composable=False`` for negatives.

    Where a schedule shows more than 64 different texts, the 64 of most bytes are counted. Raises only what
    ``grammar.parse`` raises.
    """
    uncommented = tags.without_comments(text)
    untagged, _ = tags.split(uncommented.text)
    used, capacity, boundaries = 0, CHUNK, list[int]()
    for part in grammar.parse(untagged.text, composable=composable, dialect=dialect).parts:
        longest: tuple[int, tuple[Chunk, ...], grammar.Variant] | None = None
        for variant in _longest(_texts(part, steps, dialect)):
            made = chunks(emphasis.runs(variant.text, dialect=dialect), dialect=dialect, embeddings=embeddings)
            length = (len(made) - 1) * CHUNK + made[-1].used
            if longest is None or length > longest[0]:
                longest = length, made, variant
        if longest:
            length, made, variant = longest
            used, capacity = max(used, length), max(capacity, len(made) * CHUNK)
            places = trace([(span.start, span.end) for span in variant.spans], [chunk.end for chunk in made[:-1]])
            boundaries += [part.start + place for place in places]
    return Count(used, capacity, tuple(uncommented.sources(untagged.sources(sorted(boundaries)))))


def _texts(part: grammar.SubPrompt, steps: int, dialect: Dialect) -> Sequence[grammar.Variant]:
    return grammar.timeline(part, steps) if dialect.stray_bar_is_text else grammar.variants(part, steps)


def _longest(variants: Sequence[grammar.Variant]) -> list[grammar.Variant]:
    """Each text once, at most as many as can be counted while somebody types."""
    distinct = {variant.text: variant for variant in variants}.values()
    return sorted(distinct, key=lambda variant: -len(variant.text.encode("utf-8", "replace")))[:_COUNTED_MOST]


def _byte_letters() -> list[str]:
    """The 256 bytes as printable characters, in CLIP's order: printable Latin-1 first, all others moved above 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [chr(byte) for byte in (*printable, *range(256, 256 + others))]


@dataclass(frozen=True, slots=True)
class _Word:
    """A textual inversion's name as tokens."""

    name: str
    vectors: int
    ids: list[int]


@lru_cache(maxsize=8)
def _lookup(embeddings: tuple[tuple[str, int], ...]) -> dict[int, list[_Word]]:
    """Names by their first token, the longest first."""
    found: dict[int, list[_Word]] = {}
    for name, vectors in embeddings:
        ids = clip().encode(name).ids
        if ids:
            found.setdefault(ids[0], []).append(_Word(name, vectors, ids))
    for words in found.values():
        words.sort(key=lambda word: -len(word.ids))
    return found


def _named(ids: list[int], lookup: Mapping[int, list[_Word]]) -> Iterator[tuple[int, _Word]]:
    """Where textual inversions are named: the longest name at each place, from left to right."""
    position = 0
    while lookup and position < len(ids):
        words = lookup.get(ids[position], ())
        word = next((word for word in words if ids[position : position + len(word.ids)] == word.ids), None)
        if word:
            yield position, word
        position += len(word.ids) if word else 1


class _Filler:
    """Fills chunks; knows where the last comma is, and which tokens continue a character."""

    def __init__(self, dialect: Dialect, padding: Literal["end", "zero"], backtrack: int) -> None:
        self._whole_characters = dialect.whole_characters
        self._pad = END if padding == "end" else 0
        self._backtrack = backtrack
        self._done: list[Chunk] = []
        self._start_chunk()

    def _start_chunk(self) -> None:
        self._ids: list[int] = []
        self._weights: list[float] = []
        self._joined: list[bool] = []  # the token continues the character of the one before
        self._ends: list[tuple[int, emphasis.Run]] = []
        self._last_comma = -1
        self._embeddings: list[Embedding] = []

    def add(self, tokens: Tokens, start: int, end: int, run: emphasis.Run) -> None:
        """Tokens ``start`` up to ``end``, as many chunks as they need."""
        while start < end:
            if len(self._ids) == CHUNK:
                joined = start > 0 and tokens.starts[start] < tokens.ends[start - 1]
                self._hand_over(self._cut(tokens.ids[start], joined))
            stop = min(end, start + CHUNK - len(self._ids))
            fresh = tokens.ids[start:stop]
            if COMMA in fresh:
                self._last_comma = len(self._ids) + len(fresh) - 1 - fresh[::-1].index(COMMA)
            self._ids += fresh
            self._weights += [run.weight] * len(fresh)
            self._joined += [i > 0 and tokens.starts[i] < tokens.ends[i - 1] for i in range(start, stop)]
            self._ends += [(tokens.ends[i], run) for i in range(start, stop)]
            start = stop

    def place(self, word: _Word, end: int, run: emphasis.Run) -> None:
        """A textual inversion's vectors, moved to the next chunk if they do not fit and cut at its end."""
        if len(self._ids) + word.vectors > CHUNK:
            self.finish()
        vectors = min(word.vectors, CHUNK)
        self._embeddings.append(Embedding(len(self._ids), word.name, vectors))
        self._ids += [0] * vectors
        self._weights += [run.weight] * vectors
        self._joined += [False] * vectors
        self._ends += [(end, run)] * vectors

    def finish(self) -> None:
        """End the chunk here, padded, even if it is empty."""
        used = len(self._ids)
        room = CHUNK - used
        last = [END] + [self._pad] * room
        end = self._done[-1].end if self._done else 0
        if self._ends:
            place, run = self._ends[-1]
            end = trace(run.spans, [place])[0] if run.spans else place
        weights = (1.0, *self._weights, *[1.0] * (room + 1))
        self._done.append(Chunk((START, *self._ids, *last), weights, used, end, tuple(self._embeddings)))
        self._start_chunk()

    def close(self) -> tuple[Chunk, ...]:
        if self._ids or not self._done:
            self.finish()
        return tuple(self._done)

    def _cut(self, next_id: int, is_joined: bool) -> int:
        """How many tokens a full chunk keeps: up to a near comma, or up to the start of a broken character."""
        if next_id != COMMA and self._last_comma >= 0 and CHUNK - self._last_comma <= self._backtrack:
            return self._last_comma + 1
        first = CHUNK
        while self._whole_characters and is_joined and first > 1:
            first -= 1
            is_joined = self._joined[first]
        return first

    def _hand_over(self, first: int) -> None:
        """End the chunk before token ``first``; the rest starts the next one."""
        rest = self._ids[first:], self._weights[first:], self._joined[first:], self._ends[first:]
        moved = [place._replace(offset=place.offset - first) for place in self._embeddings if place.offset >= first]
        del self._ids[first:], self._weights[first:], self._joined[first:], self._ends[first:]
        self._embeddings = [place for place in self._embeddings if place.offset < first]
        self.finish()
        self._ids, self._weights, self._joined, self._ends = rest
        self._embeddings = moved
