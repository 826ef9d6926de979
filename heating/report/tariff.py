"""What a kilowatt hour costs, and from when on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Price:
    """A price from a day on, in the currency of the configuration."""

    since: date
    per_kwh: float


def price_of(day: date, prices: Sequence[Price]) -> float | None:
    """The price of a day; `None` before the first one.

    >>> prices = [Price(date(2025, 1, 1), 0.30), Price(date(2026, 1, 1), 0.33)]
    >>> price_of(date(2025, 12, 31), prices), price_of(date(2026, 1, 1), prices)
    (0.3, 0.33)
    """
    valid = [one for one in prices if one.since <= day]
    return max(valid, key=lambda one: one.since).per_kwh if valid else None
