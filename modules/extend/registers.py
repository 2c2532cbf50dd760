"""What extensions add to the whole program: samplers, schedules and families, their names known everywhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modules.core import sampling
from modules.core.errors import ExtensionFailed
from modules.core.sampling import SamplerFacts, ScheduleFacts
from modules.extend.loader import Registry

F = TypeVar("F")


@dataclass
class Register(Generic[F]):
    """Takes what an extension adds: ``add(facts, function)``; facts for the page, the function for the engine."""

    kind: type[F]
    rows: list[tuple[F, Callable[..., Any]]] = field(default_factory=list)

    def add(self, facts: F, function: Callable[..., Any]) -> None:
        """Raises TypeError for facts of another kind or something that cannot be called."""
        if not isinstance(facts, self.kind) or not callable(function):
            raise TypeError(f"add({self.kind.__name__}(...), function) is wanted")
        self.rows.append((facts, function))


@dataclass
class Registers:
    """Everything that the active extensions add."""

    samplers: Register[SamplerFacts] = field(default_factory=lambda: Register(SamplerFacts))
    schedules: Register[ScheduleFacts] = field(default_factory=lambda: Register(ScheduleFacts))
    families: list[Any] = field(default_factory=list)


def gather(registry: Registry, failed: Callable[[ExtensionFailed], None]) -> Registers:
    """Ask the active extensions, and make the names known to requests, forms and the API of this process."""
    made = Registers()
    hooks = registry.program_hooks(failed)
    hooks.tell("register_samplers", samplers=made.samplers)
    hooks.tell("register_schedules", schedules=made.schedules)
    hooks.tell("register_families", families=made.families)
    sampling.set_guests([row for row, _ in made.samplers.rows], [row for row, _ in made.schedules.rows])
    return made
