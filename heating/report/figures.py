"""The figures of a day or a month, from what was measured; what is not known stays unknown.

The energy of a day is the count at its end less the count at its beginning.
What stood on the meter at a midnight lies between the last reading before it
and the first one after. Where both are close the midnight is known, also
within an outage in which nothing was used. Otherwise that energy is in neither
day, and both say so; it is not lost to the month.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from heating.report.days import Day, Period
from heating.report.measured import Measured, Values
from heating.report.tariff import Price, price_of

MIDNIGHT_KWH = 0.2
"""How far the readings around a midnight may lie apart; the error is at most half of it."""

FALL_KWH = 0.01
"""What a float32 may lose by rounding; a count that falls further has begun anew."""

LONGEST_GAP = 4
"""How many half hours in a row a day's mean temperature may lack."""

ENOUGH = 0.75
"""The share of the half hours that a COP must be made of."""

LEAST_KWH = 0.1
"""Below it a COP says nothing."""


class Status(StrEnum):
    """What the energy of a row is worth."""

    OK = "OK"
    PARTIAL = "PARTIAL"
    FELL = "FELL"
    NO_DATA = "NO_DATA"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the person who reads the report has chosen.

    Attributes:
        base_celsius: A day that is colder counts as a heating day.
        indoor_celsius: Up to where its degree days are counted.
    """

    base_celsius: float = 15.0
    indoor_celsius: float = 20.0
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of the report; `None` is 'not known'.

    Attributes:
        start_kwh: The meter's count at the beginning, or its first reading where that is not known.
        end_kwh: The same for the end.
        cost: In the currency of the configuration.
        degree_days: Kelvin times days.
        degree_days_lack: The days of it whose mean temperature is not known.
        cop: Heat per electric energy, of the half hours in which both were measured.
        gap_h: Hours in which the meter was not read.
    """

    name: str
    status: Status
    start_kwh: float | None = None
    end_kwh: float | None = None
    energy_kwh: float | None = None
    outdoor_celsius: float | None = None
    cost: float | None = None
    degree_days: float | None = None
    degree_days_lack: int = 0
    thermal_kwh: float | None = None
    cop: float | None = None
    gap_h: float = 0.0


def make_figures(measured: Measured, periods: Sequence[Period], rules: Rules) -> list[Figures]:
    """The row of each period."""
    maker = _Maker(measured, rules)
    return [maker.row(one) for one in periods]


def make_total(measured: Measured, period: Period, rules: Rules) -> Figures:
    """The row of all of it: with what was used around a midnight that is not known, in no day's row."""
    return _Maker(measured, rules).row(period)


@dataclass(frozen=True, slots=True)
class _Energy:
    status: Status
    start_kwh: float | None = None
    end_kwh: float | None = None
    energy_kwh: float | None = None


class _Maker:
    def __init__(self, measured: Measured, rules: Rules) -> None:
        self._measured = measured
        self._rules = rules
        self._before = measured.before()
        self._after = measured.after()
        self._electric = measured.electric_kwh()
        self._days: dict[Day, Figures] = {}

    def row(self, period: Period) -> Figures:
        first, end = self._measured.place(period.start_s), self._measured.place(period.end_s)
        days = [self._day(day) for day in period.days]
        energy = self._energy(first, end)
        thermal, cop = self._heat(first, end)
        means = [one.outdoor_celsius for one in days if one.outdoor_celsius is not None]
        counted = [one.degree_days for one in days if one.degree_days is not None]
        return Figures(
            name=period.name,
            status=energy.status,
            start_kwh=energy.start_kwh,
            end_kwh=energy.end_kwh,
            energy_kwh=energy.energy_kwh,
            outdoor_celsius=fmean(means) if means else None,
            cost=self._cost(period, days, energy.energy_kwh),
            degree_days=sum(counted) if counted else None,
            degree_days_lack=len(days) - len(counted),
            thermal_kwh=thermal,
            cop=cop,
            gap_h=self._measured.gap_h(first, end),
        )

    def _day(self, day: Day) -> Figures:
        """What of a day is added up in its month."""
        if day not in self._days:
            first, end = self._measured.place(day.start_s), self._measured.place(day.end_s)
            mean = _mean(self._measured.outdoor_celsius[first:end])
            energy = self._energy(first, end)
            self._days[day] = Figures(
                name=day.date.isoformat(),
                status=energy.status,
                energy_kwh=energy.energy_kwh,
                outdoor_celsius=mean,
                degree_days=None if mean is None else self._degree_days(mean),
            )
        return self._days[day]

    def _energy(self, first: int, end: int) -> _Energy:
        lowest, highest = self._measured.lowest_kwh[first:end], self._measured.highest_kwh[first:end]
        own_first = next((one for one in lowest if one is not None), None)
        own_last = next((one for one in reversed(highest) if one is not None), None)
        start, end_count = self._midnight(first), self._midnight(end)
        if own_first is None or own_last is None:
            if start is None or end_count is None:
                return _Energy(Status.NO_DATA)
            own_first = own_last = start
        if self._falls(first, end):
            return _Energy(Status.FELL, own_first, own_last)
        status = Status.PARTIAL if start is None or end_count is None else Status.OK
        start_kwh = own_first if start is None else start
        end_kwh = own_last if end_count is None else end_count
        return _Energy(status, start_kwh, end_kwh, max(end_kwh - start_kwh, 0.0))

    def _midnight(self, place: int) -> float | None:
        """What stood on the meter then, where that is known."""
        before, after = self._before[place], self._after[place]
        if before is None or after is None or not -FALL_KWH <= after - before <= MIDNIGHT_KWH:
            return None
        return (before + after) / 2

    def _falls(self, first: int, end: int) -> bool:
        """Whether a half hour begins below where the last one ended: another meter, and nobody kept the difference."""
        return any(
            lowest is not None and before is not None and lowest < before - FALL_KWH
            for lowest, before in zip(
                self._measured.lowest_kwh[first:end], self._before[first:end], strict=True
            )
        )

    def _degree_days(self, mean: float) -> float:
        return self._rules.indoor_celsius - mean if mean < self._rules.base_celsius else 0.0

    def _cost(self, period: Period, days: Sequence[Figures], energy_kwh: float | None) -> float | None:
        """What is in no day's energy costs what the days' cost on average."""
        prices = [price_of(day.date, self._rules.prices) for day in period.days]
        known = [one for one in prices if one is not None]
        if energy_kwh is None or not known or len(known) < len(prices):
            return None
        weights = [one.energy_kwh or 0.0 for one in days]
        if not sum(weights):
            return energy_kwh * fmean(known)
        return (
            energy_kwh
            * sum(price * weight for price, weight in zip(known, weights, strict=True))
            / sum(weights)
        )

    def _heat(self, first: int, end: int) -> tuple[float | None, float | None]:
        """The heat that was measured, and the COP of the half hours in which the electric energy was, too."""
        heats = self._measured.thermal_kwh[first:end]
        if all(one is None for one in heats):
            return None, None
        both = [
            (heat, used)
            for heat, used in zip(heats, self._electric[first:end], strict=True)
            if heat is not None and used is not None
        ]
        heat, used = sum(one for one, _ in both), sum(one for _, one in both)
        is_enough = len(both) >= ENOUGH * (end - first) and used >= LEAST_KWH
        return sum(one for one in heats if one is not None), heat / used if is_enough else None


def _mean(values: Values) -> float | None:
    """The mean of a day's half hours; `None` when too many in a row are missing."""
    known = [one for one in values if one is not None]
    gap = longest = 0
    for one in values:
        gap = gap + 1 if one is None else 0
        longest = max(longest, gap)
    return fmean(known) if known and longest <= LONGEST_GAP else None
