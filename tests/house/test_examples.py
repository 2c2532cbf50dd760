"""What the docs tell people to type works: README's commands, and the example of an extension."""

import re
import subprocess
import sys
from pathlib import Path

from modules.extend.loader import discover

CHECKOUT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (CHECKOUT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_has_two_commands_and_ci_runs_the_second():
    commands = [line for block in blocks("README.md") for line in block.splitlines()]
    assert commands == ["python3 app.py", "python3 app.py test"]
    assert (CHECKOUT / ".ci" / "run").read_text().splitlines()[-1] == f"exec {commands[1]}"


def test_help_names_every_option_of_the_settings_page():
    run = subprocess.run(
        [sys.executable, "app.py", "--no-venv", "--help"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0
    for option in re.findall(r"`(--[a-z-]+)`", (CHECKOUT / "docs" / "settings.md").read_text()):
        assert option in run.stdout or option == "--port 8000"


def test_the_example_extension_loads_as_it_is_written(tmp_path):
    (tmp_path / "louder").mkdir()
    (tmp_path / "louder" / "extension.py").write_text(blocks("docs/extensions.md", "python")[0])
    found = discover([tmp_path]).get("louder")
    assert found.problem == ""
    assert [row.name for row in found.controls()] == ["amount"]
    assert found.about("zh") == "放大引导的作用。"


def test_pages_that_are_linked_exist():
    for page in [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md"), CHECKOUT / "ARCHITECTURE.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
