"""Clients take turns, a warm model is preferred within bounds, and a user's own order is never touched."""

import random

from hypothesis import given
from hypothesis import strategies as st

from modules.jobs.fairness import OVERTAKEN_JOBS, Turns, Waiting
from tests.jobs.conftest import Desk


def waiting(*rows: tuple[str, str, str]) -> list[Waiting]:
    return [Waiting(id, client, 0, float(place), model) for place, (id, client, model) in enumerate(rows)]


def run(turns: Turns, jobs: list[Waiting], warm: str = "") -> list[str]:
    order = []
    while chosen := turns.choose(jobs, {warm}):
        order.append(chosen.id)
        jobs.remove(chosen)
        warm = chosen.model
    return order


def test_ten_clients_with_twenty_jobs_wait_alike(desk: Desk) -> None:
    owners = {}
    for client in range(10):  # the worst case: each submits all its jobs before the next one comes
        for _ in range(20):
            owners[desk.submit(f"client {client}").id] = client
    waits: dict[int, list[int]] = {client: [] for client in range(10)}
    predicted = [job.id for job in desk.queue.waiting()]
    order = desk.run_all()
    for place, id in enumerate(order):
        waits[owners[id]].append(place)
    means = [sum(places) / 20 for places in waits.values()]
    assert max(means) / (sum(means) / 10) <= 1.05
    assert order == predicted
    for client, places in waits.items():
        own = [id for id in owners if owners[id] == client]
        assert [order[place] for place in places] == own


def test_newcomers_never_starve_those_who_wait() -> None:
    turns = Turns()
    jobs = [Waiting(f"a{n}", "a", 0, float(n), "") for n in range(6)]
    first = [turns.choose(jobs, ()) for _ in range(1)]
    jobs = jobs[1:]
    for n in range(4):  # somebody who submits one job at a time, always as a new client
        jobs.append(Waiting(f"n{n}", f"new {n}", 0, 100.0 + n, ""))
        chosen = turns.choose(jobs, ())
        assert chosen is not None
        jobs.remove(chosen)
        first.append(chosen)
    assert sum(job.client == "a" for job in first if job) >= 3


def test_a_warm_model_overtakes_at_most_three_times() -> None:
    turns = Turns(clock=lambda: 0.0)
    jobs = waiting(("slow", "a", "cold"), *[(f"w{n}", f"c{n}", "warm") for n in range(8)])
    order = run(turns, jobs, "warm")
    assert order.index("slow") == OVERTAKEN_JOBS


def test_a_warm_model_overtakes_for_at_most_a_minute() -> None:
    now = [0.0]
    turns = Turns(clock=lambda: now[0])
    jobs = waiting(("slow", "a", "cold"), *[(f"w{n}", f"c{n}", "warm") for n in range(8)])
    chosen = turns.choose(jobs, {"warm"})
    assert chosen is not None
    assert chosen.id == "w0"
    jobs.remove(chosen)
    now[0] = 61.0
    chosen = turns.choose(jobs, {"warm"})
    assert chosen is not None
    assert chosen.id == "slow"


def test_a_warm_model_never_crosses_priorities_or_an_own_order() -> None:
    turns = Turns()
    own = waiting(("first", "a", "cold"), ("second", "a", "warm"))
    assert run(turns, own, "warm") == ["first", "second"]
    urgent = [Waiting("urgent", "a", 1, 5.0, "cold"), Waiting("warm", "b", 0, 1.0, "warm")]
    assert run(turns, urgent, "warm") == ["urgent", "warm"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1), st.sampled_from("xyz")), max_size=30), st.randoms()
)
def test_nobody_is_forgotten_and_own_orders_hold(rows: list[tuple[str, int, str]], chance: random.Random) -> None:
    jobs = [Waiting(str(n), client, priority, float(n), model) for n, (client, priority, model) in enumerate(rows)]
    chance.shuffle(jobs)
    order = run(Turns(clock=lambda: 0.0), list(jobs))
    assert sorted(order) == sorted(job.id for job in jobs)
    by_id = {job.id: job for job in jobs}
    for client in "abcd":
        for priority in (0, 1):
            mine = [int(id) for id in order if (by_id[id].client, by_id[id].priority) == (client, priority)]
            assert mine == sorted(mine)
    assert [by_id[id].priority for id in order] == sorted((job.priority for job in jobs), reverse=True)
