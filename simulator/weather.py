"""Outdoor temperature and sunshine over the day and the year; and drifts, the house's only randomness.

Everything is a function of the time and of phases that are drawn once, so the
same draws give the same weather however often and in whatever steps it is asked.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Draw = Callable[[], float]
"""Draws a number from 0 to 1, as `Random(seed).random` does."""

DAY_S = 86400.0
YEAR_S = 365.2425 * DAY_S
HOUR_S = 3600.0

# The house stands in Central Europe; its sun is highest at 11:30 UTC.
_NOON_S = 11.5 * HOUR_S
_MIDWINTER_S = 11 * DAY_S  # about 11 days before the year's turn, counted backwards


@dataclass(frozen=True, slots=True)
class Drift:
    """A value that wanders within ± `amplitude`, the sum of slow waves.

    >>> round(Drift.drawn(lambda: 0.25, 2.0, periods_s=(60, 3600)).at(0), 6)
    2.0
    """

    amplitude: float
    waves: tuple[tuple[float, float], ...]

    @classmethod
    def drawn(cls, draw: Draw, amplitude: float, *, periods_s: Sequence[float]) -> "Drift":
        """A drift with waves of these periods, each with a phase of its own."""
        waves = tuple((math.tau / period, math.tau * draw()) for period in periods_s)
        return cls(amplitude / len(waves), waves)

    def at(self, time_s: float) -> float:
        """The value at a time."""
        return self.amplitude * sum(math.sin(rate * time_s + phase) for rate, phase in self.waves)


class Weather:
    """The weather of a place and some years. Times are seconds since 1970 UTC."""

    def __init__(self, draw: Draw) -> None:
        self._front = Drift.drawn(draw, 5.0, periods_s=(9.1 * DAY_S, 5.3 * DAY_S, 2.7 * DAY_S))
        self._gusts = Drift.drawn(draw, 0.3, periods_s=(2311, 977))
        self._clouds = Drift.drawn(draw, 0.9, periods_s=(2.9 * DAY_S, 7.3 * HOUR_S, 1900))

    def outdoor_c(self, time_s: float) -> float:
        """Air temperature: near 0 °C in January and 19 °C in July, coldest at half past five in the morning."""
        season = 9.5 - 9.5 * math.cos(math.tau * (time_s - 15 * DAY_S) / YEAR_S)
        day = 3.5 * math.cos(math.tau * (time_s - _NOON_S - 3 * HOUR_S) / DAY_S)
        return season + day + self._front.at(time_s) + self._gusts.at(time_s)

    def sunshine(self, time_s: float) -> float:
        """What the sun gives to a panel, from 0 to 1 of its best in summer; days last 8 to 16 hours."""
        winter = math.cos(math.tau * (time_s + _MIDWINTER_S) / YEAR_S)
        half_day_s = (6 - 2 * winter) * HOUR_S
        from_noon_s = (time_s - _NOON_S + DAY_S / 2) % DAY_S - DAY_S / 2
        if abs(from_noon_s) >= half_day_s:
            return 0.0
        clear = min(1.0, max(0.0, 0.5 + self._clouds.at(time_s)))
        return clear * (0.7 - 0.3 * winter) * math.cos(math.pi / 2 * from_noon_s / half_day_s)
