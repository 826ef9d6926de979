"""Calendar days and months of a time zone: 23, 24 or 25 hours long."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Day:
    """One day, from midnight to midnight, seconds since 1970 UTC."""

    date: date
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Period:
    """What gets a row: a day, or the days of a month, one after the other."""

    name: str
    days: tuple[Day, ...]

    @property
    def start_s(self) -> int:
        """Its first midnight."""
        return self.days[0].start_s

    @property
    def end_s(self) -> int:
        """The midnight at its end."""
        return self.days[-1].end_s


def midnight_s(day: date, zone: tzinfo) -> int:
    """When a day begins; where the clock is put forward at midnight, the moment of that.

    >>> from zoneinfo import ZoneInfo
    >>> midnight_s(date(2026, 1, 1), ZoneInfo("Europe/Berlin"))
    1767222000
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def each_day(first: date, last: date, zone: tzinfo) -> Iterator[Day]:
    """The days from the first to the last, both included."""
    day = first
    while day <= last:
        following = day + timedelta(days=1)
        yield Day(day, midnight_s(day, zone), midnight_s(following, zone))
        day = following


def by_day(first: date, last: date, zone: tzinfo) -> tuple[Period, ...]:
    """A period for each day."""
    return tuple(Period(day.date.isoformat(), (day,)) for day in each_day(first, last, zone))


def by_month(first: date, last: date, zone: tzinfo) -> tuple[Period, ...]:
    """A period for each month, the first one whole, the last one up to that day."""
    days = each_day(first.replace(day=1), last, zone)
    return tuple(Period(name, tuple(ones)) for name, ones in groupby(days, lambda day: f"{day.date:%Y-%m}"))


def end_of_month(day: date) -> date:
    """The last day of its month.

    >>> end_of_month(date(2028, 2, 3))
    datetime.date(2028, 2, 29)
    """
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
