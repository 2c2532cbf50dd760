"""How far a stage of the training is, by the wall clock: rates fall by it, so that a run always ends on time."""

from __future__ import annotations

import math
import time


class Clock:
    """Runs for `seconds`, of which `spent` are over already, but never beyond `deadline` (as `time.time()` counts)."""

    def __init__(self, seconds: float, deadline: float = math.inf, spent: float = 0.0) -> None:
        self.begin = time.time() - spent
        self.end = min(self.begin + seconds, deadline)

    @property
    def spent(self) -> float:
        """Seconds so far, those of earlier runs included."""
        return time.time() - self.begin

    @property
    def done(self) -> float:
        """0 at the start, 1 when the time is up."""
        now = time.time()
        return 1.0 if now >= self.end else (now - self.begin) / (self.end - self.begin)


def falling(done: float, steady: float = 0.3, last: float = 0.02) -> float:
    """The learning rate's factor: 1 for the share `steady`, then half a cosine down to `last`."""
    if done < steady:
        return 1.0
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (done - steady) / (1 - steady)))
