"""What the metrics are (type, help, unit), as the bytes of remote-write requests without samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import snappy

from bridge.remote_write.prometheus_pb2 import MetricMetadata, WriteRequest
from bridge.sample import name_series
from readings.payload import Info

MAX_FAMILIES = 2000
"""Metrics in one request; Prometheus sends no more either."""


@dataclass(frozen=True, slots=True, order=True)
class Family:
    """A metric: every reading is a gauge, energy counts too."""

    name: str
    help: str
    unit: str


def to_families(infos: Iterable[Info]) -> tuple[Family, ...]:
    """The metrics that devices announce, each once, by name."""
    found: dict[str, Family] = {}
    for info in infos:
        for field, known in info.fields.items():
            for series in name_series(field, known):
                found.setdefault(series.name, Family(series.name, known.description, known.unit))
    return tuple(sorted(found.values()))


def encode_metadata(families: tuple[Family, ...]) -> Iterator[bytes]:
    """The bodies of as few requests as possible."""
    for begin in range(0, len(families), MAX_FAMILIES):
        request = WriteRequest(
            metadata=[
                MetricMetadata(
                    type=MetricMetadata.MetricType.GAUGE,
                    metric_family_name=one.name,
                    help=one.help,
                    unit=one.unit,
                )
                for one in families[begin : begin + MAX_FAMILIES]
            ]
        )
        body: bytes = snappy.compress(request.SerializeToString())
        yield body
