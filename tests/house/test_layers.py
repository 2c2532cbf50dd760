"""The architecture holds: imports point down, the page never sees torch, every file opens with a sentence."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("modules", "extensions", "tests", "benchmarks")
    for path in (CHECKOUT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
UNSAFE = {"load": {"torch", "pickle", "joblib", "yaml"}, "loads": {"pickle"}, "Unpickler": {"pickle"}}


def test_imports_point_down():
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.parametrize("package", ["webui", "httpapi", "jobs", "planning", "library", "prompt", "extend", "families"])
def test_the_pages_process_never_imports_torch(package):
    """Import every module of the package in a fresh Python: torch must not come along."""
    names = [
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        for path in sorted((CHECKOUT / "modules" / package).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    assert names
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=120)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_each_file_opens_with_a_sentence(path):
    text = path.read_text()
    if not text.strip():
        return
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "it has no first sentence"
    assert docstring.split("\n\n")[0].strip().endswith((".", ":", "!")), "its first sentence does not end"


def test_nothing_unpickles():
    """No call that could run code from a file, anywhere in the program (T1)."""
    found = []
    for path in SOURCES:
        if path.is_relative_to(CHECKOUT / "tests") or path.is_relative_to(CHECKOUT / "benchmarks"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if owner in UNSAFE.get(node.func.attr, ()) and not _is_weights_only(node):
                    found.append(f"{path.relative_to(CHECKOUT)}:{node.lineno}")
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False
    assert len(SOURCES) > 60, "the scan found too few files to mean anything"
    assert found == []


def _is_weights_only(call: ast.Call) -> bool:
    """The trainer's own checkpoints, read with torch's safe loader."""
    return any(word.arg == "weights_only" and getattr(word.value, "value", False) is True for word in call.keywords)
