"""The two commands of those who build Atelier: run all tests, and check format, lint, types and layers."""

import subprocess
import sys
from pathlib import Path

from modules import bootstrap

CHECKOUT = Path(__file__).resolve().parents[1]


def test(arguments: list[str]) -> int:
    """Run pytest with these arguments; says loudly where the browser tests had no browser. Returns the exit status."""
    browser = bootstrap.install_chromium()
    status = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=CHECKOUT).returncode
    if not browser:
        line = "=" * 78
        print(f"{line}\nNO BROWSER: the page was NOT tested. Install Chromium and run this again.\n{line}", flush=True)
    return status


def check() -> int:
    """Run ruff (format and lint), basedpyright and import-linter; returns 1 where any of them finds something."""
    commands = (
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "ruff", "check", "."],
        ["-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    )
    failed = [command for command in commands if subprocess.run([sys.executable, *command], cwd=CHECKOUT).returncode]
    print("check: " + ("clean" if not failed else f"{len(failed)} of {len(commands)} found something"))
    return 1 if failed else 0
