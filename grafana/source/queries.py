"""The expressions that several panels ask for.

A count's difference is taken, never `increase()`: that one extrapolates, and a
published count never falls, so that the difference is exact, also across a
replaced meter.
"""

from collections.abc import Callable

from heating.report.queries import COUNTS

COMPRESSOR_KW = 0.2
"""Below this the compressor only starts or stops, and heat over electricity means nothing."""


def meter(field: str) -> str:
    """A field of the chosen meter."""
    return f'meter_{field}{{device="$meter"}}'


def heat_pump(field: str) -> str:
    """A field of the chosen heat pump."""
    return f'heatpump_{field}{{device="$heatpump"}}'


def sensor(field: str, variable: str) -> str:
    """A field of the sensor that a variable names."""
    return f'sensor_{field}{{sensor_name="${variable}"}}'


def latest(series: str, within: str = "3h") -> str:
    """The last value of what may speak seldom: a battery sensor wakes every hour or two. Older than that it is none."""
    return f"last_over_time({series}[{within}])"


THERMAL_KW = f"{heat_pump('flow_rate_lpm')} / 60 * {heat_pump('temperature_delta_celsius')} * 4.186"
"""What the water carries, in kW: litres a second times kelvin times 4.186 kJ. Negative while it defrosts."""

RUNS = f"max({heat_pump('compressor_running')}) == 1"

COP = (
    f"sum(avg_over_time(({THERMAL_KW})[5m:30s])) / (sum(avg_over_time({meter('power_total_kw')}[5m])) > {COMPRESSOR_KW})"
    f" and on () {RUNS}"
)
"""Means of 5 minutes, only while the compressor runs; blank otherwise."""


def energy(ask: Callable[[str], str] = str) -> str:
    """What `ask` makes of the chosen meter's count of energy: its total, or else what it imported.

    Each is asked for by itself: a difference of two counts is of the same one.
    """
    return " or on (device) ".join(f"({ask(meter(field))})" for field in COUNTS)


def today(count: str) -> str:
    """What a count has grown by since the panel's range began, which is the day's midnight.

    From the last reading before midnight; where there was none for an hour, from the first one after it.
    """
    return (
        f"last_over_time({count}[1h]) - (last_over_time({count}[1h] offset $__range)"
        f" or min_over_time({count}[$__range]))"
    )


def hourly(count: str) -> str:
    """What a count grows by in the hour that begins, the present one included.

    An hour without readings has nothing, and what flowed meanwhile stands in the
    first hour after it, for outages of up to a day.
    """
    return (
        f"last_over_time({count}[1h] offset -1h)"
        f" - (last_over_time({count}[1h]) or last_over_time(last_over_time({count}[1h])[1d:1h]))"
    )


def hourly_mean(expression: str) -> str:
    """KWh of a power in kW, in the hour that begins: its mean over the minutes that have one, times their share."""
    return f"sum_over_time(({expression})[1h:1m] offset -1h) / 60"
