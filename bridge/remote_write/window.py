"""How late a sample may be: read from what Prometheus says of itself."""

import re

import msgspec

HOUR_MS = 3_600_000
"""What every Prometheus takes behind its newest sample, window or not."""

_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": HOUR_MS,
    "d": 24 * HOUR_MS,
    "w": 7 * 24 * HOUR_MS,
    "y": 365 * 24 * HOUR_MS,
}
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"


_NO_ANSWER = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for what another program says there."""


class _Config(msgspec.Struct):
    yaml: str


class _ConfigAnswer(msgspec.Struct):
    data: _Config


class _Head(msgspec.Struct, rename="camel"):
    max_time: int


class _Figures(msgspec.Struct, rename="camel"):
    head_stats: _Head


class _FiguresAnswer(msgspec.Struct):
    data: _Figures


def find_late_window(answer: bytes) -> str | None:
    r"""Find the out-of-order window in Prometheus' own answer about its configuration.

    Returns:
        As it stands there; empty for none, None when this is no such answer.

    >>> find_late_window(rb'{"data": {"yaml": "storage:\n  tsdb:\n    out_of_order_time_window: 2w\n"}}')
    '2w'
    >>> find_late_window(b'{"data": {"yaml": "global: {}"}}')
    ''
    """
    try:
        yaml = msgspec.json.decode(answer, type=_ConfigAnswer).data.yaml
    except _NO_ANSWER:
        return None
    found = re.search(rf"^\s*out_of_order_time_window:\s*({_DURATION})\s*$", yaml, re.MULTILINE)
    return "" if found is None or not duration_ms(found[1]) else found[1]


def find_newest_ms(answer: bytes) -> int | None:
    """Find the time of its newest sample in Prometheus' own figures.

    >>> find_newest_ms(b'{"data": {"headStats": {"maxTime": 1795406706123}}}')
    1795406706123
    """
    try:
        return msgspec.json.decode(answer, type=_FiguresAnswer).data.head_stats.max_time
    except _NO_ANSWER:
        return None


def duration_ms(text: str) -> int:
    """A duration as Prometheus writes it; 0 for a text that is none.

    >>> duration_ms("1h30m"), duration_ms("2w"), duration_ms("0s")
    (5400000, 1209600000, 0)
    """
    if not re.fullmatch(_DURATION, text):
        return 0
    return sum(int(number) * _UNITS_MS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))


def oldest_taken_ms(window: str, newest_ms: int) -> int:
    """Before this time a Prometheus whose newest sample is of `newest_ms` takes nothing.

    >>> oldest_taken_ms("30m", 10 * HOUR_MS) == 9 * HOUR_MS
    True
    """
    return newest_ms - max(duration_ms(window), HOUR_MS)
