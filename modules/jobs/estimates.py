"""How long things take here: seconds for each phase, learnt from earlier jobs on this machine."""

import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from modules.core import limits
from modules.core.events import AnyEvent, Phase, PhaseChanged, StepFinished
from modules.core.merging import MergeRequest
from modules.core.request import GenerationRequest
from modules.jobs.job import Job
from modules.jobs.journal import Journal, Transaction

SAMPLES = 8  # the median of so many: one slow run (a cold disk, a busy machine) does not spoil the guess
REMEMBERED = 2_000  # rates of (phase, model, device)
PICTURE_PHASES: tuple[Phase, ...] = ("reading", "steps", "decoding", "saving")
_Key = tuple[str, str, str]


def work(phase: str, request: GenerationRequest) -> float:
    """How much there is to do for one picture, in a unit in which time grows about evenly."""
    if phase == "steps":
        start = request.start
        share = start.denoise_strength if start and not start.exact_steps else 1.0
        done = request.size.pixels * max(1.0, share * request.sampling.steps)
        if request.hires:
            steps = request.hires.steps or request.sampling.steps
            done += request.final_size().pixels * (steps if request.hires.denoise_strength > 0 else 0)
        return float(done)
    if phase in ("decoding", "saving"):
        return float(request.final_size().pixels)
    return 1.0


class Estimates:
    """Rates by phase, model and device, kept in the jobs database; every answer is at least 0, or None if unknown."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._rates: OrderedDict[_Key, deque[float]] = OrderedDict()
        rows = journal.read("SELECT phase, model, device, work, seconds FROM timings ORDER BY number")
        for row in rows:
            self._keep((row["phase"], row["model"], row["device"]), row["seconds"] / row["work"])

    def learn(self, phase: str, model: str, device: str, amount: float, seconds: float) -> None:
        """``amount`` of work took so many seconds; stored when the database has a moment."""
        if amount <= 0 or seconds < 0:
            return
        self._keep((phase, model, device), seconds / amount)

        def store(transaction: Transaction) -> None:
            values = (phase, model, device)
            transaction.execute(
                "INSERT INTO timings (phase, model, device, work, seconds) VALUES (?, ?, ?, ?, ?)",
                (*values, amount, seconds),
            )
            transaction.execute(
                "DELETE FROM timings WHERE number IN (SELECT number FROM timings WHERE phase = ? AND model = ?"
                " AND device = ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (*values, SAMPLES),
            )

        self._journal.post(store)

    def seconds(self, phase: str, model: str, device: str, amount: float = 1.0) -> float | None:
        """How long this may take; by other models on the device where this one is new, None where nothing is known."""
        with self._lock:
            rates = self._rates.get((phase, model, device))
            if not rates:
                rates = deque(
                    rate for key, kept in self._rates.items() if (key[0], key[2]) == (phase, device) for rate in kept
                )
            return max(0.0, statistics.median(rates) * amount) if rates else None

    def job(
        self, request: GenerationRequest, pictures: int, model: str, device: str, *, is_loaded: bool
    ) -> float | None:
        """How long so many pictures may take in all; None until steps were ever timed on this device."""
        if request.sheet:
            loading = 0.0 if is_loaded else self.seconds("loading", model, device) or 0.0
            cells = [self.job(request.at(cell), 1, model, device, is_loaded=True) for cell in range(request.count)]
            whole = None if None in cells else sum(seconds or 0.0 for seconds in cells)
            return None if whole is None else loading + whole * pictures / request.count
        parts = [self.seconds(phase, model, device, work(phase, request)) for phase in PICTURE_PHASES]
        if parts[PICTURE_PHASES.index("steps")] is None:
            return None
        loading = 0.0 if is_loaded else self.seconds("loading", model, device) or 0.0
        return loading + pictures * sum(part or 0.0 for part in parts)

    def merge(self, size_bytes: int) -> float | None:
        """How long a merge may take whose result has this size."""
        return self.seconds("merging", "", "", size_bytes / limits.MIB)

    def _keep(self, key: _Key, rate: float) -> None:
        with self._lock:
            self._rates.setdefault(key, deque(maxlen=SAMPLES)).append(rate)
            self._rates.move_to_end(key)
            if len(self._rates) > REMEMBERED:
                self._rates.popitem(last=False)


class Course:
    """One attempt at a job as time passes: fills estimates into its events and learns from them.

    Clocks are monotonic, so a changed system time moves nothing.
    """

    def __init__(
        self, estimates: Estimates, job: Job, model: str, device: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        whole = job.request
        self._whole = None if isinstance(whole, MergeRequest) else whole
        self._request = self._whole.at(0) if self._whole else None
        self._model = model or (self._whole.model.checkpoint if self._whole else "")
        self._estimates, self._device, self._clock = estimates, device, clock
        self._started = self._picture_started = self._phase_started = clock()
        self._phase: Phase | None = None
        self._seconds: dict[Phase, float] = {}  # of the picture being made; two passes add up

    def hear(self, event: AnyEvent) -> AnyEvent:
        """The same event; a phase comes back with its estimate where the engine itself had none."""
        if isinstance(event, StepFinished) and self._phase == "merging":
            return self._merged(event)
        if not isinstance(event, PhaseChanged):
            return event
        self._leave()
        if event.phase == "loading" and event.detail:
            self._model = event.detail
        if self._whole and self._whole.sheet:
            self._request = self._whole.at(event.picture)
        self._phase, self._phase_started = event.phase, self._clock()
        if event.estimate_s is not None or self._request is None:
            return event
        amount = work(event.phase, self._request)
        seconds = self._estimates.seconds(event.phase, self._model, self._device, amount)
        return event.model_copy(update={"estimate_s": seconds})

    def picture_elapsed_s(self) -> float:
        """Since the picture before was saved, or since the attempt began."""
        return max(0.0, self._clock() - self._picture_started)

    def picture_ended(self) -> None:
        """A picture is saved: learn how long each of its phases took."""
        self._leave()
        request = self._request
        assert request is not None  # a merge makes no picture
        for phase, seconds in self._seconds.items():
            self._estimates.learn(phase, self._model, self._device, work(phase, request), seconds)
        self._seconds.clear()
        self._picture_started = self._clock()

    def elapsed_s(self) -> float:
        """Since this attempt began."""
        return max(0.0, self._clock() - self._started)

    def _merged(self, event: StepFinished) -> StepFinished:
        """A merge's step with the time that is left; the last one is learnt from."""
        taken = self._clock() - self._phase_started
        if event.call == event.calls:
            self._estimates.learn("merging", "", "", event.call, taken)
        return event.model_copy(update={"eta_s": taken / event.progress - taken if event.progress else None})

    def _leave(self) -> None:
        if self._phase is not None:
            taken = max(0.0, self._clock() - self._phase_started)
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + taken
        self._phase = None
