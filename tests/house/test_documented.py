"""What is documented: every setting, every hook and every event stands in docs/ with its own name."""

import re
from pathlib import Path

import pytest

from modules.core import events, settings
from modules.extend import hooks

DOCS = Path(__file__).resolve().parents[2] / "docs"


def event_names() -> list[str]:
    kinds = (kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event))
    return [kind.model_fields["type"].default for kind in kinds if "type" in kind.model_fields]


@pytest.mark.parametrize("name", settings.TABLE)
def test_every_setting_is_documented(name):
    row = settings.TABLE[name]
    line = next(
        (line for line in (DOCS / "settings.md").read_text().splitlines() if line.startswith(f"| `{name}`")), ""
    )
    assert line, f"docs/settings.md has no row for {name}"
    if row.metadata["group"] == "start":
        flag = "--" + name.replace("_", "-")
        assert flag in line or flag.replace("--", "--no-", 1) in line


def test_no_setting_is_documented_that_does_not_exist():
    named = re.findall(r"^\| `(\w+)`", (DOCS / "settings.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(settings.TABLE)


def test_every_hook_is_documented_with_its_arguments():
    named = re.findall(r"^\| `(\w+)\(", (DOCS / "extensions.md").read_text(), re.MULTILINE)
    assert named == list(hooks.NAMES)


@pytest.mark.parametrize("name", event_names())
def test_every_event_is_documented(name):
    text = (DOCS / "events.md").read_text()
    assert f"| `{name}` |" in text


def test_every_promise_about_faults_names_a_test_that_exists():
    tests = DOCS.parent / "tests"
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (DOCS / "faults.md").read_text())
    assert len(named) > 30
    for file, name in named:
        assert re.search(rf"^def {name}\(", (tests / file).read_text(), re.MULTILINE), f"{file} has no {name}"
