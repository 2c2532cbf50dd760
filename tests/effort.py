"""Bounds how much work something takes, on machines that are busy with other things."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def effort(most: float) -> Iterator[None]:
    """Fails when the block takes `most` or more processor seconds of this thread.

    It is for telling linear work from quadratic work, so `most` stands far from both: a busy machine shares its
    caches and its clock, so even processor seconds vary several times over. Garbage collection waits meanwhile, as
    late in a run it walks everything that the earlier tests left.
    """
    collecting = gc.isenabled()
    gc.disable()
    start = time.thread_time()
    try:
        yield
        spent = time.thread_time() - start
    finally:
        if collecting:
            gc.enable()
    assert spent < most, f"{spent:.2f} processor seconds, at most {most} are expected"
