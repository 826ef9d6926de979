"""What is older than the receiver takes never goes out."""

import json

import pytest

from bridge.batch import Batch, Piece, Row, RowId
from bridge.horizon import Horizon
from bridge.remote_write.window import duration_ms, find_late_window, find_newest_ms
from bridge.sample import Sample, Series
from tests.bridge.states import METER, NOON_MS

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


class Prometheus:
    def __init__(self, window: str | None, newest_ms: int | None) -> None:
        self.window, self.newest = window, newest_ms
        self.asked = 0

    def late_window(self, timeout_s: float) -> str | None:
        self.asked += 1
        return self.window

    def newest_ms(self, timeout_s: float) -> int | None:
        self.asked += 1
        return self.newest


@pytest.mark.parametrize(
    ("window", "newest_h", "oldest_h", "before_h"),
    [
        ("30m", 0, -30, -1),  # an hour is taken by every Prometheus
        ("2h", 0, -30, -2),
        ("2h", -3, -30, -5),  # what counts is its own newest sample
        ("2h", 0, -1.5, None),
        ("2w", 0, -30, None),
        ("", 0, -30, -1),
        ("", -30, -30, -31),  # nobody wrote into it meanwhile: it takes all of it
        ("2h", 5, -30, -2),  # somebody's clock is wrong: that makes nothing old
        ("", 500, -30, -1),
        ("2h", None, -30, -2),
        ("", None, -30, None),
        (None, 0, -30, None),
    ],
)
def test_the_oldest_that_is_taken(window, newest_h, oldest_h, before_h):
    newest_ms = None if newest_h is None else NOON_MS + newest_h * HOUR_MS
    horizon = Horizon(Prometheus(window, newest_ms), wall_ms=lambda: NOON_MS, monotonic=lambda: 1e6)
    expected = None if before_h is None else NOON_MS + before_h * HOUR_MS
    assert horizon.before_ms(NOON_MS + round(oldest_h * HOUR_MS)) == expected


def test_a_receiver_is_asked_only_when_it_matters_and_not_for_every_batch():
    receiver = Prometheus("2h", NOON_MS)
    horizon = Horizon(receiver, wall_ms=lambda: NOON_MS, monotonic=lambda: 1e6)
    for _ in range(100):
        assert horizon.before_ms(NOON_MS - 59 * MINUTE_MS) is None
    assert receiver.asked == 0
    for _ in range(100):
        horizon.before_ms(NOON_MS - 3 * HOUR_MS)
    assert receiver.asked == 2


def test_an_empty_prometheus_takes_everything():
    horizon = Horizon(Prometheus("2h", -(2**63)), wall_ms=lambda: NOON_MS, monotonic=lambda: 1e6)
    assert horizon.before_ms(0) < 0


def test_what_is_too_old_leaves_its_pieces():
    times = [-3, -1, -3, -3, 0, -3]
    samples = tuple(Sample(Series("m"), 1.0, NOON_MS + hours * HOUR_MS) for hours in times)
    rows = tuple(Row(RowId(1, seq), METER, 0, (sample,), None) for seq, sample in enumerate(samples))
    batch = Batch(1, rows, (Piece(0, 2), Piece(2, 6)))
    horizon = Horizon(Prometheus("2h", NOON_MS), wall_ms=lambda: NOON_MS, monotonic=lambda: 1e6)
    assert horizon.left_of(batch) == (Piece(1, 2), Piece(4, 5))


def yaml(line: str) -> bytes:
    return json.dumps({"data": {"yaml": f"storage:\n  tsdb:\n    {line}\n"}}).encode()


@pytest.mark.parametrize(
    ("answer", "window"),
    [
        (yaml("out_of_order_time_window: 2w"), "2w"),
        (yaml("out_of_order_time_window: 1h30m"), "1h30m"),
        (yaml("out_of_order_time_window: 0s"), ""),
        (yaml("out_of_order_time_window: soon"), ""),
        (yaml("# nothing"), ""),
        (b'{"data": {}}', None),
        (b"<html>", None),
        (b"\xff", None),
        (b'{"data": {"yaml": "\xff"}}', None),
        (b'{"data": {"x": ' + b"[" * 100_000, None),
    ],
)
def test_the_window_in_its_answer(answer, window):
    assert find_late_window(answer) == window


@pytest.mark.parametrize(
    ("answer", "newest"),
    [
        (b'{"data": {"headStats": {"maxTime": 5}}}', 5),
        (b'{"data": {}}', None),
        (b"", None),
        (b"[]", None),
        (b'{"data": {"x": ' + b"[" * 100_000, None),
    ],
)
def test_the_newest_time_in_its_answer(answer, newest):
    assert find_newest_ms(answer) == newest


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("5s", 5000), ("30m", 30 * MINUTE_MS), ("14d", 336 * HOUR_MS), ("1y", 8760 * HOUR_MS), ("", 0), ("5", 0), ("-5m", 0)],
)  # fmt: skip
def test_a_duration(text, ms):
    assert duration_ms(text) == ms
