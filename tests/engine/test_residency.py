"""Models stay while they fit, leave for good when they do not, and a running call stops through their guard."""

import gc

import pytest
import torch
from torch import nn

from modules.core.events import EngineChanged
from modules.core.plan import ModelFile
from modules.engine import placing
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
    part = {"part": "network", "bytes": MILLION, "place": "device"}
    assert kept.ledger() == [{"name": "a", "numerics": "safe", "bytes": MILLION, "parts": [part]}]


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


class Apart:
    """A model of three parts, a million bytes each, that asks for a part before it uses it."""

    def __init__(self):
        self.made = {name: nn.Linear(250, 1000, bias=False) for name in ("network", "text", "vae")}
        self.before_use = lambda name: None

    def parts(self):
        return self.made

    def blocks(self):
        return []

    def use(self, *names):
        for name in names:
            self.before_use(name)


def on_a_gpu(room, waiting=99.0, loads=None):
    """A residency that believes in a GPU; moves are only counted, so that this runs without one."""
    moves = []

    def load(file, numerics, device, check):
        if loads is not None:
            loads.append((file.name, device.type))
        return Apart()

    kept = Residency(
        torch.device("cuda"), load, room_bytes=int(room * MILLION), waiting_bytes=int(waiting * MILLION),
        move=lambda part, device: moves.append(device.type),
    )  # fmt: skip
    return kept, moves


def places(loaded):
    return "".join(part.place[0] for part in loaded.parts.values())  # (d)evice, (m)emory, (p)assing


THREE = (3 * MILLION, 1)


def test_on_a_gpu_a_model_waits_in_memory_instead_of_leaving():
    loads = []
    kept, moves = on_a_gpu(room=4, loads=loads)
    first = kept.model(file("a", THREE), HALF)
    second = kept.model(file("b", THREE), HALF)
    assert (places(first), places(second)) == ("mmd", "ddd")  # a part for which there is room stays
    assert kept.model(file("a", THREE), HALF) is first
    first.model.use("text", "network", "vae")
    assert places(first) == "ddd"
    assert loads == [("a", "cuda"), ("b", "cuda")]
    assert moves.count("cuda") == 2


def test_what_was_used_longest_ago_makes_room():
    kept, _ = on_a_gpu(room=4)
    first, second = kept.model(file("a", THREE), HALF), None
    first.model.use("text", "network", "vae", "text")
    second = kept.model(file("b", THREE), HALF)
    second.model.use("network", "text", "vae")
    assert (places(first), places(second)) == ("mdm", "ddd")


def test_a_model_that_does_not_fit_as_a_whole_comes_part_by_part():
    loads = []
    kept, _ = on_a_gpu(room=2, loads=loads)
    loaded = kept.model(file("a", THREE), HALF)
    assert (places(loaded), loads) == ("mmm", [("a", "cpu")])
    loaded.model.use("text", "network")
    assert places(loaded) == "ddm"
    loaded.model.use("vae")
    assert places(loaded) == "dmd"


def test_models_leave_where_the_computers_memory_is_full_too():
    kept, _ = on_a_gpu(room=3, waiting=4)
    for name in ("a", "b", "c"):
        kept.model(file(name, THREE), HALF)
    assert names(kept) == ["b", "c"]


def test_relief_leaves_only_what_is_needed():
    kept, moves = on_a_gpu(room=9)
    kept.model(file("a", THREE), HALF)
    loaded = kept.model(file("b", THREE), HALF)
    assert kept.relieve()
    assert (names(kept), places(loaded)) == (["b"], "dmm")
    assert not kept.relieve()
    assert moves == ["cpu", "cpu"]


def test_a_part_passes_through_block_by_block_and_computes_the_same():
    part = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2))
    x = torch.ones(1, 4)
    expected = part(x)
    placing.stream(part, [part[1]], CPU)
    assert torch.equal(part(x), expected)


def test_moved_weights_keep_their_parameters():
    part = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    before = part.weight
    placing.move(part, CPU)
    assert part.weight is before
    assert part.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_ledger_is_what_an_event_says(loads):
    kept = residency(loads)
    kept.model(file("a"), HALF)
    (held,) = EngineChanged.model_validate({"state": "ready", "held": kept.ledger()}, strict=False).held
    assert (held.name, held.bytes, held.parts[0].place) == ("a", MILLION, "device")
    kept.unload()
    assert kept.ledger() == []
