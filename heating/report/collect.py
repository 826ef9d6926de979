"""Brings together what was measured, piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from heating.errors import CommandError
from heating.report.measured import HALF_HOUR_S, Measured, Values
from heating.report.queries import (
    ENERGY,
    FLOW,
    HEAT_PUMP_OUTDOOR,
    SENSOR,
    Outdoor,
    Piece,
    cut,
    heat,
    highest_count,
    lowest_count,
    mean_outdoor,
)

USUAL_OUTDOOR = "temp_outdoor"
"""The name of the outdoor sensor in the original system."""


class Answers(Protocol):
    """A Prometheus that answers; `heating.report.prometheus`."""

    def points(self, query: str, piece: Piece) -> dict[int, float]:
        """The value at the end of each half hour that has one."""

    def names(self, metric: str, label: str, start_s: int, end_s: int) -> tuple[str, ...]:
        """Which values a label of a metric has in a span."""


@dataclass(frozen=True, slots=True)
class Devices:
    """Whose figures are reported."""

    meter: str
    heat_pump: str | None
    outdoor: Outdoor | None


def find_devices(
    answers: Answers,
    start_s: int,
    end_s: int,
    *,
    meter: str | None,
    heat_pump: str | None,
    outdoor: str | None,
) -> Devices:
    """Choose the devices, where the person has not.

    Raises:
        CommandError: There is no such device, or there are several; the text names them.
    """
    found = _Found(answers, start_s, end_s)
    meters = sorted({name for count in ENERGY for name in found.names(count, "device")})
    chosen = _choose(meters, meter, "meter", "--meter")
    if chosen is None:
        raise CommandError(
            f"no meter has readings in this time: there is neither {' nor '.join(ENERGY)} with a label device. "
            "Does the bridge write to this Prometheus, and do the meter's fields include one of these?"
        )
    return Devices(
        meter=chosen,
        heat_pump=_choose(found.names(FLOW, "device"), heat_pump, "heat pump", "--heatpump"),
        outdoor=_outdoor(found, outdoor),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    answers: Answers
    start_s: int
    end_s: int

    def names(self, metric: str, label: str) -> tuple[str, ...]:
        return self.answers.names(metric, label, self.start_s, self.end_s)


def _choose(names: Sequence[str], wanted: str | None, what: str, option: str) -> str | None:
    if wanted is not None and wanted not in names:
        those = f"those found are {', '.join(names)}" if names else "none was found"
        raise CommandError(f"no {what} {wanted!r} has readings in this time: {those}")
    if wanted is None and len(names) > 1:
        raise CommandError(
            f"several of these were found, {', '.join(names)}: choose the {what} with {option}"
        )
    return wanted or (names[0] if names else None)


def _outdoor(found: _Found, wanted: str | None) -> Outdoor | None:
    sources = [
        Outdoor(metric, label, name)
        for metric, label in ((SENSOR, "sensor_name"), (SENSOR, "device"), (HEAT_PUMP_OUTDOOR, "device"))
        for name in found.names(metric, label)
    ]
    if wanted is not None:
        chosen = next((one for one in sources if one.name == wanted), None)
        if chosen is None:
            those = ", ".join(dict.fromkeys(one.name for one in sources)) or "none was found"
            raise CommandError(f"no outdoor sensor {wanted!r} has readings in this time: {those}")
        return chosen
    usual = [one for one in sources if one.name == USUAL_OUTDOOR or one.metric == HEAT_PUMP_OUTDOOR]
    return usual[0] if usual else None


def collect(
    answers: Answers,
    devices: Devices,
    start_s: int,
    end_s: int,
    *,
    now_s: float,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> Measured:
    """Everything that was measured in a span.

    Args:
        answers: Where it is asked for.
        devices: Whose.
        start_s: A midnight, seconds since 1970 UTC.
        end_s: The end, the same.
        now_s: The time.
        tell: Is told how many questions were answered, of how many.
    """
    queries = [lowest_count(devices.meter), highest_count(devices.meter)]
    queries += [] if devices.outdoor is None else [mean_outdoor(devices.outdoor)]
    queries += [] if devices.heat_pump is None else [heat(devices.heat_pump)]
    pieces = list(cut(start_s, end_s))
    points: dict[str, dict[int, float]] = {query: {} for query in queries}
    for done, (query, piece) in enumerate(_questions(queries, pieces)):
        tell(done, len(queries) * len(pieces))
        points[query] |= answers.points(query, piece)
    ends = range(start_s + HALF_HOUR_S, end_s + 1, HALF_HOUR_S)

    def values(query: str | None) -> Values:
        known = points.get(query or "", {})
        return [known.get(end) for end in ends]

    return Measured(
        start_s=start_s,
        lowest_kwh=values(queries[0]),
        highest_kwh=values(queries[1]),
        outdoor_celsius=values(None if devices.outdoor is None else mean_outdoor(devices.outdoor)),
        thermal_kwh=values(None if devices.heat_pump is None else heat(devices.heat_pump)),
        until_s=now_s,
    )


def _questions(queries: Sequence[str], pieces: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    return ((query, piece) for piece in pieces for query in queries)
