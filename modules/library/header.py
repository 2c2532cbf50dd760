"""What a safetensors file says about itself, read without torch and trusted in nothing.

The format (huggingface.co/docs/safetensors): 8 bytes with the header's length, little endian; the header, JSON of
``name: {dtype, shape, data_offsets}`` and ``__metadata__``; then the tensors' bytes, without gaps, to the file's end.
"""

import json
import math
import os
import stat
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from modules.core import limits
from modules.core.errors import ModelError

BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""The format's element types, and how many bits one element takes."""

_LENGTH_BYTES: Final = 8
_DIMENSIONS: Final = 16
_PEEKED_BYTES: Final = 64 * 1024
_FLOATS: Final = {"F64": "d", "F32": "f", "F16": "e", "BF16": "f"}
_LFS: Final = b"version https://git-lfs"


class TensorInfo(NamedTuple):
    """One tensor: element type (a key of BITS), shape, and its bytes ``start`` up to ``end`` behind ``data_start``."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: every tensor lies within the file, none overlaps another.

    ``metadata`` is text as the file's maker wrote it, at most 64 KiB of it (``is_metadata_cut`` tells), for showing as
    text only. ``data_start`` is the offset in the file of the first tensor's bytes, ``size_bytes`` the whole file.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    is_metadata_cut: bool
    data_start: int
    size_bytes: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What families recognise a checkpoint by."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def read(path: Path) -> Header:
    """Read and check the header: one open, two reads, no mapping.

    Raises ModelError with the code ``model_missing``, ``model_unreadable``, ``model_incomplete`` (the file is shorter
    than its header says), ``model_too_large`` (a header over 32 MiB or 50,000 tensors) or ``model_damaged``.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise _unusable(path, "model_unreadable", "is no file", "Choose a .safetensors file.")
        with path.open("rb", buffering=0) as file:
            return _read(path, file.fileno(), facts.st_size)
    except FileNotFoundError:
        raise _unusable(path, "model_missing", "is not there any more", "Put it back, or choose another.") from None
    except OSError as problem:
        why = f"cannot be read: {os.strerror(problem.errno) if problem.errno else problem}"
        raise _unusable(path, "model_unreadable", why, "Check the file's permissions and its disk.") from None


def encoded(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """A new file's beginning: (name, dtype, shape) of each tensor in the order in which their bytes will follow."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, dtype, shape in tensors:
        end = at + math.prod(shape) * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # so that the numbers behind it are aligned
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def peek(path: Path, header: Header, name: str) -> list[float] | None:
    """The numbers of one small floating tensor, without torch; None where there is no such tensor or it is large."""
    tensor = header.tensors.get(name)
    if tensor is None or tensor.dtype not in _FLOATS or tensor.end - tensor.start > _PEEKED_BYTES:
        return None
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(header.data_start + tensor.start)
            content = _read_exactly(file.fileno(), tensor.end - tensor.start)
    except OSError:
        return None
    if len(content) < tensor.end - tensor.start:
        return None
    if tensor.dtype == "BF16":  # the upper half of 32-bit numbers
        content = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2))
    letter = _FLOATS[tensor.dtype]
    return [number for (number,) in struct.iter_unpack(f"<{letter}", content)]


def incomplete(path: Path, size_bytes: int, wanted_bytes: int) -> ModelError:
    """The error for a file that ends before its tensors do: interrupted downloads and copies."""
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1, "bytes")) if wanted_bytes >= u or u == 1)
    digits = 0 if unit == 1 else 2
    share = f"{size_bytes / unit:.{digits}f} of {wanted_bytes / unit:.{digits}f} {name}"
    return ModelError(
        f"The file {path.name} is incomplete: {share}.",
        "Its download or copy stopped early: fetch it again.",
        code="model_incomplete", file=path.name, size_bytes=size_bytes, wanted_bytes=wanted_bytes,
    )  # fmt: skip


def _read(path: Path, file: int, size: int) -> Header:
    start = os.read(file, _LENGTH_BYTES)
    if len(start) < _LENGTH_BYTES:
        raise incomplete(path, size, _LENGTH_BYTES + 2)
    if _LFS.startswith(start):
        hint = "It is only a pointer to the real file: fetch the file itself (git lfs pull)."
        raise _unusable(path, "model_damaged", "is no safetensors file", hint)
    length = int.from_bytes(start, "little")
    if length > limits.HEADER_BYTES:
        # a real header is smaller: more likely another format under this name
        why = f"is no safetensors file, or its header is larger than {limits.HEADER_BYTES // limits.MIB} MiB"
        raise _unusable(path, "model_too_large", why)
    data_start = _LENGTH_BYTES + length
    if size < data_start:
        raise incomplete(path, size, data_start)
    text = _read_exactly(file, length)
    if len(text) < length:
        raise incomplete(path, _LENGTH_BYTES + len(text), data_start)
    entries = _parse(path, text)
    metadata, is_cut = _metadata(path, entries.pop("__metadata__", {}))
    if len(entries) > limits.HEADER_TENSORS:
        why = f"has {len(entries)} tensors; {limits.HEADER_TENSORS} are allowed"
        raise _unusable(path, "model_too_large", why)
    tensors = {name: _tensor(path, name, entry) for name, entry in entries.items()}
    end = _check_order(path, tensors)
    if data_start + end > size:
        raise incomplete(path, size, data_start + end)
    if data_start + end < size:
        raise _damaged(path, f"{size - data_start - end} bytes follow the last tensor")
    return Header(tensors, metadata, is_cut, data_start, size)


def _read_exactly(file: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := os.read(file, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        why = str(problem) if isinstance(problem, _Twice) else "its header is not JSON"
        raise _damaged(path, why) from None
    if not isinstance(found, dict):
        raise _damaged(path, "its header is no JSON object")
    return cast(dict[str, Any], found)


class _Twice(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _Twice(f"{twice[:100]!r} stands twice in its header")
    return found


def _refuse_constant(word: str) -> float:
    raise ValueError(word)


def _metadata(path: Path, entries: object) -> tuple[dict[str, str], bool]:
    """Short entries first, so that a book among them pushes out none of the useful ones."""
    if not isinstance(entries, dict):
        raise _damaged(path, "its metadata is no JSON object")
    texts = [(key, value) for key, value in cast(dict[str, Any], entries).items() if isinstance(value, str)]
    left = limits.HEADER_METADATA_BYTES
    kept: dict[str, str] = {}
    is_cut = False
    for key, value in sorted(texts, key=lambda item: len(item[1])):
        room = left - len(key.encode("utf-8", "replace"))
        shown = value[: max(room, 0)].encode("utf-8", "replace")[: max(room, 0)]
        is_cut |= len(shown) < len(value.encode("utf-8", "replace"))
        if room > 0:
            kept[key.encode("utf-8", "replace").decode()] = shown.decode("utf-8", "ignore")
            left = room - len(shown)
    return kept, is_cut


def _tensor(path: Path, name: str, entry: dict[str, Any]) -> TensorInfo:
    try:
        dtype, sides, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        bits = BITS[dtype]
        dimensions = tuple(sides)
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"its entry for {name[:100]!r} is no tensor's, or of an unknown element type") from None
    if len(dimensions) <= _DIMENSIONS and {type(start), type(end), *map(type, dimensions)} == {int}:
        fits = (end - start) * 8 == math.prod(dimensions) * bits
        if fits and start >= 0 and min(dimensions, default=0) >= 0:
            return TensorInfo(dtype, dimensions, start, end)
    raise _damaged(path, f"the shape of {name[:100]!r} does not fit its bytes")


def _check_order(path: Path, tensors: Mapping[str, TensorInfo]) -> int:
    """The tensors' bytes follow one another without gap or overlap; returns their end."""
    end = 0
    for tensor in sorted(tensors.values(), key=attrgetter("start", "end")):
        if tensor.start != end:
            raise _damaged(path, "its tensors overlap or leave gaps")
        end = tensor.end
    return end


def _damaged(path: Path, why: str) -> ModelError:
    return _unusable(path, "model_damaged", f"is damaged: {why}")


def _unusable(path: Path, code: str, why: str, hint: str = "Fetch it again from where it came.") -> ModelError:
    return ModelError(f"The file {path.name} {why}.", hint, code=code, file=path.name)
