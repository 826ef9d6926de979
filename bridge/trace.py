"""The last hours of one field, for the page's charts."""

from array import array
from typing import NamedTuple

RESOLUTION_S = 60
HISTORY_POINTS = 360
"""Six hours, one point a minute: 6 kB a field at most."""


class Point(NamedTuple):
    """One point of a field's last hours."""

    age_s: float
    value: float


class Trace:
    """The last reading of each minute that had one.

    Real readings, not means: a chart shows nothing that was not measured.
    """

    __slots__ = ("_minutes", "_values")

    def __init__(self) -> None:
        self._minutes = array("q")
        self._values = array("d")

    def add(self, at: float, value: float) -> None:
        """A reading of this time (monotonic); one that comes late is passed over."""
        minute = int(at // RESOLUTION_S)
        if not self._minutes or minute > self._minutes[-1]:
            self._minutes.append(minute)
            self._values.append(value)
            while minute - self._minutes[0] >= HISTORY_POINTS:
                del self._minutes[0], self._values[0]
        elif minute == self._minutes[-1]:
            self._values[-1] = value

    def points(self, now: float) -> tuple[Point, ...]:
        """What is not too old, oldest first."""
        oldest = int(now // RESOLUTION_S) - HISTORY_POINTS
        return tuple(
            Point(max(now - minute * RESOLUTION_S, 0.0), value)
            for minute, value in zip(self._minutes, self._values, strict=True)
            if minute > oldest
        )
