"""What Prometheus answers, taken apart."""

from collections.abc import Mapping

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


class _Refusal(msgspec.Struct):
    error: str = ""


def read_points(said: bytes) -> dict[int, float]:
    """The points of the one series that a range query brought: seconds since 1970 UTC to value.

    Raises:
        CommandError: It is no answer of Prometheus.

    >>> read_points(b'{"data":{"result":[{"metric":{},"values":[[1767222000,"1.5"],[1767223800,"NaN"]]}]}}')
    {1767222000: 1.5}
    """
    try:
        series = msgspec.json.decode(said, type=_Ranges).data.result
        points = {round(at): float(value) for one in series for at, value in one.values}
    except _NO_ANSWER as error:
        raise CommandError(f"this is no answer of Prometheus: {error}") from error
    return {at: value for at, value in points.items() if value - value == 0}


def read_names(said: bytes) -> tuple[str, ...]:
    """The values of a label.

    Raises:
        CommandError: It is no answer of Prometheus.
    """
    try:
        return msgspec.json.decode(said, type=_Names).data
    except _NO_ANSWER as error:
        raise CommandError(f"this is no answer of Prometheus: {error}") from error


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
    try:
        return msgspec.json.decode(said, type=_Made).data.name
    except _NO_ANSWER as error:
        raise CommandError(f"this is no answer of Prometheus: {error}") from error
