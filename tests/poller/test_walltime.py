"""When the wall clock is trusted."""

from dataclasses import dataclass

import pytest

from poller.clock import MachineClock
from poller.walltime import ClockReading, WallTime, judge_clock
from readings.release import RELEASED_MS

NOON = RELEASED_MS + 12 * 3600_000
HOUR_MS = 3600_000


def look(*readings: tuple[float, int, bool], newest_ms: int = 0, **rest: float) -> list[bool]:
    """Judge a series of (monotonic s, wall ms, synchronised); say each time whether it is trusted."""
    now: WallTime | None = None
    verdicts = []
    for monotonic, wall_ms, synchronised in readings:
        now = judge_clock(now, ClockReading(wall_ms, monotonic, synchronised), newest_ms=newest_ms, **rest)
        verdicts.append(now.is_trusted)
    return verdicts


def test_a_synchronised_clock_is_trusted_at_once():
    assert look((0, NOON, True)) == [True]


def test_a_synchronised_clock_is_trusted_even_before_the_newest_stored_time():
    """A journal that was once written with a time of the future must not stop the poller for ever."""
    assert look((0, NOON, True), newest_ms=NOON + 1) == [True]


def test_nobody_vouches_two_minutes_pass():
    assert look((5, NOON, False), (124.9, NOON + 119_900, False), (125, NOON + 120_000, False)) == [
        False,
        False,
        True,
    ]


def test_a_jump_begins_the_two_minutes_again():
    after = NOON + HOUR_MS
    assert look(
        (0, NOON, False),
        (119, after + 119_000, False),
        (121, after + 121_000, False),
        (238.9, after + 238_900, False),
        (239, after + 239_000, False),
    ) == [False, False, False, False, True]


def test_a_jump_takes_trust_away():
    assert look((0, NOON, False), (120, NOON + 120_000, False), (121, NOON - HOUR_MS, False)) == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("step_ms", [60_000, -60_000, 900])
def test_a_step_of_up_to_a_minute_is_no_jump(step_ms):
    assert look((0, NOON, False), (120, NOON + 120_000 + step_ms, False))[-1]


@pytest.mark.parametrize("step_ms", [60_001, -60_001])
def test_more_than_a_minute_is_one(step_ms):
    assert not look((0, NOON, False), (120, NOON + 120_000 + step_ms, False))[-1]


def test_a_pi_that_starts_an_hour_behind_waits_for_its_time_server():
    """The journal knows better than the clock; then the time server steps it, and the kernel vouches."""
    behind = NOON - HOUR_MS
    assert look(
        (0, behind, False),
        (300, behind + 300_000, False),
        (301, NOON + 301_000, False),
        (302, NOON + 302_000, True),
        newest_ms=NOON - 60_000,
    ) == [False, False, False, True]


def test_a_pi_without_network_waits_until_the_journals_newest_time():
    behind = NOON - 600_000
    assert look((0, behind, False), (599, NOON - 1000, False), (600, NOON, False), newest_ms=NOON) == [
        False,
        False,
        True,
    ]


def test_a_clock_before_the_release_is_wrong_however_long_it_runs():
    assert look((0, 0, False), (1e6, 1_000_000_000, False)) == [False, False]


def test_the_demo_trusts_at_once_but_not_a_time_before_the_release():
    assert look((0, NOON, False), settle_s=0) == [True]
    assert look((0, RELEASED_MS - 1, False), settle_s=0) == [False]


def test_jumps_are_counted():
    now = None
    for monotonic, wall_ms in ((0, NOON), (1, NOON + 1000), (2, NOON + HOUR_MS), (3, NOON + 3000)):
        now = judge_clock(now, ClockReading(wall_ms, monotonic, synchronised=True), newest_ms=0)
    assert now is not None
    assert now.jumps == 2


def test_a_reading_gets_the_time_at_which_it_was_taken_not_that_of_the_judgement():
    now = judge_clock(None, ClockReading(NOON, 1000.0, synchronised=True), newest_ms=0)
    assert now.at(940.5) == NOON - 59_500


def test_a_clock_that_is_not_trusted_gives_no_time():
    now = judge_clock(None, ClockReading(NOON, 1000.0, synchronised=False), newest_ms=0)
    assert now.at(1000.0) is None


def test_the_machines_own_clock_runs():
    clock = MachineClock()
    first, second = clock.read(), clock.read()
    assert second.monotonic >= first.monotonic
    assert abs(second.offset_ms - first.offset_ms) < 1000
    assert clock.boot


@dataclass
class FakeKernel:
    answer: int

    def __call__(self, _timex: object) -> int:
        return self.answer


@pytest.mark.parametrize(
    ("kernel", "synchronised"),
    [
        pytest.param(FakeKernel(0), True, id="TIME_OK"),
        pytest.param(FakeKernel(1), True, id="a leap second is announced"),
        pytest.param(FakeKernel(5), False, id="TIME_ERROR"),
        pytest.param(FakeKernel(-1), False, id="not allowed to ask"),
        pytest.param(None, False, id="no adjtimex"),
    ],
)
def test_what_the_kernel_says(kernel, synchronised):
    clock = MachineClock()
    clock._adjtimex = kernel
    assert clock.read().synchronised is synchronised
