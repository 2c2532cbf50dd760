"""One life of a worker: as a spawned process that can be killed, or as a thread; both speak frames of bytes."""

import contextlib
import ctypes
import faulthandler
import importlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from modules.core.errors import Cancelled
from modules.jobs import worker

_SPAWN = multiprocessing.get_context("spawn")
_ORPHAN_S = 5.0  # an orphaned worker has so long to come to its end
_LINGER_S = 15.0  # ... and one that was asked by a signal: longer than the program needs to close


class Life(Protocol):
    """What the engine needs of a worker, whatever it is made of."""

    @property
    def pid(self) -> int | None: ...

    def send(self, frame: bytes) -> None:
        """Hand over a frame; never blocks, never raises."""
        ...

    def hear(self, timeout_s: float) -> list[bytes]:
        """Frames that came, waiting at most so long for the first; also the last words of a dead one."""
        ...

    def wake(self) -> None: ...

    @property
    def has_ended(self) -> bool:
        """True when it is dead and everything it said was heard."""
        ...

    def reason(self) -> str: ...

    def dump(self) -> None:
        """Let it write where it hangs into its log, if it can."""
        ...

    def kill(self) -> None: ...

    def join(self, timeout_s: float) -> bool: ...


def open_by_name(name: str) -> Callable[[dict[str, Any]], worker.Maker]:
    """``package.module:function``, imported in the worker only."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


class ProcessLife:
    """A worker in a spawned process: its death, by SIGKILL or SIGBUS, harms nobody else.

    Start it from a thread that lives as long as the program: on Linux the worker dies with the thread that made it.
    """

    def __init__(self, maker: str, options: dict[str, Any], heartbeat_s: float, log: Path | None) -> None:
        here, there = _SPAWN.Pipe()
        self._connection = here
        self._alarm, self._ring = _SPAWN.Pipe(duplex=False)
        self._has_rung = threading.Lock()  # held from a ring until it is heard, so that the pipe never fills
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        arguments = (there, maker, options, heartbeat_s, str(log) if log else "", os.getpid())
        self._process = _SPAWN.Process(target=_process_main, args=arguments, name="atelier-engine", daemon=True)
        self._process.start()
        there.close()
        self.pid: int | None = self._process.pid
        self._ended = False
        threading.Thread(target=self._send_forever, name="engine-outbox", daemon=True).start()

    def send(self, frame: bytes) -> None:
        self._outbox.put(frame)

    def hear(self, timeout_s: float) -> list[bytes]:
        ready = wait([self._connection, self._process.sentinel, self._alarm], timeout_s)
        if self._alarm in ready:
            self._alarm.recv_bytes()
            self._has_rung.release()
        frames: list[bytes] = []
        is_dead = self._process.sentinel in ready
        try:
            while self._connection.poll() and (is_dead or len(frames) < 64):
                frames.append(self._connection.recv_bytes(worker.wire.FRAME_BYTES))
        except (EOFError, OSError):
            self._end()
        else:
            if is_dead:
                self._end()
        return frames

    def wake(self) -> None:
        if self._has_rung.acquire(blocking=False):
            with contextlib.suppress(OSError):
                self._ring.send_bytes(b"!")

    @property
    def has_ended(self) -> bool:
        return self._ended

    def reason(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def dump(self) -> None:
        if self.pid and hasattr(signal, "SIGUSR1") and self._process.is_alive():
            os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout_s: float) -> bool:
        self._process.join(timeout_s)
        return not self._process.is_alive()

    def _end(self) -> None:
        """The pipe is empty and broken: whatever is left of the process goes too."""
        if self._ended:
            return
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._ended = True
        self._outbox.put(None)
        for end in (self._connection, self._alarm, self._ring):
            end.close()

    def _send_forever(self) -> None:
        # A thread of its own: a stopped worker must not hold up whoever cancels a job.
        while (frame := self._outbox.get()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._connection.send_bytes(frame)


def _process_main(
    connection: Connection, maker: str, options: dict[str, Any], heartbeat_s: float, log: str, parent: int
) -> None:
    """The spawned process's whole life; everything it gets is plain data."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the program tells us what to do
    signal.signal(signal.SIGTERM, _linger)
    _die_with(parent)
    _log_to(Path(log) if log else None)
    done = threading.Event()

    def gone() -> None:
        if not done.wait(_ORPHAN_S):
            os._exit(1)

    open_maker = open_by_name(maker)
    worker.serve(
        connection.recv_bytes, connection.send_bytes, lambda: open_maker(options), heartbeat_s=heartbeat_s, on_gone=gone
    )
    done.set()
    sys.stderr.flush()
    os._exit(0)  # nothing of ours is left to do, and taking torch apart takes more than a second


def _linger(*_: object) -> None:
    """A system that stops all processes at once must not make the program believe that its engine crashed."""
    timer = threading.Timer(_LINGER_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _die_with(parent: int) -> None:
    """Ask Linux to end this process when its parent does (elsewhere the broken pipe tells), and before its parent
    when memory runs out.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _log_to(path: Path | None) -> None:
    """Errors, and on request where every thread stands, go to a file that the next life overwrites."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 2)
    faulthandler.enable(2)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, 2)


class ThreadLife:
    """A worker as a thread of this process, for those who need one process; it cannot be killed, only left alone."""

    pid: int | None = None

    def __init__(self, maker: str, options: dict[str, Any], heartbeat_s: float, log: Path | None) -> None:
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._words: queue.Queue[bytes | None] = queue.Queue(maxsize=64)
        self._ended = False
        self._reason = "ended"
        self._left = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(maker, options, heartbeat_s), name="atelier-engine", daemon=True
        )
        self._thread.start()

    def send(self, frame: bytes) -> None:
        self._orders.put(frame)

    def hear(self, timeout_s: float) -> list[bytes]:
        frames: list[bytes] = []
        try:
            word = self._words.get(timeout=timeout_s)
            while True:
                if word is None:
                    self._ended = True
                elif word:
                    frames.append(word)
                word = self._words.get_nowait()
        except queue.Empty:
            return frames

    def wake(self) -> None:
        with contextlib.suppress(queue.Full):
            self._words.put_nowait(b"")

    @property
    def has_ended(self) -> bool:
        return self._ended

    def reason(self) -> str:
        return self._reason

    def dump(self) -> None:
        faulthandler.dump_traceback(all_threads=True)

    def kill(self) -> None:
        """A thread cannot be killed: it is cut off, and ends at its next word or order."""
        self._reason = "it hung and was left alone"
        self._left.set()
        self._orders.put(None)
        self._ended = True

    def join(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, maker: str, options: dict[str, Any], heartbeat_s: float) -> None:
        try:
            open_maker = open_by_name(maker)
            worker.serve(self._receive, self._say, lambda: open_maker(options), heartbeat_s=heartbeat_s)
        except BaseException as problem:
            self._reason = f"ended by {type(problem).__name__}"
        finally:
            self._say_end()

    def _receive(self) -> bytes:
        frame = self._orders.get()
        if frame is None:
            raise EOFError
        return frame

    def _say(self, frame: bytes) -> None:
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                return self._words.put(frame, timeout=0.5)
        raise Cancelled

    def _say_end(self) -> None:
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                return self._words.put(None, timeout=0.5)
        return None
