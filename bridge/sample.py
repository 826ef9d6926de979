"""From states to samples; the only place that names series.

/metrics and remote write both ask here, so they cannot disagree.
"""

import struct
from dataclasses import dataclass

from readings.payload import FieldInfo, Info
from readings.reading import DeviceState

STALE = struct.unpack(">d", bytes.fromhex("7ff0000000000002"))[0]
"""Prometheus' marker that a series ended: a NaN with bits of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """A metric's name and its labels, sorted, without `__name__`."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series, at the time of its reading (milliseconds since 1970 UTC)."""

    series: Series
    value: float
    timestamp_ms: int


def name_series(field: str, info: FieldInfo) -> tuple[Series, ...]:
    """The series that a field makes, one per prefix.

    >>> name_series("power_total_kw", FieldInfo(prefixes=("meter", "wago"), labels={"device": "wp"}))[1]
    Series(name='wago_power_total_kw', labels=(('device', 'wp'),))
    """
    labels = tuple(sorted(info.labels.items()))
    return tuple(Series(f"{prefix}_{field}", labels) for prefix in info.prefixes)


def to_samples(state: DeviceState, info: Info, before: DeviceState | None) -> tuple[Sample, ...]:
    """The samples of one state.

    A field that was measured makes a sample of each of its series. One that
    turned from a number to null, judged against the state before it in row
    order, makes a stale marker. A held field makes nothing, nor does a state
    without time: a value is never given a time that it was not measured at.
    """
    if state.time_ms is None:
        return ()
    samples: list[Sample] = []
    for field, value in state.values.items():
        known = info.fields.get(field)
        if known is None:
            continue
        if value is None and before is not None and before.values.get(field) is not None:
            samples += [Sample(series, STALE, state.time_ms) for series in name_series(field, known)]
        elif value is not None and field not in state.held:
            samples += [Sample(series, float(value), state.time_ms) for series in name_series(field, known)]
    return tuple(samples)
