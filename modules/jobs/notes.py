"""What a request names and there is none of: told before it is queued, and as warnings of its job."""

from collections.abc import Iterable
from typing import Any

from modules.core.errors import WorkbenchError
from modules.core.events import Warned
from modules.jobs.bus import Bus
from modules.jobs.job import Job
from modules.planning.check import Problem


def tell(bus: Bus, job: Job, notes: Iterable[Problem]) -> None:
    """Warn about each note: the job goes on without what it names. The job is stored, so nothing is raised."""
    for note in notes:
        facts: dict[str, Any] = {**note.facts, "field": note.field}
        try:
            bus.publish(Warned(job=job.id, code=note.code, message=note.message, hint=note.hint, facts=facts))
        except WorkbenchError:
            return  # a full disk loses warnings, never a job
