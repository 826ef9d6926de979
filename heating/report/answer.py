"""What Prometheus answers, taken apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from heating.errors import CommandError

_NO_ANSWER = (msgspec.DecodeError, ValueError, RecursionError)
"""What is raised for what another program says there."""


class _Series(msgspec.Struct):
    metric: Mapping[str, str] = {}
    values: tuple[tuple[float, str], ...] = ()


class _Matrix(msgspec.Struct):
    result: tuple[_Series, ...] = ()


class _Ranges(msgspec.Struct):
    data: _Matrix


class _Names(msgspec.Struct):
    data: tuple[str, ...] = ()


class _Snapshot(msgspec.Struct):
    name: str


class _Made(msgspec.Struct):
    data: _Snapshot


class _LabelSets(msgspec.Struct):
    data: tuple[Mapping[str, str], ...] = ()


class _HeadStats(msgspec.Struct):
    minTime: int  # noqa: N815 - Prometheus' own word


class _Tsdb(msgspec.Struct):
    headStats: _HeadStats  # noqa: N815 - Prometheus' own word


class _Status(msgspec.Struct):
    data: _Tsdb


class _Refusal(msgspec.Struct):
    error: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of one series: milliseconds since 1970 UTC, and the value, which may be no number."""

    labels: Mapping[str, str]
    points: Sequence[tuple[int, float]]


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except _NO_ANSWER as error:
        raise CommandError(f"this is no answer of Prometheus: {error}") from error


def read_points(said: bytes) -> dict[int, float]:
    """The points of the one series that a range query brought: seconds since 1970 UTC to value.

    Raises:
        CommandError: It is no answer of Prometheus.

    >>> read_points(b'{"data":{"result":[{"metric":{},"values":[[1767222000,"1.5"],[1767223800,"NaN"]]}]}}')
    {1767222000: 1.5}
    """
    with _refusing():
        series = msgspec.json.decode(said, type=_Ranges).data.result
        points = {round(at): float(value) for one in series for at, value in one.values}
    return {at: value for at, value in points.items() if value - value == 0}


def read_names(said: bytes) -> tuple[str, ...]:
    """The values of a label.

    Raises:
        CommandError: It is no answer of Prometheus.
    """
    with _refusing():
        return msgspec.json.decode(said, type=_Names).data


def read_stored(said: bytes) -> tuple[Stored, ...]:
    """Every sample of the series that a range selector matches.

    Raises:
        CommandError: It is no answer of Prometheus.

    >>> read_stored(b'{"data":{"result":[{"metric":{"__name__":"up"},"values":[[1767222000.5,"1"]]}]}}')
    (Stored(labels={'__name__': 'up'}, points=[(1767222000500, 1.0)]),)
    """
    with _refusing():
        return tuple(
            Stored(one.metric, [(round(at * 1000), float(value)) for at, value in one.values])
            for one in msgspec.json.decode(said, type=_Ranges).data.result
        )


def read_label_sets(said: bytes) -> tuple[Mapping[str, str], ...]:
    """The labels of each series, its name among them.

    Raises:
        CommandError: It is no answer of Prometheus.
    """
    with _refusing():
        return msgspec.json.decode(said, type=_LabelSets).data


def read_head(said: bytes) -> int:
    """From when on Prometheus has the samples in its memory, milliseconds since 1970 UTC.

    Raises:
        CommandError: It is no answer of Prometheus.

    >>> read_head(b'{"data":{"headStats":{"minTime":1767222000000}}}')
    1767222000000
    """
    with _refusing():
        return msgspec.json.decode(said, type=_Status).data.headStats.minTime


def read_refusal(said: bytes) -> str:
    """Why a query was refused, in its own words; empty where it has none."""
    try:
        return msgspec.json.decode(said, type=_Refusal).error
    except _NO_ANSWER:
        return ""


def read_snapshot(said: bytes) -> str:
    """The name of the snapshot that was made.

    Raises:
        CommandError: It is no answer of Prometheus.

    >>> read_snapshot(b'{"status":"success","data":{"name":"20261126T023000Z-1b2c"}}')
    '20261126T023000Z-1b2c'
    """
    with _refusing():
        return msgspec.json.decode(said, type=_Made).data.name
