"""The server's first second: take the port, answer through the gate from a thread, and let the rooms come later."""

import errno
import os
import socket
import threading
import time

import uvicorn

from modules.core.errors import WorkbenchError
from modules.core.settings import Settings
from modules.httpapi.gate import Gate

BACKLOG = 256
STOP_S = 2.0  # open event streams are cut after this


class PortTaken(WorkbenchError):
    """Another program listens there."""

    code = "port_taken"


class Serving:
    """The listening socket, the gate and the thread of the server; made before anything heavy is imported."""

    def __init__(self, settings: Settings) -> None:
        """Take the port; raises PortTaken, or WorkbenchError for an address that this computer does not have."""
        self.settings = settings
        self._socket = _listen(settings.host, settings.port)
        self.gate = Gate(settings)
        if self.gate.access:
            self.gate.access.on_used = lambda: print(f"For another browser: {self.link}", flush=True)
        config = uvicorn.Config(
            self.gate, log_config=None, access_log=False, server_header=False, date_header=True, lifespan="on",
            proxy_headers=False, timeout_graceful_shutdown=int(STOP_S), ws="none",
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def url(self) -> str:
        """The program's own address for a browser on this computer, without a final slash."""
        host = self.settings.host.strip("[]")
        if host in ("", "0.0.0.0", "::"):
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"

    @property
    def link(self) -> str:
        """What to open: the plain address, or the one-time link where a key is asked for."""
        return self.gate.access.link(self.url) if self.gate.access else self.url + "/"

    def start(self) -> None:
        """Answer from now on, in a thread of its own."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        """Finish open answers, cut streams, run the shutdown of the attached application, free the port."""
        self.gate.close_streams()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S + 10.0)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    # The protocol is named because asyncio sends small answers at once (TCP_NODELAY) only where it sees TCP there;
    # otherwise every second part of an answer waits 40 ms for the other side's delayed acknowledgement.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # On Windows this option would let two programs share the port; elsewhere it only skips the wait after a stop.
    if os.name != "nt":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((bare, port))
        made.listen(BACKLOG)
    except OSError as problem:
        made.close()
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} is taken by another program.", f"Use --port {port + 1}, or close it.", port=port
            ) from None
        raise WorkbenchError(
            f"Cannot listen on {host}: {problem.strerror}.", "Use --host 127.0.0.1, or an address of this computer.",
            code="bad_host", field="host",
        ) from None  # fmt: skip
    made.set_inheritable(False)
    return made
