"""How long things take here: seconds a unit of work, learnt from what was done before."""

LEARNING = 0.4  # how much of the newest measurement is believed


class Pace:
    """Estimates by kind of work and model; a unit is whatever the work grows with (bytes, pixels, calls x pixels)."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], float] = {}

    def learn(self, work: str, model: str, units: float, seconds: float) -> None:
        """So long took so much work."""
        if units <= 0:
            return
        rate, known = seconds / units, self._rates.get((work, model))
        self._rates[work, model] = rate if known is None else known + LEARNING * (rate - known)

    def estimate_s(self, work: str, model: str, units: float) -> float | None:
        """How long so much work will take; None where nothing like it was done yet."""
        rate = self._rates.get((work, model))
        return None if rate is None else rate * units
