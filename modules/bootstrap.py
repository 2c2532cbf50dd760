"""A first run on a bare Python sets itself up: .venv, pinned requirements, then the program again inside it."""

from __future__ import annotations

import contextlib
import hashlib
import html
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
PYTHONS = ((3, 11), (3, 14))
ALONE = "requirements-alone.txt"  # packages without what they ask for: see its first lines

# The torch build for what is found in this computer: on Linux the plain one is CUDA's (gigabytes), on Windows CPU's.
TORCH_INDEXES = {
    "cuda": "https://download.pytorch.org/whl/cu130",
    "rocm": "https://download.pytorch.org/whl/rocm7.1",
    "xpu": "https://download.pytorch.org/whl/xpu",
    "cpu": "https://download.pytorch.org/whl/cpu",
    "mac": "",  # the plain build is the right one
}


class SetupFailed(Exception):
    """One sentence for the terminal, said before exit 2."""


def ensure(arguments: list[str], *, tests: bool = False) -> None:
    """Return inside a complete environment, or re-run the program there and never return.

    A second start only compares a hash. Interrupted set-up is repaired by the next start, because the marker is
    written last. ``--no-venv`` among the arguments uses the current environment as it is.
    """
    if "--no-venv" in arguments:
        return
    with _one_at_a_time():
        if not _is_ready(tests):
            _set_up(tests)
    if not _inside_venv():
        _run_again(arguments)


def torch_row() -> str:
    """Which torch build fits this computer: ATELIER_TORCH, or what is found."""
    said = os.environ.get("ATELIER_TORCH", "")
    if said:
        if said not in TORCH_INDEXES:
            raise SetupFailed(f"ATELIER_TORCH is {said!r}; it can be {', '.join(TORCH_INDEXES)}.")
        return said
    if platform.system() == "Darwin":
        return "mac"
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists():
        return "cuda"
    if Path("/opt/rocm").exists() or Path("/dev/kfd").exists():
        return "rocm"
    if shutil.which("xpu-smi") or shutil.which("sycl-ls"):
        return "xpu"
    return "cpu"


def torch_index(row: str, configured: bool) -> str:
    """The wheel index for torch alone: ATELIER_TORCH_INDEX, else none where pip's own is configured, else the row's."""
    said = os.environ.get("ATELIER_TORCH_INDEX")
    if said is not None:
        return said
    return "" if configured else TORCH_INDEXES[row]


def fingerprint(tests: bool) -> str:
    """What the marker holds: the requirements, the interpreter and the torch build."""
    digest = hashlib.sha256()
    for file in _requirements(tests):
        digest.update(file.read_bytes())
    digest.update(f"{sys.version_info[:2]} {torch_row()}".encode())
    return digest.hexdigest()


def install_chromium() -> bool:
    """Make sure of a browser for the tests; on Debian as root it is installed. False where there is none to be had."""
    if chromium():
        return True
    if not (shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0):
        return False
    print("Installing Chromium for the browser tests.", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    packages = ["chromium", "fonts-noto-cjk"]
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], **quiet)
    return bool(chromium())


def chromium() -> str:
    """The path of a Chromium, or an empty string."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), "")


def _requirements(tests: bool) -> list[Path]:
    files = [CHECKOUT / "requirements.txt", CHECKOUT / ALONE]
    return [*files, CHECKOUT / "tests" / "requirements.txt"] if tests else files


def _marker(tests: bool) -> Path:
    return VENV / (".ready-for-tests" if tests else ".ready")


def _is_ready(tests: bool) -> bool:
    try:
        return _marker(tests).read_text() == fingerprint(tests)
    except OSError:
        return False


def _venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _inside_venv() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()


def _set_up(tests: bool) -> None:
    low, high = PYTHONS
    if not low <= sys.version_info[:2] <= high:
        raise SetupFailed(
            f"Atelier runs on Python {low[0]}.{low[1]} to {high[0]}.{high[1]}; this is {platform.python_version()}."
        )
    row = torch_row()
    print(f"Setting Atelier up in {VENV} (once; torch for {row}).", flush=True)
    _marker(tests).unlink(missing_ok=True)
    pip = _make_venv()
    configured = _pip_is_configured(pip)
    pins = _requirements(False)[0].read_text()
    torch = next(line.split()[0] for line in pins.splitlines() if line.startswith("torch=="))
    index = torch_index(row, configured)
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder, "constraint.txt")
        constraint.write_text(torch + "\n")
        _install(pip, [torch, *(["--index-url", index] if index else [])], "torch, the largest part")
        for file in _requirements(tests):
            alone = ["--no-deps"] if file.name == ALONE else []
            _install(pip, [*alone, "-r", str(file), "-c", str(constraint)], file.relative_to(CHECKOUT).as_posix())
    # The tests' set-up completes the program's too.
    for finished in (False, True) if tests else (False,):
        part = _marker(finished).with_suffix(".part")
        part.write_text(fingerprint(finished))
        part.replace(_marker(finished))
    print("Ready.", flush=True)


def _make_venv() -> list[str]:
    """Create .venv where there is none that works; returns the command that runs pip for it."""
    inside = [str(_venv_python()), "-m", "pip"]
    if _works([*inside, "--version"]):
        return inside
    if _inside_venv():
        raise SetupFailed(f"The environment in {VENV} is damaged. Delete that folder and start again.")
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip"):
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        return inside
    # Debian's python3 comes without ensurepip: any pip at hand can fill an environment from outside.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)
    if importlib.util.find_spec("pip"):
        outside = [sys.executable, "-m", "pip", "--python", str(_venv_python())]
        subprocess.run([*outside, "install", "-q", "pip"], check=True)
        return inside
    wheel = _fetch_pip(VENV)
    if wheel is None:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupFailed(
            "This Python has neither ensurepip nor pip. On Debian and Ubuntu: sudo apt install python3-venv python3-pip"
        )
    subprocess.run([str(_venv_python()), f"{wheel}/pip", "install", "-q", str(wheel)], check=True)
    return inside


def _fetch_pip(folder: Path) -> Path | None:
    """pip's newest wheel from the configured index, or None where none is configured or it does not answer."""
    index = os.environ.get("PIP_INDEX_URL", "")
    if not index:
        return None
    page = index.rstrip("/") + "/pip/"
    try:
        with urllib.request.urlopen(page, timeout=30) as answer:
            listing = answer.read().decode()
        links = re.findall(r'href="([^"]*?/?pip-(\d+(?:\.\d+)*)-py3-none-any\.whl[^"]*)"', listing)
        if not links:
            return None
        newest = max(links, key=lambda link: [int(part) for part in link[1].split(".")])
        target = folder / f"pip-{newest[1]}-py3-none-any.whl"
        address = urllib.parse.urljoin(page, html.unescape(newest[0]))
        with urllib.request.urlopen(address, timeout=60) as answer:
            target.write_bytes(answer.read())
    except OSError:
        return None
    return target


def _pip_is_configured(pip: list[str]) -> bool:
    if any(os.environ.get(f"PIP_{name}") for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX")):
        return True
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True).stdout
    return bool(re.search(r"\.(index-url|extra-index-url|find-links|no-index)=", listed))


def _install(pip: list[str], what: list[str], name: str) -> None:
    """Run pip and say one line for each package it takes; its whole output is kept for the error."""
    print(f"  {name}", flush=True)
    command = [*pip, "install", "--progress-bar", "off", "--disable-pip-version-check", *what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip().startswith(("Downloading ", "Installing collected")):
            print("    " + line.strip()[:110], flush=True)
    if process.wait():
        raise SetupFailed("".join(lines[-15:]) + f"\npip could not install {name}. Start again to go on from here.")


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _run_again(arguments: list[str]) -> None:
    command = [str(_venv_python()), str(CHECKOUT / "app.py"), *arguments]
    if os.name != "nt":
        os.execv(command[0], command)
    # On Windows exec breaks the console: the child is waited for, and Ctrl+C reaches it directly.
    child = subprocess.Popen(command)
    while True:
        try:
            sys.exit(child.wait())
        except KeyboardInterrupt:
            continue


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two first starts at once take turns (the lock ends with the process that holds it)."""
    with (CHECKOUT / ".setup.lock").open("a+") as file:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
