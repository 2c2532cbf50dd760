"""What other programs write into their pictures: a file a program, each from texts to fields of a request."""

from collections.abc import Callable, Mapping

from modules.library.foreign import comfyui, drawthings, fooocus, invokeai, novelai
from modules.library.recall import Recall

Reader = Callable[[Mapping[str, str]], Recall | None]

READERS: tuple[Reader, ...] = (fooocus.read, novelai.read, invokeai.read, drawthings.read, comfyui.read)
"""Each takes a picture's texts by name (the infotext's place is "parameters") and answers None for another's."""


def read(texts: Mapping[str, str]) -> Recall | None:
    """What the first reader that knows these texts finds; None where none does. Never raises."""
    return next((found for reader in READERS if (found := reader(texts)) is not None), None)
