"""Turns a pickled weights file into safetensors, in a process of its own that runs no foreign code.

A pickle is a program, so nothing else in Atelier opens one. Torch's restricted reader (``weights_only=True``) builds
tensors and plain containers alone and refuses every other name; limits on memory, time and what is written hold what a
file can cost; a file it refuses is refused for good, there is no second reader. The parent imports no torch, and the
process is this file run alone (``python -I``), so that nothing in the working folder is imported; therefore it imports
the rest of Atelier in the parent's functions only.
"""
# pyright: basic
# What a pickle holds has no type until it is looked at, and torch's functions have none that are strict.

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

SUFFIXES: Final = (".ckpt", ".pt", ".pth", ".bin")
_MEMORY_FACTOR: Final = 4  # the file, its tensors, their contiguous copies and the written bytes
_MEMORY_BASE_BYTES: Final = 8 * 1024**3  # address space that importing torch takes, libraries mapped, little of it used
_TIME_S: Final = 600
_DEPTH: Final = 8
_TENSORS: Final = 100_000
_REFUSED: Final = 3
_OVERRIDES: Final = ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "PYTHONSTARTUP", "PYTHONPATH")


def convert(source: Path, target: Path, *, time_s: float = _TIME_S) -> Path:
    """Write the tensors of ``source`` as the safetensors file ``target``, whole or not at all; returns ``target``.

    Nested containers become dotted names; ``state_dict``, ``params_ema``, ``params`` and ``model`` at the top are
    opened. Raises ModelError: ``unsafe_format`` where the file names anything but tensors and plain data or holds no
    tensor, ``conversion_failed`` where the process was stopped by a limit or broke.
    """
    from modules.core.errors import ModelError
    from modules.library import atomic

    target.parent.mkdir(parents=True, exist_ok=True)
    part = atomic.part_of(target)
    environment = {name: value for name, value in os.environ.items() if name not in _OVERRIDES}
    command = [sys.executable, "-I", "-B", str(Path(__file__).resolve()), str(source.resolve()), str(part.resolve())]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=time_s, check=False
        )
        if done.returncode == _REFUSED:
            raise ModelError(
                f"The file {source.name} cannot be converted safely: {_last_line(done.stdout)}",
                "Look for the same weights as a .safetensors file.",
                code="unsafe_format",
                file=source.name,
            )
        if done.returncode != 0 or not part.is_file():
            raise _stopped(source)
        os.replace(part, target)
        return target
    except subprocess.TimeoutExpired as late:
        raise _stopped(source) from late
    finally:
        part.unlink(missing_ok=True)


def _stopped(source: Path) -> Exception:
    """The error for a process that a limit or a fault ended."""
    from modules.core.errors import ModelError

    return ModelError(
        f"The conversion of {source.name} stopped before it was done.",
        "The file may be damaged, or too large for this machine's memory; a .safetensors file needs no conversion.",
        code="conversion_failed",
        file=source.name,
    )


def _last_line(said: bytes) -> str:
    """What the process said last, as text of at most 300 characters."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "no reason was given."


def _limit(size_bytes: int) -> None:
    """Hold this process to what a file of ``size_bytes`` may cost, where the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    memory = _MEMORY_BASE_BYTES + _MEMORY_FACTOR * size_bytes
    bounds = (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _TIME_S),
        (resource.RLIMIT_FSIZE, 2 * size_bytes + 64 * 1024**2),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in bounds:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))


def _tensors(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every tensor inside ``value`` by its dotted name; what is neither tensor nor container is left out."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name or "tensor", value
    elif isinstance(value, dict | list | tuple) and depth >= _DEPTH:
        raise ValueError(f"its containers are nested deeper than {_DEPTH}.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _tensors(inner, f"{name}.{index}" if name else str(index), depth + 1)


def _unwrapped(value: Any) -> Any:
    """The weights themselves, out of the training state around them."""
    for key in ("state_dict", "params_ema", "params", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            return value[key]
    return value


def _plain(tensors: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """The tensors by name, each with bytes of its own; raises ValueError where one cannot be kept, or there is none."""
    import torch

    found: dict[str, Any] = {}
    for name, tensor in tensors:
        if name in found:
            raise ValueError(f"it has two tensors named {name}.")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise ValueError(f"its tensor {name} is sparse or quantised.")
        if len(found) >= _TENSORS:
            raise ValueError(f"it has more than {_TENSORS} tensors.")
        found[name] = tensor.detach().clone(memory_format=torch.contiguous_format)  # no sharing in the format
    if not found:
        raise ValueError("there is no tensor in it.")
    return found


def _run(source: Path, part: Path) -> int:
    """The process's whole work; returns its exit code, 3 for a file that is refused, its reason on standard output."""
    _limit(source.stat().st_size)
    import pickle

    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(json.dumps(str(error).splitlines()[0] if str(error) else type(error).__name__, ensure_ascii=True))
        return _REFUSED
    try:
        found = _plain(_tensors(_unwrapped(loaded), "", 0))
    except ValueError as error:
        print(error)
        return _REFUSED
    save_file(found, part, metadata={"converted_from": source.suffix.lstrip(".").lower()})
    return 0


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), Path(sys.argv[2])))
