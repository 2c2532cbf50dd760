"""Every figure's script still starts, so that figures can be taken again whenever somebody doubts them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path.stem for path in (CHECKOUT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_can_be_imported_and_says_what_it_measures(name):
    pytest.importorskip("playwright")
    before = list(sys.path)
    try:
        assert importlib.import_module(f"benchmarks.{name}").__doc__
    finally:
        sys.path[:] = before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["api_submit.py", "20", "200", "2"], "acknowledged 20, lost 0, twice 0"),
        (["api_events.py", "1", "1"], "missing or twice 0"),
        (["first_picture.py", "--size", "64", "--steps", "1", "--rounds", "1"], "click to file"),
    ],
)
def test_servers_and_engines_inside_them_start(arguments, said):
    script = CHECKOUT / "benchmarks" / arguments[0]
    ran = subprocess.run(
        [sys.executable, str(script), *arguments[1:]], cwd=CHECKOUT, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in ran.stderr, ran.stderr[-2000:]
    assert said in ran.stdout
