"""From states to samples; the only place that names series.

/metrics and remote write both ask here, so they cannot disagree.
"""

import struct
from collections.abc import Mapping

import msgspec

from readings.payload import FieldInfo, Info
from readings.reading import DeviceState

STALE = struct.unpack(">d", bytes.fromhex("7ff0000000000002"))[0]
"""Prometheus' marker that a series ended: a NaN with bits of its own."""


class Series(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """A metric's name and its labels, sorted, without `__name__`."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


class Sample(msgspec.Struct, frozen=True, gc=False):
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


Names = Mapping[str, tuple[Series, ...]]
"""The series of each field."""


def name_fields(info: Info) -> Names:
    """The series of all fields of a device: named once for each announcement, not for each state."""
    return {field: name_series(field, known) for field, known in info.fields.items()}


def to_samples(state: DeviceState, names: Names, before: DeviceState | None) -> tuple[Sample, ...]:
    """The samples of one state.

    A field that was measured makes a sample of each of its series. One that
    turned from a number to null, judged against the state before it in row
    order, makes a stale marker. A held field makes nothing, nor does a state
    without time: a value is never given a time that it was not measured at.
    """
    time_ms, held = state.time_ms, state.held
    if time_ms is None:
        return ()
    samples: list[Sample] = []
    for field, value in state.values.items():
        if value is None:
            if before is None or before.values.get(field) is None:
                continue
            made = STALE
        elif field in held:
            continue
        else:
            made = float(value)
        for series in names.get(field, ()):
            samples.append(Sample(series, made, time_ms))  # noqa: PERF401 - one loop for all cases is the hot path
    return tuple(samples)
