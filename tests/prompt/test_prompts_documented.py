"""The tables of docs/prompts.md are true."""

import re
from pathlib import Path

import pytest

from modules.prompt.emphasis import runs
from modules.prompt.grammar import at, parse

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its first two lines."""
    lines = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def code(cell: str) -> str:
    return cell.removeprefix("`").removesuffix("`")


@pytest.mark.parametrize("row", table("Weights"), ids=lambda row: row[0])
def test_weights(row):
    prompt, said = row
    expected = [(text, float(weight)) for text, weight in re.findall(r"`([^`]*)` (\S+?)(?:,|$)", said)]
    assert expected
    assert [(run.text, round(run.weight, 3)) for run in runs(code(prompt))] == expected


@pytest.mark.parametrize("row", table("What changes while a picture is made"), ids=lambda row: row[0])
def test_schedules(row):
    prompt, *moments = map(code, row)
    (part,) = parse(prompt).parts
    assert [at(part, progress, 20).text for progress in (0.0, 0.5, 0.999)] == moments
