"""The gate: who may ask (2,520 combinations), how much they may send, what every answer carries."""

import asyncio
import itertools

import pytest

from modules.core import limits
from modules.core.settings import Settings
from modules.httpapi import bodies
from modules.httpapi.gate import Gate
from tests.httpapi.asgi import ask, post

GOOD_HOSTS = ("127.0.0.1:7860", "localhost:7860", "[::1]:7860")
BAD_HOSTS = ("evil.example:7860", "192.168.1.5:7860", "127.0.0.1.evil.example:7860")
ROUTES = ("/", "/api/v1/state", "/sdapi/v1/options", "/media/abc", "/static/live.js")
METHODS = ("GET", "POST", "PUT")
FETCH = (None, "same-origin", "none", "cross-site")
HOSTILE = (
    "evil.example", "evil.example:7860", "127.0.0.1.nip.io:7860", "localhost.evil.example", "0.0.0.0:7860", "127.1",
    "2130706433:7860", "[::ffff:10.0.0.1]:7860", "10.0.0.5:7860", "localhost@evil.example", "",
    "127.0.0.1, evil.example",
)  # fmt: skip


class Inner:
    """An application that counts its calls and answers like a careless one: CORS reflected, HTML, no policy."""

    def __init__(self):
        self.calls = 0

    async def __call__(self, scope, receive, send):
        self.calls += 1
        while scope["method"] != "GET" and (await receive()).get("more_body"):
            pass
        headers = [
            (b"content-type", b"text/html"), (b"access-control-allow-origin", b"*"),
            (b"Access-Control-Allow-Credentials", b"true"), (b"x-frame-options", b"ALLOWALL"),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<p>in</p>"})


@pytest.fixture
def inner():
    return Inner()


def gate_for(inner, tmp_path, **settings):
    gate = Gate(Settings(data_dir=str(tmp_path), **settings))
    gate.attach(inner)
    return gate


def origins_of(host):
    """(origin, whether it is the page's own)."""
    return (
        (None, True), (f"http://{host}", True), ("null", False), ("https://evil.example", False),
        ("http://localhost:9999", False), (f"https://{host}", False), ("http://evil.example:7860", False),
    ) if host in GOOD_HOSTS else tuple(
        (origin, False) for origin in (None, f"http://{host}", "null", "https://evil.example", "http://localhost:9999",
                                       "http://127.0.0.1:7860", f"https://{host}")
    )  # fmt: skip


def test_the_matrix_of_hosts_origins_fetch_sites_routes_and_methods(inner, tmp_path):
    gate = gate_for(inner, tmp_path)

    async def run():
        cases = deviations = allowed = foreign = 0
        for host in (*GOOD_HOSTS, *BAD_HOSTS):
            for (origin, own), fetch, route, method in itertools.product(origins_of(host), FETCH, ROUTES, METHODS):
                headers = {"origin": origin, "sec-fetch-site": fetch}
                headers = {key: value for key, value in headers.items() if value is not None}
                answer = await ask(gate, route, method=method, host=host, headers=headers)
                expected = 421 if host in BAD_HOSTS else 200 if own and fetch != "cross-site" else 403
                cases += 1
                deviations += answer.status != expected
                allowed += expected == 200
                foreign += sum(key.startswith("access-control-") for key, _ in answer.headers)
        return cases, deviations, allowed, foreign

    cases, deviations, allowed, foreign = asyncio.run(run())
    assert (cases, deviations, foreign) == (2_520, 0, 0)
    assert inner.calls == allowed == 3 * 2 * 3 * 5 * 3


def test_hostile_hosts_reach_no_handler(inner, tmp_path):
    gate = gate_for(inner, tmp_path)

    async def run():
        routes = (*ROUTES, "/healthz", "/login", "/openapi.json")
        found = [(await ask(gate, route, host=host)).status for host in HOSTILE for route in routes]
        found.append((await ask(gate, "/", host=None)).status)
        return found

    assert set(asyncio.run(run())) == {421}
    assert inner.calls == 0


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ("/", {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ("/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ("/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ("/media/a", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 403),
        ("/api/v1/state", {"sec-fetch-site": "same-site"}, 403),
        ("/api/v1/state", {"sec-fetch-site": "something-new"}, 403),
    ],
)
def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(inner, tmp_path, path, headers, status):
    assert asyncio.run(ask(gate_for(inner, tmp_path), path, headers=headers)).status == status


def test_a_link_from_elsewhere_cannot_post(inner, tmp_path):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert asyncio.run(ask(gate_for(inner, tmp_path), "/", method="POST", headers=headers)).status == 403


def test_websockets_pass_the_same_rules(inner, tmp_path):
    gate, heard = gate_for(inner, tmp_path), []
    reached = []

    async def socket(scope, receive, send):
        reached.append(scope["path"])

    async def run(origin):
        headers = [(b"host", b"127.0.0.1:7860"), (b"origin", origin)]
        scope = {"type": "websocket", "path": "/ws", "headers": headers, "scheme": "ws", "server": ("127.0.0.1", 7860)}
        await gate(scope, None, lambda message: asyncio.sleep(0, heard.append(message)))

    gate.attach(socket)
    asyncio.run(run(b"https://evil.example"))
    assert [message["type"] for message in heard] == ["websocket.close"]
    assert reached == []
    asyncio.run(run(b"http://127.0.0.1:7860"))
    assert reached == ["/ws"]


def test_every_answer_carries_the_headers(inner, tmp_path):
    gate = gate_for(inner, tmp_path)

    async def run():
        return [
            await ask(gate, "/"), await ask(gate, "/healthz"), await ask(gate, "/", host="evil.example"),
            await ask(gate, "/", headers={"origin": "null"}), await ask(gate, "/api/x", method="POST", headers={
                "content-type": "text/plain", "content-length": "2"}, chunks=(b"{}",)),
        ]  # fmt: skip

    answers = asyncio.run(run())
    assert [answer.status for answer in answers] == [200, 200, 421, 403, 415]
    for answer in answers:
        assert [value for key, value in answer.headers if key == "x-frame-options"] == ["SAMEORIGIN"]
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("referrer-policy") == "same-origin"
        assert answer.header("cross-origin-opener-policy") == "same-origin"
        assert float(answer.header("x-process-time")) >= 0
        assert len(answer.header("x-request-id")) == 16
    assert "frame-ancestors 'self'" in answers[0].header("content-security-policy")
    assert len({answer.header("x-request-id") for answer in answers}) == 5


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
@pytest.mark.parametrize("path", ["/api/v1/jobs", "/sdapi/v1/txt2img"])
def test_json_routes_take_json_only(inner, tmp_path, path, kind):
    headers = {"content-length": "2", **({"content-type": kind} if kind else {})}
    answer = asyncio.run(ask(gate_for(inner, tmp_path), path, method="POST", headers=headers, chunks=(b"{}",)))
    assert (answer.status, inner.calls) == (415, 0)
    assert answer.json()["code"] == "not_json"


def test_json_with_a_charset_an_empty_post_and_other_routes_pass(inner, tmp_path):
    gate = gate_for(inner, tmp_path)
    with_charset = {"content-type": "application/json; charset=utf-8", "content-length": "2"}
    form = {"content-type": "multipart/form-data; boundary=x", "content-length": "2"}

    async def run():
        return [
            await ask(gate, "/api/v1/jobs", method="POST", headers=with_charset, chunks=(b"{}",)),
            await ask(gate, "/sdapi/v1/interrupt", method="POST"),
            await ask(gate, "/p/1/gradio_api/upload", method="POST", headers=form, chunks=(b"{}",)),
            await ask(
                gate, "/api/v1/blobs", method="PUT", headers={**form, "content-type": "image/png"}, chunks=(b"{}",)
            ),
        ]

    assert [answer.status for answer in asyncio.run(run())] == [200] * 4


@pytest.mark.parametrize(
    ("path", "cap"),
    [("/api/v1/jobs", 4), ("/sdapi/v1/txt2img", 32), ("/api/v1/blobs", 64), ("/p/1/gradio_api/upload", 64), ("/x", 4)],
)
def test_an_announced_length_above_the_cap_is_refused_before_a_byte_is_read(inner, tmp_path, path, cap):
    gate = gate_for(inner, tmp_path)
    kind = {"content-type": "application/json"}

    async def run(length):
        return await ask(gate, path, method="POST", headers={**kind, "content-length": str(length)})

    assert asyncio.run(run(cap * limits.MIB)).status == 200
    answer = asyncio.run(run(cap * limits.MIB + 1))
    assert (answer.status, inner.calls) == (413, 1)
    assert answer.header("connection") == "close"


def test_a_streamed_body_is_cut_at_the_cap(inner, tmp_path):
    gate = gate_for(inner, tmp_path)
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    piece = b" " * limits.MIB

    async def run(pieces):
        return await ask(gate, "/api/v1/jobs", method="POST", headers=headers, chunks=(piece,) * pieces)

    assert asyncio.run(run(4)).status == 200
    assert asyncio.run(run(5)).status == 413


def test_a_silent_body_is_given_up(inner, tmp_path, monkeypatch):
    assert limits.BODY_IDLE_S == 30.0
    monkeypatch.setattr(bodies.BoundedBody.__init__, "__defaults__", (0.05,))
    headers = {"content-type": "application/json", "content-length": "100"}
    gate = gate_for(inner, tmp_path)
    answer = asyncio.run(ask(gate, "/api/v1/jobs", method="POST", headers=headers, chunks=(b"{",), stall=True))
    assert answer.status == 408


def test_an_application_that_raises_becomes_one_plain_500(tmp_path, caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("secret /home/somebody/x")

    answer = asyncio.run(ask(gate_for(broken, tmp_path), "/api/v1/state"))
    assert answer.status == 500
    assert answer.json()["code"] == "internal"
    assert b"secret" not in answer.body
    assert answer.json()["request_id"] in caplog.text


def test_before_the_rooms_are_there_health_and_shell_answer(tmp_path):
    gate = Gate(Settings(data_dir=str(tmp_path)))

    async def run():
        return [await ask(gate, path) for path in ("/healthz", "/", "/api/v1/state")]

    health, shell, state = asyncio.run(run())
    assert (health.status, health.json()) == (200, {"status": "starting"})
    assert shell.status == 200
    assert b"Starting" in shell.body
    nonce = shell.header("content-security-policy").partition("'nonce-")[2].partition("'")[0]
    assert shell.body.count(f'nonce="{nonce}"'.encode()) == 2
    assert (state.status, state.header("retry-after")) == (503, "1")


def test_a_bind_to_everything_answers_to_the_address_that_was_reached(inner, tmp_path):
    gate = gate_for(inner, tmp_path, host="0.0.0.0")

    async def run(host, reached):
        return (await ask(gate, "/healthz", host=host, reached=reached)).status

    assert asyncio.run(run("192.168.1.5:7860", "192.168.1.5")) == 200
    assert asyncio.run(run("192.168.1.6:7860", "192.168.1.5")) == 421
    assert asyncio.run(run("rebound.example:7860", "192.168.1.5")) == 421
    assert asyncio.run(run("0.0.0.0:7860", "127.0.0.1")) == 421


def test_a_tunnel_must_be_announced(inner, tmp_path):
    headers = {"x-forwarded-for": "203.0.113.9"}
    assert asyncio.run(ask(gate_for(inner, tmp_path), "/healthz", headers=headers)).status == 421
    gate = gate_for(inner, tmp_path, public_host="art.example")
    assert asyncio.run(ask(gate, "/healthz", headers=headers, host="art.example")).status == 200
    assert asyncio.run(ask(gate, "/", headers=headers, host="art.example")).status == 401
    own = {**headers, "origin": "https://art.example"}
    assert asyncio.run(ask(gate, "/healthz", headers=own, host="art.example")).status == 200


def test_a_foreign_page_cannot_submit(inner, tmp_path):
    request = post("/api/v1/jobs", {"request": {}}, headers={"origin": "https://evil.example"})
    assert asyncio.run(ask(gate_for(inner, tmp_path), **request)).status == 403
    assert inner.calls == 0
