"""A house simple enough that years of it take seconds, and its energy per day is known by adding up minutes.

It knows nothing of the report: midnights are written by hand, as UTC.
"""

import math
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from poller.energy import Count, judge_count
from poller.filters import Accepted
from poller.points import Rules

MINUTE_S = 60
WATER_KW = 4.186 / 60
SPREAD_K = 5.0


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


BERLIN_CHANGES = [
    ("2023-10-29T01:00", 1),
    ("2024-03-31T01:00", 2),
    ("2024-10-27T01:00", 1),
    ("2025-03-30T01:00", 2),
    ("2025-10-26T01:00", 1),
    ("2026-03-29T01:00", 2),
]
"""From when on the clock is so many hours ahead of UTC, from the calendar of the European Union."""


def berlin_midnight_s(day: str) -> int:
    """When a day begins in Berlin, by the list above."""
    midnight = utc(f"{day}T00:00")
    hours = [hours for at, hours in BERLIN_CHANGES if utc(at) <= midnight - 3600][-1]
    return midnight - hours * 3600


def days(first: str, last: str) -> Iterator[str]:
    day = datetime.fromisoformat(first)
    while day <= datetime.fromisoformat(last):
        yield f"{day:%Y-%m-%d}"
        day += timedelta(days=1)


def power_kw(at_s: float) -> float:
    """Between 0.2 and 3 kW: more in winter, more in the morning."""
    year, day = at_s / (365.25 * 86400), at_s / 86400
    return 1.6 + 0.9 * math.cos(2 * math.pi * year) + 0.5 * math.sin(2 * math.pi * day * 1.37)


def outdoor_celsius(at_s: float) -> float:
    return 9 - 12 * math.cos(2 * math.pi * at_s / (365.25 * 86400)) + 4 * math.sin(2 * math.pi * at_s / 86400)


def cop(at_s: float) -> float:
    return 3.0 + outdoor_celsius(at_s) / 20


@dataclass(frozen=True)
class Outage:
    """Nothing is read from one time to another, seconds since 1970 UTC."""

    from_s: int
    to_s: int


@dataclass(frozen=True)
class NewMeter:
    """A meter that is put in at a time, and what it had counted elsewhere, kWh."""

    at_s: int
    serial: str
    begins_at: float


METER = Rules("energy", range=(0, 9999999), resolution=0.01, max_power_kw=45)


@dataclass
class SimpleHouse:
    """A house over spans of time; the count goes on from one to the next.

    Where meters are replaced, what is stored is what the poller's filter makes of
    their registers; what is true are the `counts` all the same.
    """

    spans: Sequence[tuple[int, int]]
    outages: Sequence[Outage] = ()
    meters: Sequence[NewMeter] = ()
    step_s: int = MINUTE_S

    def __post_init__(self) -> None:
        self.counts: dict[int, float] = {}
        count = 1000.0
        for start_s, end_s in self.spans:
            for at_s in range(start_s, end_s + 1, self.step_s):
                self.counts[at_s] = count
                count += power_kw(at_s + self.step_s / 2) * self.step_s / 3600
        self.published = dict(self._publish()) if self.meters else self.counts

    def _publish(self) -> Iterator[tuple[int, float]]:
        waiting, filtered, serial, offset = list(self.meters), Count(), "1", 0.0
        for at_s, count in self.counts.items():
            if waiting and at_s >= waiting[0].at_s:
                new = waiting.pop(0)
                serial, offset = new.serial, new.begins_at - count
            if not self.is_out(at_s):
                register = round(count + offset, 2)
                verdict, filtered = judge_count(METER, filtered, register, at_s, serial)
                if isinstance(verdict, Accepted):
                    yield at_s, verdict.value

    def is_out(self, at_s: int) -> bool:
        return any(one.from_s <= at_s < one.to_s for one in self.outages)

    def day_kwh(self, day: str) -> float:
        """What is true."""
        following = f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}"
        return self.counts[berlin_midnight_s(following)] - self.counts[berlin_midnight_s(day)]

    def day_heat_kwh(self, day: str) -> float:
        start_s, end_s = berlin_midnight_s(day), berlin_midnight_s(day) + 86400
        return sum(
            power_kw(at_s) * cop(at_s) * self.step_s / 3600 for at_s in range(start_s, end_s, self.step_s)
        )

    def day_mean_celsius(self, day: str) -> float:
        start_s = berlin_midnight_s(day)
        return sum(outdoor_celsius(start_s + minute * 60) for minute in range(1440)) / 1440

    def lines(self) -> Iterator[str]:
        """OpenMetrics, as promtool takes it."""
        for name, labels, value in (
            ("meter_energy_total_kwh", 'device="meter"', self.published.get),
            ("sensor_temperature_celsius", 'sensor_name="temp_outdoor"', outdoor_celsius),
            ("heatpump_temperature_delta_celsius", 'device="heatpump"', lambda _: SPREAD_K),
            (
                "heatpump_flow_rate_lpm",
                'device="heatpump"',
                lambda at_s: power_kw(at_s) * cop(at_s) / WATER_KW / SPREAD_K,
            ),
        ):
            yield f"# TYPE {name} gauge"
            for at_s in self.counts:
                if not self.is_out(at_s) and (number := value(at_s)) is not None:
                    yield f"{name}{{{labels}}} {number:.6f} {at_s}"
        yield "# EOF"


def fill(folder: Path, lines: Iterator[str]) -> Path:
    """A folder of data for Prometheus, made by promtool."""
    promtool = shutil.which("promtool")
    assert promtool is not None
    text, data = folder / "openmetrics", folder / "data"
    text.write_text("".join(f"{line}\n" for line in lines))
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h", "--quiet"]
    subprocess.run([*command, str(text), str(data)], check=True, capture_output=True, timeout=600)
    text.unlink()
    return data
