"""The numerics profile: measured once a machine, kept in a file, overridden by name, and safe where in doubt."""

import json

import pytest
import torch

from modules.engine import numerics
from modules.engine.numerics import PROFILES, measure, profile
from modules.families.base import SAFE

CPU = torch.device("cpu")


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "numerics.json"


@pytest.fixture
def seconds(monkeypatch):
    """What the probe measures, by profile; counts how often it is asked."""
    told = {"safe": 1.0, "bf16": 1.0, "asked": 0}

    def measured(one, device):
        told["asked"] += 1
        return told[one.name]

    monkeypatch.setattr(numerics, "_seconds", measured)
    monkeypatch.setattr(numerics, "computes_bf16", lambda: True)
    return told


@pytest.mark.parametrize(("bf16", "expected"), [(0.5, "bf16"), (0.95, "safe"), (1.0, "safe"), (3.0, "safe")])
def test_another_profile_must_be_worth_it(notes, seconds, bf16, expected):
    seconds["bf16"] = bf16
    assert profile("auto", CPU, notes) is PROFILES[expected]


def test_it_is_measured_once_a_machine(notes, seconds):
    seconds["bf16"] = 0.1
    for _ in range(3):
        assert profile("auto", CPU, notes).name == "bf16"
    assert seconds["asked"] == 2
    written = json.loads(notes.read_text())
    notes.write_text(json.dumps({**written, "machine": "another"}))
    profile("auto", CPU, notes)
    assert seconds["asked"] == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"profile": "gone"}'])
def test_damaged_notes_are_measured_anew(notes, seconds, content):
    notes.write_text(content)
    assert profile("auto", CPU, notes) is SAFE


def test_a_name_is_taken_as_it_is(notes, seconds):
    assert profile("bf16", CPU, notes).network == "bfloat16"
    assert profile("safe", CPU, notes) is SAFE
    assert seconds["asked"] == 0


def test_notes_that_cannot_be_written_are_no_error(tmp_path, seconds):
    file = tmp_path / "file"
    file.write_text("")
    assert profile("auto", CPU, file / "numerics.json") is SAFE


def test_the_probe_measures():
    found = measure(CPU)
    assert found["profile"] in PROFILES
    assert all(value > 0 for value in found["seconds"].values())


def test_a_processor_without_bf16_is_not_asked(notes, seconds, monkeypatch):
    monkeypatch.setattr(numerics, "computes_bf16", lambda: False)
    seconds["bf16"] = 0.1
    assert profile("auto", CPU, notes) is SAFE
    assert seconds["asked"] == 0


def test_a_profile_names_its_attention():
    sliced = numerics.named("bf16+sliced")
    assert (sliced.name, sliced.attention, sliced.network) == ("bf16+sliced", "sliced", "bfloat16")
    with pytest.raises(KeyError):
        numerics.named("bf16+never")
