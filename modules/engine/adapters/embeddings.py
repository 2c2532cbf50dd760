"""Textual inversions: vectors that stand in for a word's tokens where a text encoder looks its tokens up.

Gal et al. 2022 (arXiv:2208.01618). A file holds one tensor [vectors width], or for SDXL one for each text encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.core.errors import ModelError
from modules.core.plan import EmbeddingFile
from modules.engine.adapters.files import bundled
from modules.engine.loading import Weights
from modules.families.base import Model
from modules.prompt.tokens import Embedding

_PARTS = {"clip_l": "text", "clip_g": "text_2"}
FIRST = 1  # a chunk begins with a token that is no word

Vectors = Mapping[str, Tensor]
"""What one word is for each text encoder that knows it: part -> [vectors width]."""


def read(file: EmbeddingFile, model: Model) -> Vectors:
    """The vectors of a textual inversion; raises ModelError ``adapter_changed`` or ``adapter_shape``."""
    with Weights(Path(file.path)) as weights:
        if weights.stamp != file.stamp:
            raise ModelError(
                f"The embedding {file.word!r} was replaced while it was in use.",
                "Generate again: the new file is read then.",
                code="adapter_changed", field="prompt", name=file.word,
            )  # fmt: skip
        tensors = bundled(weights, file.bundled) if file.bundled else {name: weights[name] for name in weights}
    widths = {part: _lookup(model, part).weight.shape[1] for part in _text_parts(model)}
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        vectors = tensor.float().reshape(-1, tensor.shape[-1])
        part = _PARTS.get(name.rpartition(".")[2])
        fitting = [part] if part in widths else [one for one, width in widths.items() if width == vectors.shape[1]]
        if part is None and len(tensors) > 1:
            continue  # what trainers keep beside the vectors
        if len(fitting) and widths[fitting[0]] == vectors.shape[1]:
            made[fitting[0]] = vectors
    if not made:
        raise ModelError(
            f"The embedding {file.word!r} does not fit {model.family.title}: its vectors have another width.",
            "Take it out of the prompt, or choose the checkpoint that it was made for.",
            code="adapter_shape", field="prompt", name=file.word,
        )  # fmt: skip
    return made


@contextmanager
def standing_in(model: Model, places: Sequence[Embedding], known: Mapping[str, Vectors]) -> Iterator[None]:
    """While this lasts, one chunk [1 77] is looked up with the vectors in their places."""
    with ExitStack() as hooks:
        for part in _text_parts(model) if places else ():
            rows = [(FIRST + place.offset, known[place.name][part][: place.vectors]) for place in places
                    if place.name in known and part in known[place.name]]  # fmt: skip
            hook = _lookup(model, part).register_forward_hook(lambda _, given, output, rows=rows: _put_in(output, rows))
            hooks.callback(hook.remove)
        yield


def _put_in(output: Tensor, rows: Sequence[tuple[int, Tensor]]) -> Tensor:
    made = output.clone()
    for start, vectors in rows:
        made[:, start : start + len(vectors)] = vectors.to(made)
    return made


def _text_parts(model: Model) -> list[str]:
    return [name for name in model.parts() if name.startswith("text") and _has_lookup(model, name)]


def _has_lookup(model: Model, part: str) -> bool:
    return any(name.endswith("token_embedding") for name, _ in model.parts()[part].named_modules())


def _lookup(model: Model, part: str) -> Any:
    return next(module for name, module in model.parts()[part].named_modules() if name.endswith("token_embedding"))
