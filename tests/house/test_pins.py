"""The pins fit together on every Python that is promised, by the packages' own metadata and without a network."""

from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from modules.bootstrap import ALONE, CHECKOUT, PYTHONS

VERSIONS = [f"3.{minor}" for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)]


LEFT_OUT = {"torchvision"}  # what those that stand alone ask for and do without


def pins(file="requirements.txt"):
    """Every line of such a file."""
    lines = (CHECKOUT / file).read_text("utf-8").splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


def needed(python):
    """(package, who needs it, how) for the pins and all that they bring, with that Python's markers."""
    found, waiting, seen = [], [(pin, "requirements.txt") for pin in pins()], set()
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    while waiting:
        requirement, owner = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        found.append((requirement, owner))
        name = canonicalize_name(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        try:
            lines = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue  # needed on another Python only; its own needs cannot be told here
        waiting += [(Requirement(line), name) for line in lines]
    return found


@pytest.mark.parametrize("python", VERSIONS)
def test_every_package_runs_on_it_and_suits_the_others(python):
    wrong = []
    for requirement, owner in needed(python):
        name = canonicalize_name(requirement.name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if owner == "requirements.txt":
                wrong.append(f"{name} is pinned and not installed")
            continue
        bounds = SpecifierSet(found.metadata["Requires-Python"] or "")
        if not bounds.contains(f"{python}.0"):
            wrong.append(f"{name} {found.version} needs Python {bounds}")
        if not requirement.specifier.contains(found.version, prereleases=True):
            wrong.append(f"{owner} needs {requirement}, and {found.version} is there")
    assert wrong == []


def test_what_is_installed_is_what_is_pinned():
    loose = [str(pin) for pin in (*pins(), *pins(ALONE)) if not any(one.operator == "==" for one in pin.specifier)]
    assert loose == []


def test_what_stands_alone_finds_all_that_it_asks_for():
    """Its own needs are brought by the pins, but for what is left out on purpose."""
    brought = {canonicalize_name(requirement.name) for requirement, _ in needed("3.11")}
    for pin in pins(ALONE):
        found = metadata.distribution(pin.name)
        assert pin.specifier.contains(found.version)
        asked = {canonicalize_name(Requirement(line).name) for line in found.requires or []}
        assert asked - brought == LEFT_OUT
