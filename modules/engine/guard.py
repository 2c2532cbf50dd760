"""What extensions put around the denoiser, until it fails: then the picture goes on without it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from modules.core.errors import Cancelled, WorkbenchError
from modules.engine.denoise import Denoised, Denoiser
from modules.extend.hooks import in_words


def guarded(plain: Denoiser, wrap: Callable[[Denoiser], Denoiser], failed: Callable[[str], None]) -> Denoiser:
    """The wrapped denoiser until what an extension put around it fails; from then on the plain one."""
    own: list[BaseException] = []

    def known(x: Tensor, sigma: float) -> Denoised:
        try:
            return plain(x, sigma)
        except BaseException as problem:
            own.append(problem)  # the engine's own: not the extension's fault
            raise

    wrapped = wrap(known)
    works = True

    def tried(x: Tensor, sigma: float) -> Denoised:
        nonlocal works
        if works:
            try:
                answer = wrapped(x, sigma)
                if isinstance(answer, Denoised) and answer.x0.shape == x.shape:
                    return answer
                cause = "what it returned is no Denoised of the picture's shape"
            except BaseException as problem:  # a guest's sys.exit must not end the engine
                if problem in own or isinstance(problem, Cancelled | WorkbenchError | KeyboardInterrupt):
                    raise
                cause = in_words(problem)
            works = False
            failed(cause)
        return plain(x, sigma)

    return tried
