"""The server itself: it answers before the rooms are there, hands over, cuts streams at its end, and owns its port."""

import asyncio
import socket
import threading
import time

import httpx
import pytest

from modules.core.errors import WorkbenchError
from modules.core.settings import Settings
from modules.httpapi import answers
from modules.httpapi.server import Rooms
from modules.httpapi.serving import PortTaken, Serving


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=str(tmp_path), port=free_port())


class Lodge:
    """An application with a lifespan."""

    def __init__(self):
        self.life = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                self.life.append(phase)
                await send({"type": f"lifespan.{phase}.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"room", "more_body": scope["path"] == "/stream"})
        if scope["path"] == "/stream":
            await asyncio.sleep(3600)


def test_it_answers_at_once_and_hands_over_with_the_lifespan(settings):
    serving, rooms = Serving(settings), Lodge()
    serving.start()
    try:
        assert httpx.get(serving.url + "/healthz").json() == {"status": "starting"}
        assert "Starting" in httpx.get(serving.link).text
        serving.gate.attach(rooms)
        assert rooms.life == ["startup"]
        assert httpx.get(serving.url + "/healthz").json() == {"status": "ready"}
        assert httpx.get(serving.link).text == "room"
    finally:
        serving.stop()
    assert rooms.life == ["startup", "shutdown"]


def test_the_shell_stays_until_the_first_page_is_drawn(settings):
    """The API answers meanwhile; a page that cannot be drawn is not hidden."""
    drawn = threading.Event()
    visits = []

    async def pages(scope, receive, send):
        if scope["type"] != "http":
            return
        visits.append(scope["path"])
        while not drawn.is_set():
            await asyncio.sleep(0.005)
        await answers.send_json(send, 200, "the page")

    async def api(scope, receive, send):
        await answers.send_json(send, 200, "the api")

    serving = Serving(settings)
    serving.start()
    try:
        serving.gate.attach(Rooms(api, pages))
        assert httpx.get(serving.url + "/healthz").json() == {"status": "starting"}
        assert "Starting" in httpx.get(serving.url + "/").text
        assert httpx.get(serving.url + "/api/v1/state").json() == "the api"
        drawn.set()
        until(lambda: httpx.get(serving.url + "/healthz").json() == {"status": "ready"})
        assert httpx.get(serving.url + "/").json() == "the page"
        assert visits == ["/", "/"]
    finally:
        serving.stop()


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_open_stream_does_not_keep_it_from_stopping(settings):
    serving, rooms = Serving(settings), Lodge()
    serving.gate.attach(rooms)
    serving.start()
    with httpx.stream("GET", serving.url + "/stream", timeout=60) as stream:
        assert next(stream.iter_raw()) == b"room"
        began = time.monotonic()
        serving.stop()
        assert time.monotonic() - began < 30
    assert rooms.life == ["startup", "shutdown"]


def test_a_body_above_the_cap_is_answered_over_the_wire(settings):
    serving = Serving(settings)
    serving.gate.attach(Lodge())
    serving.start()
    try:
        with socket.create_connection(("127.0.0.1", settings.port), timeout=5) as wire:
            wire.sendall(
                b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: 900000000\r\n\r\n"
            )
            assert wire.recv(4096).startswith(b"HTTP/1.1 413")
    finally:
        serving.stop()


def test_a_taken_port_is_one_clear_error_and_a_stopped_server_frees_it(settings):
    first = Serving(settings)
    with pytest.raises(PortTaken, match=str(settings.port)) as raised:
        Serving(settings)
    assert f"--port {settings.port + 1}" in raised.value.hint
    first.stop()
    Serving(settings).stop()


def test_an_address_of_another_computer_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match=r"203\.0\.113\.7"):
        Serving(Settings(data_dir=str(tmp_path), host="203.0.113.7", port=free_port()))


def test_answers_leave_at_once(settings):
    """Python gives an accepted socket its listener's protocol, and asyncio sets TCP_NODELAY only where that is TCP."""
    serving = Serving(settings)
    serving.start()
    try:
        with socket.create_connection(("127.0.0.1", settings.port)) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1")
            (transport,) = [state.transport for state in serving._server.server_state.connections]
            accepted = transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        serving.stop()
