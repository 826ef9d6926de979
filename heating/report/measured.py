"""What was measured, half hour by half hour.

Every midnight of a time zone that is in use lies on one grid of half hours,
also before and after the clocks change. So a day is a run of half hours, and
one query brings months of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

HALF_HOUR_S = 1800

Values = Sequence[float | None]
"""One value for each half hour; `None` where nothing was read."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The half hours from `start_s` on; all sequences have the same length.

    Attributes:
        start_s: The beginning of the first one, seconds since 1970 UTC.
        lowest_kwh: The meter's lowest count of each, which is its first: a count never falls.
        highest_kwh: The highest, which is its last.
        outdoor_celsius: Mean outdoor temperature.
        thermal_kwh: Heat that the water took away; `None` where it was not measured for the whole half hour.
        until_s: When it was asked: what is still to come is no gap.
    """

    start_s: int
    lowest_kwh: Values
    highest_kwh: Values
    outdoor_celsius: Values
    thermal_kwh: Values
    until_s: float = math.inf

    def place(self, at_s: int) -> int:
        """How many half hours lie before a time.

        >>> Measured(1767222000, [], [], [], []).place(1767222000 + 3600)
        2
        """
        return (at_s - self.start_s) // HALF_HOUR_S

    def gap_h(self, first: int, end: int) -> float:
        """Hours without a reading of the meter, from one half hour to another."""
        been = end if math.isinf(self.until_s) else min(end, self.place(int(self.until_s)))
        return sum(one is None for one in self.lowest_kwh[first:been]) * HALF_HOUR_S / 3600

    def before(self) -> Values:
        """The last count before each half hour, and before what would come after the last one."""
        return list(accumulate([None, *self.highest_kwh], _keep))

    def after(self) -> Values:
        """The first count from each half hour on."""
        return list(accumulate([None, *reversed(self.lowest_kwh)], _keep))[::-1]

    def electric_kwh(self) -> Values:
        """What each half hour used, where its readings join those of the one before."""
        return [
            None if one is None or highest is None else highest - one
            for one, highest in zip([None, *self.highest_kwh][:-1], self.highest_kwh, strict=True)
        ]


def _keep(known: float | None, new: float | None) -> float | None:
    return known if new is None else new
