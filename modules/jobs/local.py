"""The engine on this machine: a worker as process or thread, watched, and started again when it dies."""

import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modules.core import limits
from modules.core.errors import Busy
from modules.core.events import EngineChanged
from modules.jobs import wire
from modules.jobs.engine import Bounds, Ended, Pulse, Said, Task
from modules.jobs.life import Life, ProcessLife, ThreadLife

BOUNDS = Bounds(limits.HEARTBEAT_S, limits.HEARTBEAT_DUMP_S, limits.HEARTBEAT_KILL_S, limits.CANCEL_KILL_S)
FAILED_STARTS = 3  # so many deaths in a row before it was ever ready: then it waits for the next job to try again
CLOSE_S = 5.0


class LocalEngine:
    """An Engine over one worker.

    ``maker`` names the function that opens what makes pictures, ``package.module:function``; it is imported in the
    worker alone and called with ``options``, plain data; "warm_up" is added to them.
    """

    def __init__(
        self, maker: str, options: dict[str, Any], *, kind: str = "process", bounds: Bounds = BOUNDS,
        log: Path | None = None,
    ) -> None:  # fmt: skip
        self._maker, self._options, self._bounds, self._log = maker, options, bounds, log
        self._kind = ProcessLife if kind == "process" else ThreadLife
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._pulse = Pulse()
        self._cancelled_at: float | None = None
        self._heard_at = 0.0
        self._has_dumped = False
        self._has_spoken = False  # before its first word it may not know the signal that asks for a dump
        self._was_ready = False
        self._failed_starts = 0
        self._leaving_since: float | None = None
        self._recycle = False
        self._killed_because = ""

    def submit(self, task: Task) -> None:
        with self._lock:
            if self._pulse.running is not None:
                raise Busy("The engine makes another job.", "Wait for it.")
            if self._life is None or self._pulse.state != "ready":
                raise Busy("The engine is not ready.", "Wait for it.")
            self._pulse.running = task.job
            self._cancelled_at = None
            self._life.send(wire.run(task))

    def events(self, timeout_s: float) -> list[Said]:
        said: list[Said] = self._start_if_needed()
        life = self._life
        if said or life is None:
            if not said:
                time.sleep(min(timeout_s, 0.2))
            return said
        frames = life.hear(timeout_s)
        for frame in frames:
            said.extend(self._understand(life, frame))
        if frames:
            self._heard_at = time.monotonic()
            self._has_spoken, self._has_dumped = True, False
        self._watch(life, bool(frames))
        if life.has_ended:
            said.extend(self._bury(life))
        return said

    def cancel(self, job: str) -> None:
        with self._lock:
            if self._pulse.running == job and self._life is not None:
                self._cancelled_at = self._cancelled_at or time.monotonic()
                self._life.send(wire.order("cancel", job))

    def skip(self, job: str) -> None:
        with self._lock:
            if self._pulse.running == job and self._life is not None:
                self._life.send(wire.order("skip", job))

    def free(self) -> None:
        with self._lock:
            if self._life is not None:
                self._life.send(wire.order("free"))

    def wake(self) -> None:
        life = self._life
        if life is not None:
            life.wake()

    def recycle(self) -> None:
        self._failed_starts = 0
        self._recycle = True
        self.wake()

    def describe(self) -> dict[str, Any]:
        with self._lock:
            return {**asdict(self._pulse)}

    def close(self, timeout_s: float) -> None:
        life = self._life
        if life is None:
            return
        life.send(wire.order("close"))
        end = time.monotonic() + (timeout_s if self._was_ready else 0.0)  # one that still starts has nothing to end
        while not life.has_ended and time.monotonic() < end:
            life.hear(0.05)
        if not life.has_ended:
            life.kill()
            life.join(1.0)
        self._life = None
        self._pulse.state = "stopped"

    def _start_if_needed(self) -> list[Said]:
        with self._lock:
            if self._life is not None or self._failed_starts >= FAILED_STARTS:
                return []
            self._was_ready = self._has_dumped = self._has_spoken = self._recycle = False
            self._leaving_since, self._killed_because = None, ""
            self._heard_at = time.monotonic()
            # After a start that failed nothing is done in advance, so that a bad model cannot keep the engine down.
            options = {**self._options, "warm_up": self._failed_starts == 0}
            life = self._kind(self._maker, options, self._bounds.heartbeat_s, self._log)
            self._life = life
            self._pulse.pid, self._pulse.state, self._pulse.model = life.pid, "starting", ""
        return [EngineChanged(state="starting")]

    def _understand(self, life: Life, frame: bytes) -> list[Said]:
        """A frame in words; one that our worker would not send means that the worker is not itself."""
        try:
            message = wire.unpack(frame)
            if message.get("is") == "pulse":
                self._pulse.rss_bytes = int(message["rss_bytes"])
            heard = wire.said(message)
        except (ValueError, KeyError, TypeError, ValidationError):
            self._kill(life, "it spoke nonsense")
            return []
        if heard is None:
            return []
        if isinstance(heard, EngineChanged):
            if self._leaving_since is not None:
                return []  # told to close, it takes no job any more: one given to it would die with it
            with self._lock:
                self._pulse.state, self._pulse.model, self._pulse.device = heard.state, heard.model, heard.device
                self._pulse.told = heard.model_dump(mode="json")
                if heard.state == "ready":
                    self._was_ready, self._failed_starts = True, 0
            return [heard]
        with self._lock:
            if heard.job != self._pulse.running:
                return []  # the last words of a job that is over
            if isinstance(heard, Ended):
                self._pulse.running = None
        return [heard]

    def _watch(self, life: Life, is_talking: bool) -> None:
        now = time.monotonic()
        silent_s = 0.0 if is_talking else now - self._heard_at
        if silent_s > self._bounds.kill_s:
            self._kill(life, f"it hung for {silent_s:.0f} s")
        elif silent_s > self._bounds.dump_s and self._has_spoken and not self._has_dumped:
            self._has_dumped = True
            life.dump()
        cancelled = self._cancelled_at
        if self._pulse.running and cancelled is not None and now - cancelled > self._bounds.cancel_s:
            self._kill(life, "it did not stop when asked")
        if self._recycle and self._pulse.running is None and self._leaving_since is None and self._was_ready:
            self._leaving_since = now
            self._pulse.state = "starting"
            life.send(wire.order("close"))
        if self._leaving_since is not None and now - self._leaving_since > CLOSE_S:
            self._kill(life, "it did not close when asked")

    def _kill(self, life: Life, why: str) -> None:
        self._killed_because = self._killed_because or why
        life.kill()

    def _bury(self, life: Life) -> list[Said]:
        reason = self._killed_because or life.reason()
        with self._lock:
            running, self._pulse.running = self._pulse.running, None
            self._life = None
            self._pulse.restarts += 1
            if not self._was_ready:
                self._failed_starts += 1
            has_given_up = self._failed_starts >= FAILED_STARTS
            self._pulse.state, self._pulse.model = "stopped" if has_given_up else "starting", ""
        said: list[Said] = [EngineChanged(state="stopped")]
        if running is not None:
            said.append(Ended(running, "died", reason=reason))
        return said
