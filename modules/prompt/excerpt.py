"""Text made of pieces of another text, which still knows where each character came from."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Excerpt:
    """``text`` is the ``spans`` (start, end; in order, without overlap) of its source, joined."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def sources(self, offsets: Iterable[int]) -> list[int]:
        """The source's offset behind each character offset: of the end of a piece rather than the start of the next."""
        return trace(self.spans, offsets)


def keep(source: str, cuts: Sequence[tuple[int, int]]) -> Excerpt:
    """The source without the given (start, end) ranges, which are in order and do not overlap."""
    edges = [0, *(edge for cut in cuts for edge in cut), len(source)]
    spans = tuple((start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end)
    return Excerpt("".join(source[start:end] for start, end in spans), spans)


def trace(spans: Sequence[tuple[int, int]], offsets: Iterable[int]) -> list[int]:
    """Map offsets in joined spans back to where the spans stand; an offset counts characters before it."""
    lengths = [end - start for start, end in spans]
    before = list(accumulate(lengths, initial=0))[:-1]
    found: list[int] = []
    for offset in offsets:
        index = bisect_right(before, max(offset - 1, 0)) - 1
        found.append(min(spans[index][0] + offset - before[index], spans[index][1]) if spans else 0)
    return found
