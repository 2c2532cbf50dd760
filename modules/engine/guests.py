"""Puts the samplers and schedules that extensions add into the engine's tables."""

from modules.core import sampling
from modules.engine.samplers.table import SAMPLERS, Sampler, one_a_step
from modules.engine.schedules import SCHEDULES
from modules.extend.registers import Registers


def seat(registers: Registers) -> None:
    """Exactly these stand beside the built-in ones from now on; a built-in name cannot be taken."""
    for table in (SAMPLERS, SCHEDULES):
        for name in [name for name, row in table.items() if name in _seated and row is _seated[name]]:
            del table[name]
    _seated.clear()
    known = {row.name for row in sampling.SAMPLERS} | {row.name for row in sampling.SCHEDULES}
    for facts, walk in registers.samplers.rows:
        if facts.name in known and facts.name not in SAMPLERS:
            SAMPLERS[facts.name] = _seated[facts.name] = Sampler(facts.name, walk, one_a_step)
    for facts, function in registers.schedules.rows:
        if facts.name in known and facts.name not in SCHEDULES:
            SCHEDULES[facts.name] = _seated[facts.name] = function


_seated: dict[str, object] = {}
