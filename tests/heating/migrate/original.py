"""What the original system would have stored of a simple house, with its ways and mishaps, and what is true.

Its exporter shows 0 until it has read, stands still when its meter is away, and keeps a count that is too high
until it is started again. None of it knows anything of the migration.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bridge.sample import Sample, Series
from tests.heating.report.simple_house import cop, outdoor_celsius, power_kw, utc

SCRAPED = {"instance": "modbus_exporter:9100", "job": "wago"}
BY_SENSORS = {"instance": "iot-api:8000", "job": "temperature-sensors"}
BY_CONTROL = {"instance": "lg_r290_service:8000", "job": "heatpump"}
SENSOR = {"device_id": "bthome:1", "gateway_id": "gw", "sensor_id": "200", "sensor_name": "temp_outdoor"}
OLD_METER_KWH, ENERGY = 2900.0, "energy_total_kwh"
WATER_KW = 4.186 / 60


@dataclass(frozen=True)
class Past:
    """When things happened, seconds since 1970 UTC."""

    start_s: int = utc("2026-03-05T22:00")
    restarted_s: int = utc("2026-03-06T09:00")
    latched_s: int = utc("2026-03-07T08:00")
    unlatched_s: int = utc("2026-03-07T10:00")
    replaced_s: int = utc("2026-03-10T12:00")
    away_s: tuple[int, int] = (utc("2026-03-13T02:00"), utc("2026-03-13T09:00"))
    frozen_s: tuple[int, int] = (utc("2026-03-15T10:00"), utc("2026-03-15T14:00"))
    changed_s: int = utc("2026-03-19T15:00")
    end_s: int = utc("2026-04-05T00:00")
    step_s: int = 120
    new_step_s: int = 240


class OriginalHouse:
    """The house, and what two systems made of it."""

    def __init__(self, past: Past) -> None:
        self.past = past
        self.used: dict[int, float] = {}
        used = 0.0
        for at_s in range(past.start_s, past.end_s + 1, past.step_s):
            self.used[at_s] = used
            used += power_kw(at_s + past.step_s / 2) * past.step_s / 3600

    def kwh(self, from_s: int, to_s: int) -> float:
        """What was used: true, whatever the meters and programs did."""
        return self.used[to_s] - self.used[from_s]

    def register(self, at_s: int) -> float:
        """What stands on the meter that is there: the second one began at 0."""
        if at_s < self.past.replaced_s:
            return OLD_METER_KWH + self.used[at_s]
        return self.kwh(self.past.replaced_s, at_s) + 0.05

    def meter(self, at_s: int) -> dict[str, float]:
        """What it reads."""
        return {
            "power_total_kw": power_kw(at_s),
            ENERGY: round(self.register(at_s), 2),
            "energy_L1_kwh": round(self.register(at_s) / 3, 2),
            "frequency_hz": 50 + 0.02 * math.sin(at_s),
            "power_factor": 0.95,
        }

    def lines(self) -> Iterator[str]:
        """The original's, as OpenMetrics; series by series."""
        scrapes = list(self._scrapes())
        for name in self.meter(self.past.start_s):
            yield from (line(f"wago_{name}", SCRAPED, values[name], at_s) for at_s, values in scrapes)
        for at_s, _ in scrapes:
            yield line("sensor_temperature_celsius", SENSOR | BY_SENSORS, outdoor_celsius(at_s), at_s)
        for name in pump(0):
            yield from (line(f"heatpump_{name}", BY_CONTROL, pump(at_s)[name], at_s) for at_s, _ in scrapes)
        yield "# EOF"

    def _scrapes(self) -> Iterator[tuple[int, dict[str, float]]]:
        past, shown = self.past, dict.fromkeys(self.meter(self.past.start_s), 0.0)
        for at_s in range(past.start_s, past.changed_s, past.step_s):
            if past.away_s[0] <= at_s < past.away_s[1]:
                continue
            if at_s in {past.start_s, past.restarted_s, past.unlatched_s, past.replaced_s}:
                shown = dict.fromkeys(shown, 0.0)
            elif at_s == past.restarted_s + past.step_s:
                # Scraped while it read for the first time: the power is there, all else not yet.
                shown = dict.fromkeys(shown, 0.0) | {"power_total_kw": power_kw(at_s)}
            elif not past.frozen_s[0] <= at_s < past.frozen_s[1]:
                shown = self.meter(at_s) | self._wrong(at_s)
            yield at_s, shown

    def _wrong(self, at_s: int) -> Mapping[str, float]:
        past = self.past
        if past.latched_s <= at_s < past.unlatched_s:
            return {ENERGY: 65535.0}
        return {
            past.restarted_s + 3600: {"power_total_kw": 3.67e-27},
            past.restarted_s + 3600 + past.step_s: {"power_total_kw": 3.67e-27},
            past.restarted_s + 7200: {"power_total_kw": 1e30, "power_factor": math.nan},
            past.restarted_s + 7800: {"frequency_hz": 65535.0},
        }.get(at_s, {})

    def samples(self) -> Iterator[Sample]:
        """This system's, from the change on, in the order of time: its energy counts come with the third reading."""
        past = self.past
        for at_s in range(past.changed_s + past.step_s, past.end_s + 1, past.new_step_s):
            fields = self.meter(at_s)
            if at_s <= past.changed_s + 2 * past.new_step_s:
                fields = {name: value for name, value in fields.items() if "energy" not in name}
            for name, value in fields.items():
                for prefix in ("meter", "wago"):
                    yield sample(f"{prefix}_{name}", {"device": "meter", "site": "home"}, value, at_s)
            for name, value in pump(at_s).items():
                yield sample(f"heatpump_{name}", {"device": "heatpump", "site": "home"}, value, at_s)
            yield sample("sensor_temperature_celsius", SENSOR | {"site": "home"}, outdoor_celsius(at_s), at_s)


def pump(at_s: int) -> dict[str, float]:
    return {
        "flow_temperature_celsius": 35.0,
        "temperature_delta_celsius": 5.0,
        "flow_rate_lpm": power_kw(at_s) * cop(at_s) / WATER_KW / 5,
    }


def line(name: str, labels: Mapping[str, str], value: float, at_s: int) -> str:
    """A scrape is never on the full second."""
    said = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{said}}} {value!r} {at_s}.1232"


def sample(name: str, labels: Mapping[str, str], value: float, at_s: int) -> Sample:
    return Sample(Series(name, tuple(sorted(labels.items()))), value, at_s * 1000 + 456)
