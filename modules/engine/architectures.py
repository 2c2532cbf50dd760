"""Upscalers' networks from their weights: spandrel knows some forty architectures by their tensors."""

import importlib.machinery
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import Tensor

from modules.core.errors import ModelError

_MISSING = "python -m pip install --no-deps -r requirements-alone.txt"


def network_of(weights: Mapping[str, Tensor], name: str) -> Any:
    """spandrel's description (``model``, ``scale``, ``call`` by itself) of the upscaler in these tensors.

    ``name`` is the file's, for messages. Raises ModelError: ``no_spandrel`` where that library is not installed,
    ``model_layout`` for tensors that are no upscaler of pictures.
    """
    library = spandrel()
    try:
        found = library.ModelLoader().load_from_state_dict(library.canonicalize_state_dict(dict(weights)))
    except library.UnsupportedModelError:
        raise _stranger(name, "its tensors are of no kind that is known") from None
    except (RuntimeError, KeyError, ValueError, AssertionError, IndexError) as problem:  # tensors that do not fit
        raise _stranger(name, str(problem).strip().partition("\n")[0][:200]) from None
    if not isinstance(found, library.ImageModelDescriptor) or found.purpose not in ("SR", "Restoration"):
        raise _stranger(name, "it is made for something else")
    if (found.input_channels, found.output_channels) not in ((3, 3), (1, 1)):
        raise _stranger(name, "it does not take and give pictures in colour")
    found.model.eval().requires_grad_(False)
    return found


def spandrel() -> ModuleType:
    """The library, imported without torchvision; raises ModelError ``no_spandrel`` where it is not installed."""
    try:
        with _torchvision_stand_in():
            import spandrel as library
    except ImportError:
        raise ModelError(
            "Upscalers from files need the package spandrel, which is not installed.",
            f"In the program's folder run: {_MISSING}", code="no_spandrel", field="upscaler",
        ) from None  # fmt: skip
    return library


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    """While spandrel is imported, the three names that it imports of torchvision, and nothing more of it.

    Each build of torchvision fits one build of torch only, and the wrong one breaks its import, so it is not installed.
    spandrel uses it for an inpainting network and a face restorer, which are no upscalers and never run here. It is
    gone afterwards, so that other libraries do not take it for the real one.
    """
    if "spandrel" in sys.modules or _is_installed("torchvision"):
        yield
        return
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    made = {name: ModuleType(name) for name in names}
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(made[names[-1]], name, None)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


def _is_installed(name: str) -> bool:
    return name in sys.modules or importlib.machinery.PathFinder.find_spec(name) is not None


def _stranger(name: str, why: str) -> ModelError:
    return ModelError(
        f"The file {name} holds no upscaler that can be used: {why}.", "Choose another upscaler.",
        code="model_layout", field="upscaler", file=name,
    )  # fmt: skip
