"""What others write, as numbers and times."""

import math
from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.errors import MessageError
from poller.sources.values import LATEST_MS, UNITS, Clock, Conversion

WORDS = Conversion(words={"heat": 2, "idle": 0, "true": 7, "3": 30, "unknown": None})
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("conversion", "raw", "expected"),
    [
        (Conversion(), 21.5, 21.5),
        (Conversion(), "21.5", 21.5),
        (Conversion(), " 21.50 ", 21.5),
        (Conversion(), "-1.5e-3", -0.0015),
        (Conversion(), 7, 7),
        (Conversion(), None, None),
        (Conversion(), "nan", None),
        (Conversion(), "NaN", None),
        (Conversion(factor=0.001), 1662, 1.662),
        (Conversion(factor=0.001), "1662", 1.662),
        (Conversion(factor=0.1, offset=-40), 653, 25.3),
        (Conversion(*[{}], *UNITS["°F", "°C"]), 212, 100.0),
        (Conversion(*[{}], *UNITS["K", "°C"]), 300, 26.85),
        (Conversion(offset=2.5), 40.2, 42.7),
        (Conversion(is_bit=True), True, 1),
        (Conversion(is_bit=True), "OFF", 0),
        (Conversion(is_bit=True), "on", 1),
        (Conversion(is_bit=True), 1, 1),
        (WORDS, "heat", 2),
        (WORDS, True, 7),
        (WORDS, 3, 30),
        (WORDS, "unknown", None),
        (WORDS, 4, 4),
        (Conversion(words={"low": 5}, factor=10), "low", 5),
        (Conversion(), 10**350, math.inf),
        (Conversion(), "1e999", math.inf),
        (Conversion(factor=1e300), 1e300, math.inf),
    ],
)
def test_what_stands_in_a_message_becomes_a_number(conversion, raw, expected):
    value = conversion.convert(raw)
    assert value == pytest.approx(expected, abs=1e-12) if expected is not None else value is None
    assert isinstance(value, bool) is False


@pytest.mark.parametrize(
    "raw", ["", "heat", "21,5", "21.5 °C", "1_000", "0x10", "٢١", "inf", True, False, [], {}, [1], "1" * 50]
)
def test_what_is_no_number_is_refused_and_not_guessed_at(raw):
    with pytest.raises(MessageError) as caught:
        Conversion().convert(raw)
    assert caught.value.reason == "value"
    assert len(str(caught.value)) < 150


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_every_value_is_a_number_or_none_or_refused(raw):
    try:
        value = Conversion(factor=0.001, offset=1, is_bit=True).convert(raw)
    except MessageError:
        return
    assert value is None or (isinstance(value, int | float) and not math.isnan(value))


@pytest.mark.parametrize(
    ("clock", "raw", "expected"),
    [
        (Clock(), "2026-11-23T04:05:06Z", 1795406706000),
        (Clock(), "2026-11-23T05:05:06.123+01:00", 1795406706123),
        (Clock(zone=BERLIN), "2026-11-23T05:05:06", 1795406706000),
        (Clock(zone=BERLIN), "2026-11-23T04:05:06Z", 1795406706000),
        (Clock(zone=timezone(timedelta(hours=1))), "2026-11-23 05:05:06", 1795406706000),
        (Clock("s"), 1795406706, 1795406706000),
        (Clock("s"), 1795406706.123, 1795406706123),
        (Clock("s"), "1795406706", 1795406706000),
        (Clock("ms"), 1795406706123, 1795406706123),
    ],
)
def test_times_are_read_as_the_rule_says(clock, raw, expected):
    assert clock.read(raw, None) == expected


def test_the_hour_that_comes_twice_is_the_one_that_is_nearer():
    """2026-10-25 02:30 in Berlin was at 00:30Z and at 01:30Z."""
    clock, first, second = Clock(zone=BERLIN), 1792888200000, 1792891800000
    assert clock.read("2026-10-25T02:30:00", first + 5000) == first
    assert clock.read("2026-10-25T02:30:00", second + 5000) == second
    assert clock.read("2026-10-25T02:30:00", None) == first


@pytest.mark.parametrize(
    ("clock", "raw"),
    [
        (Clock(), "2026-11-23T04:05:06"),
        (Clock(), "yesterday"),
        (Clock(), 1795406706),
        (Clock(), None),
        (Clock(), ""),
        (Clock(zone=BERLIN), "0001-01-01T00:00:00"),
        (Clock(zone=BERLIN), "9999-12-31T23:59:59+00:00x"),
        (Clock("s"), "2026-11-23T04:05:06Z"),
        (Clock("s"), 0),
        (Clock("s"), -5),
        (Clock("s"), 1e300),
        (Clock("s"), True),
        (Clock("ms"), 10**400),
        (Clock("ms"), LATEST_MS + 1),
    ],
)
def test_what_is_no_time_is_refused(clock, raw):
    with pytest.raises(MessageError) as caught:
        clock.read(raw, None)
    assert caught.value.reason == "time"


@given(
    st.sampled_from([Clock(), Clock(zone=BERLIN), Clock("s"), Clock("ms")]),
    st.none() | st.integers() | st.floats() | st.text() | st.datetimes().map(str),
)
def test_every_time_is_believable_or_refused(clock, raw):
    try:
        assert 0 < clock.read(raw, 1795406706000) <= LATEST_MS
    except MessageError as error:
        assert error.reason == "time"  # noqa: PT017  # whether it is raised depends on what was drawn
