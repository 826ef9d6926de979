"""What is asked of Prometheus, and in which pieces.

Range queries whose points are the ends of half hours: a piece stays far below
the 11,000 points that Prometheus answers at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heating.report.measured import HALF_HOUR_S

POINTS = 1488
"""Of one query: a month of half hours."""

COUNTS = ("energy_total_kwh", "energy_import_total_kwh")
"""The fields that count what a meter's house took: its own total, or else, as most meters have only that, the import.

The dashboards go by it too.
"""

ENERGY = tuple(f"meter_{field}" for field in COUNTS)
SENSOR = "sensor_temperature_celsius"
HEAT_PUMP_OUTDOOR = "heatpump_outdoor_temperature_celsius"
FLOW = "heatpump_flow_rate_lpm"
SPREAD = "heatpump_temperature_delta_celsius"

WATER = 4.186
"""Heat capacity of water, kJ per litre and kelvin; L/min divided by 60, times kelvin, times this is kW."""

LEAST_MINUTES = 27
"""A half hour's heat is known when so many of its minutes are: a restart or a lost answer is no gap."""


@dataclass(frozen=True, slots=True)
class Outdoor:
    """Where the outdoor temperature comes from.

    Attributes:
        metric: The series' name.
        label: The label that says which, `device` or `sensor_name`.
        name: Its value.
    """

    metric: str
    label: str
    name: str


@dataclass(frozen=True, slots=True)
class Piece:
    """The times of one range query: the ends of half hours, first and last, seconds since 1970 UTC."""

    first_s: int
    last_s: int


def cut(start_s: int, end_s: int) -> Iterator[Piece]:
    """The pieces of a span; its half hours end after `start_s`, up to `end_s`.

    >>> [((piece.last_s - piece.first_s) // 1800 + 1) for piece in cut(0, 1800 * 1490)]
    [1488, 2]
    """
    first_s = start_s + HALF_HOUR_S
    while first_s <= end_s:
        last_s = min(first_s + (POINTS - 1) * HALF_HOUR_S, end_s)
        yield Piece(first_s, last_s)
        first_s = last_s + HALF_HOUR_S


def lowest_count(meter: str) -> str:
    r"""The lowest count of the meter's energy, kWh; of its total, or of what was imported where it has none.

    >>> print(lowest_count("m").replace(" or ", "\n or "))
    min(min_over_time(meter_energy_total_kwh{device="m"}[30m]))
     or min(min_over_time(meter_energy_import_total_kwh{device="m"}[30m]))
    """
    return " or ".join(f"min(min_over_time({select(one, 'device', meter)}[30m]))" for one in ENERGY)


def highest_count(meter: str) -> str:
    """The highest count of the meter's energy, kWh; the same."""
    return " or ".join(f"max(max_over_time({select(one, 'device', meter)}[30m]))" for one in ENERGY)


def mean_outdoor(source: Outdoor) -> str:
    """The mean temperature, °C."""
    return f"avg(avg_over_time({select(source.metric, source.label, source.name)}[30m]))"


def heat(heat_pump: str) -> str:
    """The heat of a half hour, kWh: minute by minute, flow times spread; nothing where minutes are missing.

    The window is a second short of its half hour, for a release of Prometheus either counts both ends or one.
    """
    flow, spread = (f"max({select(metric, 'device', heat_pump)})" for metric in (FLOW, SPREAD))
    product = f"({flow} * {spread})[1799s:1m]"
    return (
        f"avg(avg_over_time({product}) and count_over_time({product}) >= {LEAST_MINUTES})"
        f" * {WATER} / 60 * {HALF_HOUR_S} / 3600"
    )


def select(metric: str, label: str, value: str) -> str:
    r"""The selector of a device's series.

    >>> select("sensor_temperature_celsius", "sensor_name", 'a"b')
    'sensor_temperature_celsius{sensor_name="a\\"b"}'
    """
    return f'{metric}{{{label}="{escape(value)}"}}'


def escape(value: str) -> str:
    r"""A label's value as it stands between quotes.

    >>> print(escape('a"b'))
    a\"b
    """
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
