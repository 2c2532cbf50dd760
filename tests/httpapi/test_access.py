"""The key where others can reach the program: the link works once, the cookie lasts, wrong tries are counted."""

import asyncio
import base64
import stat

import pytest

from modules.core.settings import Settings
from modules.httpapi.access import Access
from modules.httpapi.gate import Gate
from tests.httpapi.asgi import ask

HOST = "192.168.1.5:7860"


async def inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


@pytest.fixture
def gate(tmp_path):
    made = Gate(Settings(data_dir=str(tmp_path), host="192.168.1.5"))
    made.attach(inner)
    return made


def see(gate, path, **headers):
    return asyncio.run(
        ask(gate, path, host=HOST, headers={key.replace("_", "-"): text for key, text in headers.items()})
    )


def test_without_a_key_all_but_health_login_and_static_is_401(gate):
    closed = (
        "/",
        "/api/v1/state",
        "/media/a",
        "/sdapi/v1/options",
        "/p/1/",
        "/p/1/gradio_api/heartbeat/x",
        "/openapi.json",
    )
    assert {see(gate, path).status for path in closed} == {401}
    assert see(gate, "/healthz").status == 200
    assert see(gate, "/static/live.js").status == 200


def test_the_link_signs_a_browser_in_once(gate):
    told = []
    gate.access.on_used = lambda: told.append(gate.access.link("http://x"))
    path = gate.access.link("http://x").removeprefix("http://x")
    answer = see(gate, path)
    cookie = answer.header("set-cookie")
    assert answer.status == 200
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert see(gate, "/", cookie=cookie.partition(";")[0]).status == 200
    assert see(gate, path).status == 401
    assert told == [gate.access.link("http://x")] != ["http://x" + path]


def test_a_session_survives_a_restart(gate, tmp_path):
    cookie = see(gate, gate.access.link("")).header("set-cookie").partition(";")[0]
    again = Gate(Settings(data_dir=str(tmp_path), host="192.168.1.5"))
    again.attach(inner)
    assert see(again, "/", cookie=cookie).status == 200
    assert again.access.token == gate.access.token


def test_programs_send_the_token(gate):
    basic = base64.b64encode(f"anybody:{gate.access.token}".encode()).decode()
    assert see(gate, "/api/v1/state", authorization=f"Bearer {gate.access.token}").status == 200
    assert see(gate, "/sdapi/v1/options", authorization=f"Basic {basic}").status == 200
    assert see(gate, "/api/v1/state", authorization="Basic !!").status == 401


def test_the_eleventh_wrong_key_in_a_minute_is_429(tmp_path):
    now = [0.0]
    access = Access(tmp_path / "access.json", clock=lambda: now[0])
    wrong = {"authorization": "Bearer wrong"}
    assert [access.verdict(wrong, "c", "10.0.0.9") for _ in range(11)] == ["wrong"] * 10 + ["too_often"]
    assert access.exchange("wrong", "10.0.0.9")[0] == "too_often"
    assert access.verdict(wrong, "c", "10.0.0.8") == "wrong"
    assert access.verdict({"cookie": "c=stale"}, "c", "10.0.0.9") == "nothing"
    now[0] = 61.0
    assert access.verdict({"authorization": f"Bearer {access.token}"}, "c", "10.0.0.9") == "admitted"


def test_429_reaches_the_client(gate):
    found = [see(gate, "/login?key=x").status for _ in range(11)]
    assert found == [401] * 10 + [429]


def test_the_file_is_the_owners_alone_and_damage_costs_a_sign_in_only(tmp_path):
    file = tmp_path / "access.json"
    first = Access(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first.token) >= 43
    file.write_text("{broken")
    assert Access(file).token != first.token


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "flag", "a b=1", "board[tab]=2", 'open="half'])
def test_cookies_of_other_programs_on_the_same_host_do_not_sign_anybody_out(gate, other):
    ours = see(gate, gate.access.link("")).header("set-cookie").partition(";")[0]
    assert see(gate, "/", cookie=f"{other}; {ours}").status == 200
    assert see(gate, "/", cookie=f"{ours}; {other}").status == 200
    assert see(gate, "/", cookie=f"{other}; x{ours}").status == 401
