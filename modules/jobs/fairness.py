"""Whose turn it is: priorities first, then the clients in turn, each client's own jobs in their own order."""

import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

REMEMBERED_CLIENTS = 1_000
OVERTAKEN_JOBS = 3  # a job is overtaken for a warm model by at most so many others ...
OVERTAKEN_S = 60.0  # ... and for at most so long


class Waiting(NamedTuple):
    """One queued job as the choice sees it."""

    id: str
    client: str
    priority: int
    position: float
    model: str


class Turns:
    """Round robin between clients, with a bounded preference for the model that is loaded.

    Waiting jobs are handed in as they are; only whose turn it was, and who was overtaken, is remembered here.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = 0
        self._served: OrderedDict[str, int] = OrderedDict()
        self._overtaken: dict[str, tuple[int, float]] = {}  # job: how often, and since when

    def order(self, waiting: Iterable[Waiting]) -> Iterator[Waiting]:
        """The jobs in the order in which they would run, were nothing submitted meanwhile and no model preferred."""
        with self._lock:
            served, turn = dict(self._served), self._turn
        for _, same in _by_priority(waiting):
            lines = _lines(same)
            _seat(lines, served, turn)
            heads = [(served[client], line[0].position, client) for client, line in lines.items()]
            heapq.heapify(heads)
            places = dict.fromkeys(lines, 0)
            while heads:
                _, _, client = heapq.heappop(heads)
                yield lines[client][places[client]]
                turn += 1
                served[client] = turn
                places[client] += 1
                if places[client] < len(lines[client]):
                    heapq.heappush(heads, (turn, lines[client][places[client]].position, client))

    def choose(self, waiting: Iterable[Waiting], warm: Collection[str]) -> Waiting | None:
        """The next job.

        ``warm`` has the loaded model's names: among equal priorities a client's first job that wants it may go before
        those of other clients, while none of these was overtaken too often or too long.
        """
        classes = _by_priority(waiting)
        if not classes:
            return None
        with self._lock:
            return self._choose(_lines(classes[0][1]), warm)

    def _choose(self, lines: dict[str, list[Waiting]], warm: Collection[str]) -> Waiting:
        _seat(lines, self._served, self._turn)
        heads = sorted((line[0] for line in lines.values()), key=lambda job: (self._served[job.client], job.position))
        place = next((index for index, job in enumerate(heads) if job.model in warm), 0)
        if place and not all(self._may_be_overtaken(job) for job in heads[:place]):
            place = 0
        for job in heads[:place]:
            often, since = self._overtaken.get(job.id, (0, self._clock()))
            self._overtaken[job.id] = (often + 1, since)
        self._serve(heads[place])
        return heads[place]

    def forget(self, job: str) -> None:
        """The job is gone."""
        with self._lock:
            self._overtaken.pop(job, None)

    def _may_be_overtaken(self, job: Waiting) -> bool:
        often, since = self._overtaken.get(job.id, (0, self._clock()))
        return often < OVERTAKEN_JOBS and self._clock() - since < OVERTAKEN_S

    def _serve(self, job: Waiting) -> None:
        self._turn += 1
        self._served[job.client] = self._turn
        self._served.move_to_end(job.client)
        while len(self._served) > REMEMBERED_CLIENTS:
            self._served.popitem(last=False)
        self._overtaken.pop(job.id, None)


def _seat(lines: dict[str, list[Waiting]], served: dict[str, int], turn: int) -> None:
    """Newcomers count as served just now: they come after everybody who waits already, and then in turn with them."""
    for client in lines:
        served.setdefault(client, turn)


def _by_priority(waiting: Iterable[Waiting]) -> list[tuple[int, list[Waiting]]]:
    classes: dict[int, list[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (-job.priority, job.position)):
        classes.setdefault(job.priority, []).append(job)
    return list(classes.items())


def _lines(jobs: list[Waiting]) -> dict[str, list[Waiting]]:
    lines: dict[str, list[Waiting]] = {}
    for job in jobs:
        lines.setdefault(job.client, []).append(job)
    return lines
