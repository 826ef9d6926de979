"""Samples as the bytes of a remote-write 1.0 request."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import snappy

from bridge.remote_write.prometheus_pb2 import Label, TimeSeries, WriteRequest
from bridge.remote_write.prometheus_pb2 import Sample as WireSample
from bridge.sample import Sample, Series
from readings.release import VERSION

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "User-Agent": f"heating-bridge/{VERSION}",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
)
"""What the specification asks of every request."""


def encode(samples: Iterable[Sample], constant: Mapping[str, str]) -> bytes:
    """The body of one request: each series once, its samples in the order of their times.

    Args:
        samples: At most as many as one request may hold.
        constant: Labels that every series gets; its own labels win.

    Returns:
        Protobuf in snappy's block format (receivers refuse the framed one).
    """
    labels: dict[Series, tuple[tuple[str, str], ...]] = {}
    by_labels: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        pairs = labels.get(sample.series)
        if pairs is None:
            pairs = labels[sample.series] = label_pairs(sample.series, constant)
        by_labels.setdefault(pairs, []).append(sample)
    request = WriteRequest(
        timeseries=[
            TimeSeries(
                labels=[Label(name=name, value=value) for name, value in pairs],
                samples=[
                    WireSample(value=one.value, timestamp=one.timestamp_ms)
                    for one in sorted(own, key=lambda one: one.timestamp_ms)
                ],
            )
            for pairs, own in by_labels.items()
        ]
    )
    compressed: bytes = snappy.compress(request.SerializeToString())
    return compressed


def label_pairs(series: Series, constant: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A series' labels as they are sent: sorted by name, none twice, none empty.

    Receivers answer a name that stands there twice with 500, which looks like
    an outage; an empty value is the same as no label.

    >>> label_pairs(Series("up", (("device", "wp"), ("room", ""))), {"device": "x", "site": "home"})
    (('__name__', 'up'), ('device', 'wp'), ('site', 'home'))
    """
    labels = {**constant, **dict(series.labels), "__name__": series.name}
    return tuple(sorted((name, value) for name, value in labels.items() if name and value))
