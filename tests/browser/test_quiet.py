"""Nothing leaves the machine: look-ups and connections of both processes and of the browser are recorded."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect

from modules.families.analytic import write_checkpoint
from tests.browser.conftest import wait_ready
from tests.browser.program import free_port

CHECKOUT = Path(__file__).resolve().parents[2]

# Imported by every Python that the program starts: writes down each look-up and each connection.
RECORDER = """
import os, sys
def hear(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        target = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        with open(os.environ["ATELIER_TEST_RECORD"], "a") as file:
            file.write(f"{os.getpid()} {event} {target!r}\\n")
sys.addaudithook(hear)
with open(os.environ["ATELIER_TEST_RECORD"], "a") as file:
    file.write(f"{os.getpid()} started\\n")
"""
LOCAL = re.compile(r"'(127\.0\.0\.1|localhost|::1)'|\bNone\b|^'/|b'127\.0\.0\.1'")


def test_start_a_picture_and_every_tab_without_a_foreign_packet(chromium, tmp_path):
    (tmp_path / "recorder").mkdir()
    (tmp_path / "recorder" / "sitecustomize.py").write_text(RECORDER)
    shelf = tmp_path / "data" / "models" / "Stable-diffusion"
    shelf.mkdir(parents=True)
    write_checkpoint(shelf / "analytic.safetensors")
    record, port = tmp_path / "record", free_port()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "recorder"), "ATELIER_TEST_RECORD": str(record)}
    environment["ATELIER_CHECKPOINT"] = "analytic"
    command = [sys.executable, "app.py", "--no-venv", "--no-browser", "--port", str(port)]
    program = subprocess.Popen([*command, "--data-dir", str(tmp_path / "data")], cwd=CHECKOUT, env=environment)
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    try:
        _wait_ready(port)
        asked: list[str] = []
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        wait_ready(page)
        page.get_by_label("Prompt", exact=True).fill("a quiet picture")
        page.get_by_role("button", name=re.compile("^Generate")).click()
        expect(page.get_by_alt_text("a quiet picture")).to_be_visible(timeout=90_000)
        for tab in page.get_by_role("tab").all():
            tab.click()
        page.wait_for_timeout(1_000)
    finally:
        context.close()
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    said = record.read_text().splitlines()
    assert len({line.split()[0] for line in said if line.endswith("started")}) >= 2, (
        "the engine's process was not heard"
    )
    heard = [line.split(" ", 2) for line in said if not line.endswith("started")]
    assert [" ".join(line) for line in heard if not LOCAL.search(line[2])] == []
    hosts = {urlsplit(url).hostname for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")}
    assert hosts == {"127.0.0.1"}


def _wait_ready(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not become ready")
