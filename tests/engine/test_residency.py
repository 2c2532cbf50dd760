"""Models stay while they fit, leave for good when they do not, and a running call stops through their guard."""

import gc

import pytest
import torch
from torch import nn

from modules.core.plan import ModelFile
from modules.engine.residency import Guard, Residency
from modules.families.base import SAFE, Numerics

CPU = torch.device("cpu")
MILLION = 1_000_000


class Small:
    """A model of a million bytes."""

    def __init__(self):
        self.layer = nn.Linear(250, 1000, bias=False)

    def parts(self):
        return {"network": self.layer}

    def blocks(self):
        return [self.layer]


def file(name, stamp=(MILLION, 1)):
    return ModelFile(name=name, path=f"/models/{name}", family="analytic", stamp=stamp)


@pytest.fixture
def loads():
    return []


def residency(loads, room=2.5 * MILLION):
    def load(file, numerics, device, check):
        loads.append(file.name)
        return Small()

    return Residency(CPU, load, room_bytes=int(room))


def names(kept):
    return [row["name"] for row in kept.ledger()]


HALF = Numerics("half", network="float16")


def test_the_least_recently_used_leaves_for_room(loads):
    kept = residency(loads)
    for name in ("a", "b", "a", "c"):
        kept.model(file(name), HALF)
    assert names(kept) == ["a", "c"]
    assert loads == ["a", "b", "c"]


def test_one_model_is_kept_even_where_it_is_too_large(loads):
    kept = residency(loads, room=0)
    for name in ("a", "a", "b"):
        kept.model(file(name), HALF)
    assert (names(kept), loads) == (["b"], ["a", "b"])


def test_another_profile_or_another_file_of_the_name_is_another_model(loads):
    kept = residency(loads, room=99 * MILLION)
    kept.model(file("a"), HALF)
    assert kept.has(file("a"), HALF)
    assert not kept.has(file("a"), SAFE)
    assert not kept.has(file("a", (MILLION, 2)), HALF)


def test_what_is_unloaded_is_gone(loads):
    kept = residency(loads)
    kept.model(file("a"), HALF)
    (watched,) = kept.watch()
    kept.unload()
    gc.collect()
    assert watched() is None
    assert kept.ledger() == []


def test_the_ledger_counts_bytes(loads):
    kept = residency(loads)
    kept.model(file("a"), SAFE)
    assert kept.ledger() == [{"name": "a", "numerics": "safe", "bytes": MILLION}]


def test_a_guard_stops_a_call_inside(loads):
    loaded = residency(loads).model(file("a"), SAFE)

    def stop():
        raise KeyError

    with loaded.guard.asking(stop), pytest.raises(KeyError):
        loaded.model.layer(torch.zeros(1, 250))
    loaded.model.layer(torch.zeros(1, 250))  # nobody asks any more


def test_guards_nest():
    guard, asked = Guard(), []
    with guard.asking(lambda: asked.append("outer")):
        with guard.asking(lambda: asked.append("inner")):
            guard()
        guard()
    guard()
    assert asked == ["inner", "outer"]
