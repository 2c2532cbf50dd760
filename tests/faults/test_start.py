"""Starting twice, on a taken port, with a bad option: one sentence that helps, an exit status, nothing left running."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def app(*arguments: str, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "app.py", "--no-venv", "--no-browser", *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def running(tmp_path):
    """One Atelier on its data folder: (process, port, folder)."""
    port = free_port()
    program = app("--port", str(port), "--data-dir", str(tmp_path))
    assert program.stdout.readline().startswith("Atelier: http://127.0.0.1:")
    yield program, port, tmp_path
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)


def test_a_second_start_on_the_same_folder_says_where_the_first_runs(running):
    program, port, folder = running
    for other in (free_port(), port):  # on its own port, and on the first one's
        second = app("--port", str(other), "--data-dir", str(folder))
        _, said = second.communicate(timeout=30)
        assert second.returncode == 1
        assert f"already runs on this data folder: http://127.0.0.1:{port} (process {program.pid})" in said
        assert "--data-dir" in said
    assert program.poll() is None


def test_a_taken_port_names_the_next_one(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        program = app("--port", str(port), "--data-dir", str(tmp_path))
        _, said = program.communicate(timeout=30)
    assert program.returncode == 2
    assert said.strip() == f"Port {port} is taken by another program. Use --port {port + 1}, or close it."
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize(("arguments", "word"), [(("--port", "0"), "port"), (("--host", "203.0.113.9"), "203.0.113.9")])
def test_a_bad_option_is_named(tmp_path, arguments, word):
    program = app(*arguments, "--data-dir", str(tmp_path))
    _, said = program.communicate(timeout=30)
    assert program.returncode == 2
    assert word in said
    assert "Traceback" not in said


def test_sigterm_ends_it_cleanly_with_its_engine(running):
    program, _, folder = running
    children = psutil.Process(program.pid).children(recursive=True)
    program.send_signal(signal.SIGTERM)
    assert program.wait(20) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert list(folder.rglob("*.part")) == []
