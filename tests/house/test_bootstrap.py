"""Set-up: what is chosen, when it is redone, and the sentence that somebody with the wrong Python reads."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modules import bootstrap

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / bootstrap.ALONE).write_text("spandrel==0.4.2\n")
    (tmp_path / "tests" / "requirements.txt").write_text("pytest\n")
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    return tmp_path


def test_a_changed_pin_or_torch_build_asks_for_set_up_again(checkout, monkeypatch):
    (checkout / ".venv").mkdir()
    monkeypatch.setenv("ATELIER_TORCH", "cpu")
    assert not bootstrap._is_ready(False)
    (checkout / ".venv" / ".ready").write_text(bootstrap.fingerprint(False))
    assert bootstrap._is_ready(False)
    monkeypatch.setenv("ATELIER_TORCH", "cuda")
    assert not bootstrap._is_ready(False)
    monkeypatch.setenv("ATELIER_TORCH", "cpu")
    (checkout / "requirements.txt").write_text("torch==2.14.0\n")
    assert not bootstrap._is_ready(False)


def test_interrupted_set_up_leaves_no_marker(checkout, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "_make_venv", lambda: [sys.executable, "-m", "pip"])
    monkeypatch.setattr(bootstrap, "_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap._set_up(False)
    assert not bootstrap._is_ready(False)


def test_what_stands_alone_brings_nothing_along_and_a_changed_pin_of_it_asks_for_set_up_again(checkout, monkeypatch):
    commands = []
    monkeypatch.setenv("ATELIER_TORCH", "cpu")
    monkeypatch.setattr(bootstrap, "_make_venv", lambda: ["pip"])
    monkeypatch.setattr(bootstrap, "_pip_is_configured", lambda pip: True)
    monkeypatch.setattr(bootstrap, "_install", lambda pip, what, name: commands.append((name, "--no-deps" in what)))
    (checkout / ".venv").mkdir()
    bootstrap._set_up(True)
    assert commands[1:] == [("requirements.txt", False), (bootstrap.ALONE, True), ("tests/requirements.txt", False)]
    assert bootstrap._is_ready(False)
    (checkout / bootstrap.ALONE).write_text("spandrel==0.4.3\n")
    assert not bootstrap._is_ready(False)


def test_the_configured_index_is_used_alone(monkeypatch):
    monkeypatch.delenv("ATELIER_TORCH_INDEX", raising=False)
    assert bootstrap.torch_index("cpu", configured=True) == ""
    assert bootstrap.torch_index("cpu", configured=False).endswith("/cpu")
    monkeypatch.setenv("ATELIER_TORCH_INDEX", "http://127.0.0.1:1/mine")
    assert bootstrap.torch_index("cpu", configured=True) == "http://127.0.0.1:1/mine"


def test_an_unknown_torch_build_names_the_known_ones(monkeypatch):
    monkeypatch.setenv("ATELIER_TORCH", "tpu")
    with pytest.raises(bootstrap.SetupFailed, match="cuda, rocm, xpu, cpu, mac"):
        bootstrap.torch_row()


def test_a_python_outside_the_range_gets_one_sentence(checkout, monkeypatch):
    monkeypatch.setattr(bootstrap, "PYTHONS", ((3, 98), (3, 99)))
    with pytest.raises(bootstrap.SetupFailed, match=r"Python 3\.98 to 3\.99"):
        bootstrap._set_up(False)
    assert not (checkout / ".venv").exists()


def test_app_py_is_readable_by_old_pythons():
    """The sentence for an old Python can only be said by a file that it can parse: no syntax newer than 3.7."""
    import ast

    ast.parse((CHECKOUT / "app.py").read_text(), feature_version=(3, 7))
    source = (CHECKOUT / "app.py").read_text()
    assert source.index("version_info < (3, 11)") < source.index("from modules")


def test_pip_is_fetched_from_the_configured_index_where_python_has_none(tmp_path, monkeypatch):
    """A small index on loopback serves a pip wheel made here; the newest release is taken and runs from the file."""
    folder = tmp_path / "simple" / "pip"
    folder.mkdir(parents=True)
    for version in ("9.0", "10.1", "10.1.dev1"):
        (folder / f"pip-{version}-py3-none-any.whl").write_bytes(f"wheel {version}".encode())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        found = bootstrap._fetch_pip(tmp_path)
        server.shutdown()
    assert found is not None
    assert found.read_bytes() == b"wheel 10.1"
    monkeypatch.delenv("PIP_INDEX_URL")
    assert bootstrap._fetch_pip(tmp_path) is None


def test_a_python_without_ensurepip_is_filled_from_outside(checkout, monkeypatch):
    """As Debian's python3: the environment is made without pip, and the pip at hand installs one into it."""
    commands = []
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda command, **_: commands.append(command) or Done())
    monkeypatch.setattr(bootstrap, "_works", lambda command: False)
    bootstrap._make_venv()
    assert commands[0][-2:] == ["--without-pip", str(bootstrap.VENV)]
    assert commands[1][1:4] == ["-m", "pip", "--python"]


class Done:
    returncode = 0


def test_no_venv_returns_at_once(checkout, monkeypatch):
    monkeypatch.setattr(bootstrap, "_set_up", lambda *_: pytest.fail("it set something up"))
    bootstrap.ensure(["--no-venv"])


@pytest.mark.skipif(shutil.which("python3") is None, reason="no other python3")
def test_bootstrap_imports_nothing_but_the_standard_library():
    code = (
        "import sys; sys.path.insert(0, '.'); from modules import bootstrap;"
        "assert not {'gradio', 'torch', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-E", "-c", code], check=True, cwd=CHECKOUT, timeout=60)
