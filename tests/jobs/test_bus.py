"""Events are numbered once and for ever, heard in their order, and found again by whoever comes back."""

import asyncio
import threading
from pathlib import Path

from modules.core.events import Preview, QueueChanged, Queued, StepFinished, Warned
from modules.jobs.bus import Bus
from modules.jobs.journal import Journal
from tests.jobs.conftest import Desk


def step(call: int, job: str = "j") -> StepFinished:
    return StepFinished(job=job, picture=0, call=call, calls=9)


def preview(job: str = "j") -> Preview:
    return Preview(job=job, picture=0, width=1, height=1, jpeg=b"x")


def warned(code: str = "c") -> Warned:
    return Warned(job="j", code=code, message="m")


def test_numbers_rise_over_restarts_also_after_events_in_memory(desk: Desk) -> None:
    seen = [desk.bus.publish(warned()).seq, desk.bus.publish(step(1)).seq, desk.bus.publish(step(2)).seq]
    for _ in range(3):
        desk.close()  # the steps left no row
        desk.reopen()
        seen.append(desk.bus.publish(step(1)).seq)
        seen.append(desk.bus.publish(warned()).seq)
    assert seen == sorted(set(seen))


def test_whoever_comes_back_hears_each_event_once(desk: Desk) -> None:
    """A dropped connection: the newest events wait in the ring, no gap, no duplicate."""
    heard = []
    for call in range(500):
        desk.bus.publish(step(call) if call % 3 else warned(str(call)))
        if call % 7 == 0:  # the listener returns now and then
            events, gap = desk.bus.since(heard[-1] if heard else 0)
            assert not gap
            heard += [event.seq for event in events]
    heard += [event.seq for event in desk.bus.since(heard[-1])[0]]
    assert heard == [event.seq for event in desk.bus.since(0)[0]]
    assert len(heard) == len(set(heard)) == 500


def test_after_a_restart_stored_events_are_still_told(desk: Desk) -> None:
    first = desk.bus.publish(warned("before"))
    desk.bus.publish(warned("missed"))
    desk.close()
    desk.reopen()
    desk.bus.publish(warned("after"))
    events, gap = desk.bus.since(first.seq)
    assert [event.code for event in events if isinstance(event, Warned)] == ["missed", "after"]
    assert not gap


def test_what_left_the_ring_is_a_gap(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "jobs.sqlite")
    bus = Bus(journal, ring=10)
    numbers = [bus.publish(step(call)).seq for call in range(30)]
    assert bus.since(numbers[19]) == (bus.since(numbers[19])[0], False)
    assert len(bus.since(numbers[19])[0]) == 10
    assert bus.since(numbers[18])[1]
    assert bus.since(numbers[-1] + 1000)[1], "a number from another life of the folder"
    journal.close()


def test_of_previews_only_the_newest_is_kept_and_none_after_the_end(desk: Desk) -> None:
    job = desk.submit()
    desk.ledger.take()
    for _ in range(50):
        newest = desk.bus.publish(preview(job.id))
    assert [event.seq for event in desk.bus.since(0)[0] if event.type == "preview"] == [newest.seq]
    assert desk.bus.snapshot()["running"]["preview"]["seq"] == newest.seq
    desk.ledger.finish(job.id, 0.0)
    assert not [event for event in desk.bus.since(0)[0] if event.type == "preview"]
    assert desk.bus.snapshot()["running"] is None


def test_a_durable_event_is_a_row_before_anybody_hears_of_it(desk: Desk) -> None:
    unstored = []

    def check() -> None:
        rows = {row["seq"] for row in desk.journal.read("SELECT seq FROM events")}
        unstored.extend(event for event in desk.bus.since(0)[0] if event.durable and event.seq not in rows)

    desk.bus.watch(check)
    threads = [threading.Thread(target=lambda: [desk.submit() for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for call in range(100):
        desk.bus.publish(step(call))
    for thread in threads:
        thread.join()
    assert unstored == []


def test_events_of_many_threads_are_heard_in_the_order_of_their_numbers(desk: Desk) -> None:
    heard: list[int] = []
    stop = threading.Event()

    def listen() -> None:
        with desk.bus.subscribe(0) as subscription:
            while not stop.is_set() or subscription.seq < desk.bus.last_seq:
                events, gap = subscription.wait(0.1)
                assert not gap
                heard.extend(event.seq for event in events)

    listener = threading.Thread(target=listen)
    listener.start()
    threads = [
        threading.Thread(target=lambda: [desk.bus.publish(warned() if n % 2 else step(n)) for n in range(60)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    listener.join()
    assert heard == sorted(set(heard))
    assert len(heard) == 240


def test_coroutines_listen_and_are_woken_by_other_threads(desk: Desk) -> None:
    async def listen() -> list[int]:
        heard = []
        with desk.bus.subscribe() as subscription:
            threading.Timer(0.05, lambda: [desk.bus.publish(step(call)) for call in range(3)]).start()
            async for event in subscription:
                heard.append(event.seq)
                if len(heard) == 3:
                    break
        return heard

    assert len(asyncio.run(asyncio.wait_for(listen(), 5))) == 3


def test_a_closed_subscription_lets_its_coroutine_go(desk: Desk) -> None:
    async def listen() -> None:
        subscription = desk.bus.subscribe()
        asyncio.get_running_loop().call_later(0.05, subscription.close)
        assert [event async for event in subscription] == []

    asyncio.run(asyncio.wait_for(listen(), 5))


def test_the_snapshot_draws_the_present(desk: Desk) -> None:
    running, waiting = desk.submit(count=2), desk.submit(prompt="next")
    desk.ledger.take()
    desk.bus.publish(step(3, running.id))
    shown = desk.bus.snapshot()
    assert shown["running"]["job"] == running.id
    assert shown["running"]["step"]["call"] == 3
    assert (shown["running"]["summary"]["prompt"], shown["running"]["summary"]["count"]) == ("a fox", 2)
    assert (shown["waiting"]["count"], shown["waiting"]["first"][0]["id"]) == (1, waiting.id)
    assert shown["waiting"]["first"][0]["prompt"] == "next"
    assert (shown["paused"], shown["seq"]) == (False, desk.bus.last_seq)
    desk.queue.pause("because")
    assert (desk.bus.snapshot()["paused"], desk.bus.snapshot()["reason"]) == (True, "because")
    changed = [event for event in desk.bus.since(0)[0] if isinstance(event, QueueChanged)]
    assert changed[-1].order == (waiting.id,)
    queued = [event for event in desk.bus.since(0)[0] if isinstance(event, Queued)]
    assert queued[0].summary["count"] == 2
