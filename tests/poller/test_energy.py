"""A published energy count never falls, never jumps, and never stays behind for good."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.decode import NoNumber
from poller.energy import ENOUGH, HOUR_S, Count, follows, judge_count
from poller.filters import Accepted, HeldBack, Reason, Rejected
from poller.points import Rules

RULES = Rules("energy", range=(0, 9_999_999), resolution=0.01, max_power_kw=45)
INTERVAL_S = 30.0
NAN = NoNumber.NOT_A_NUMBER


@dataclass
class Meter:
    """A count as it is polled: readings go in, what is published comes out."""

    count: Count = field(default_factory=Count)
    now: float = 1000.0
    serial: str | None = "A"

    def read(self, *readings: object, every_s: float = INTERVAL_S) -> list[object]:
        """What is published for each reading; a reason where nothing is."""
        out: list[object] = []
        for reading in readings:
            verdict, self.count = judge_count(RULES, self.count, reading, at=self.now, serial=self.serial)
            self.now += every_s
            match verdict:
                case Accepted(value):
                    out.append(value)
                case HeldBack(reason) | Rejected(reason):
                    out.append(str(reason))
                case _:
                    out.append(None)
        return out


def running(register: float = 100.0) -> Meter:
    """A meter whose count was believed at this register a moment ago."""
    meter = Meter()
    assert meter.read(register, register, register)[-1] == register
    return meter


def test_the_very_first_reading_is_a_candidate():
    assert Meter().read(100.0, 100.1, 100.2, 100.3) == ["first", "first", 100.2, 100.3]


def test_a_garbage_first_reading_costs_one_reading_and_nothing_else():
    assert Meter().read(90000.0, 100.0, 100.1, 100.2) == ["first", "first", "first", 100.2]


def test_a_new_meter_has_no_count_before_its_first_step():
    assert Meter().read(0.0, 0.0, 0.0, 0.0, 0.01, 0.01, 0.01) == ["zero"] * 4 + ["first", "first", 0.01]


@pytest.mark.parametrize(
    ("what", "readings", "published"),
    [
        ("standing still", [100.0, 100.0], [100.0, 100.0]),
        ("45 kW for 30 s are 0.375 kWh", [100.375, 100.75], [100.375, 100.75]),
        ("more is held back", [100.4, 100.1], ["rise", 100.1]),
        ("zero is a broken answer", [0.0, 0.0, 0.0, 0.0, 100.1], ["zero"] * 4 + [100.1]),
        ("a tiny float too", [3.67e-27] * 4 + [100.1], ["resolution"] * 4 + [100.1]),
        ("and what is no number", [NAN, NoNumber.FULL_SCALE], ["not_a_number", "full_scale"]),
        ("and what no meter shows", [1e30, 1e30, 1e30], ["range"] * 3),
        ("one garbage reading high", [5000.0, 100.1], ["rise", 100.1]),
        ("one garbage reading low", [3.0, 100.1], ["fall", 100.1]),
        ("two that agree", [5000.0, 5000.0, 100.1], ["rise", "rise", 100.1]),
        ("three that do not", [5000.0, 3.0, 700.0, 100.1], ["rise", "fall", "rise", 100.1]),
        ("sentinel", [NoNumber.SENTINEL, 100.1], [None, 100.1]),
    ],
)
def test_after_a_count_of_100(what, readings, published):
    assert running().read(*readings) == published, what


@pytest.mark.parametrize(("below", "published"), [(1, 16777220.0), (2, 16777220.0), (3, "fall")])
def test_a_fall_of_two_32_bit_steps_is_rounding_and_what_is_published_stays(below, published):
    meter = Meter(count=Count(register=16777220.0, at=970.0, published=16777220.0))
    rules = Rules("energy", range=(0, 1e9), resolution=0.01, max_power_kw=45)
    verdict, after = judge_count(rules, meter.count, 16777220.0 - 2 * below, at=1000.0, serial=None)
    if isinstance(published, str):
        assert verdict == HeldBack(Reason(published))
    else:
        assert verdict == Accepted(published)
        assert after.register == 16777220.0


def test_after_an_outage_an_hour_counts():
    meter = running()
    meter.now += 10 * HOUR_S
    assert meter.read(144.0) == [144.0]


def test_a_longer_outage_is_explained_by_the_whole_time_once_it_is_confirmed():
    meter = running()
    meter.now += 10 * HOUR_S
    assert meter.read(300.0, 300.1, 300.2, 300.3) == ["rise", "rise", 300.2, 300.3]
    assert meter.count.offset == 0


def test_a_rise_that_no_time_explains_is_another_meter_and_the_count_goes_on():
    assert running().read(7000.0, 7000.1, 7000.2, 7000.3) == ["rise", "rise", 100.2, 100.3]


@pytest.mark.parametrize(
    ("serial", "published"),
    [("A", 160.2), ("B", 100.2), (None, 100.2)],
    ids=["the same meter", "another meter", "who knows"],
)
def test_after_days_without_the_machine_the_same_meter_may_have_risen_by_anything(serial, published):
    """Two winter days are 60 kWh; an hour, which a reboot counts as, explains 45."""
    meter = running()
    meter.count = msgspec.structs.replace(meter.count, serial=serial and "A", is_time_unknown=True)
    meter.serial = serial
    assert meter.read(160.0, 160.1, 160.2, 160.3)[2:] == [published, pytest.approx(published + 0.1)]
    assert not meter.count.is_time_unknown


def test_a_new_serial_number_is_a_new_meter_whatever_its_register_shows():
    for register in (3.0, 100.0, 7000.0):
        meter = running()
        meter.serial = "B"
        first = round(register + 0.01, 2)
        assert meter.read(register, first, first, first) == ["new_meter", "new_meter", 100.01, 100.01]
        assert meter.count.serial == "B"


def test_a_new_meter_starts_at_zero_and_nothing_is_counted_twice():
    """What it counted from its 0 on was consumed, its first step too."""
    meter = running(4000.0)
    meter.serial = "B"
    assert meter.read(0.0, 0.0, 0.0, 0.01, 0.02, 0.03, 0.5, every_s=60.0) == (
        ["zero"] * 3 + ["new_meter", "new_meter", 4000.03, 4000.5]
    )


@pytest.mark.parametrize(
    ("what", "readings", "published"),
    [
        ("a coarse meter's first step", [0.0, 0.0, 0.3, 0.3, 0.3, 0.5], ["zero", "zero", "new_meter", "new_meter", 4000.3, 4000.5]),
        ("next to nothing, as a fine meter shows it", [0.004, 0.2, 0.3, 0.4], ["resolution", "new_meter", "new_meter", 4000.396]),
        ("a garbage 0 before a used meter", [0.0, 700.0, 700.1, 700.2], ["zero", "new_meter", "new_meter", 4000.2]),
        ("a garbage 0 within a row", [700.0, 0.0, 700.1, 700.2], ["new_meter", "zero", "new_meter", 4000.2]),
        ("and the old meter after all", [0.0, 0.0, 4000.1], ["zero", "zero", "new_meter"]),
    ],
)  # fmt: skip
def test_where_the_new_meters_count_begins(what, readings, published):
    meter = running(4000.0)
    meter.serial = "B"
    assert meter.read(*readings, every_s=60.0) == published


def test_without_a_serial_number_the_hour_begins_with_the_first_step():
    """Zeros are what a broken answer shows: however long they last, they prove nothing."""
    meter = running(4000.0)
    meter.serial = None
    meter.read(*[0.0] * 100, every_s=60.0)
    falls = meter.read(*[0.01 * step for step in range(1, 62)], every_s=60.0)
    assert falls == ["fall"] * 60 + [4000.61]
    assert meter.read(0.62) == [4000.62]


def test_a_zero_among_good_readings_changes_nothing():
    meter = running(100.0)
    assert meter.read(0.0, 100.1, 0.0, 0.0, 100.2) == ["zero", 100.1, "zero", "zero", 100.2]
    assert meter.count.offset == 0
    assert meter.count.candidate is None


def test_zeros_for_ever_ask_for_the_serial_number_once():
    """A new meter that never counts (an export) must not have its number read with every poll."""
    meter = running(100.0)
    meter.read(0.0)
    assert meter.count.is_disputed
    began = meter.count.candidate.first_at
    meter.read(*[0.0] * 20)
    assert meter.count.candidate.first_at == began


def test_a_fall_without_a_new_serial_number_takes_an_hour():
    meter = running()
    readings = [3 + n / 100 for n in range(122)]
    published = meter.read(*readings)
    assert published[:120] == ["fall"] * 120
    assert published[120:] == [101.2, 101.21], "what was counted in the hour is not lost"


def test_garbage_within_the_hour_does_not_begin_it_anew():
    meter = running()
    published = meter.read(*[NAN if n % 10 == 9 else 3 + n / 100 for n in range(122)])
    assert published[120:] == [101.2, 101.21]


def test_a_fall_without_any_serial_number_takes_an_hour_too():
    meter = running()
    meter.serial = None
    assert meter.read(3.0, 3.01, 3.02, 3.03) == ["fall"] * 4


def test_a_serial_number_that_becomes_known_is_no_new_meter():
    meter = Meter(serial=None)
    meter.read(100.0, 100.0, 100.0)
    meter.serial = "A"
    assert meter.read(100.1) == [100.1]


def test_a_number_that_comes_after_its_meter_was_told_by_its_readings_takes_nothing_away():
    """The answers with the serial number were lost while three readings confirmed the rise."""
    meter = running()
    assert meter.read(7000.0, 7000.1, 7000.2, 7000.3) == ["rise", "rise", 100.2, 100.3]
    meter.serial = "B"
    assert meter.read(7000.4, 7000.5, 7000.6) == [100.4, 100.5, 100.6]
    meter.serial = "C"
    assert meter.read(7000.6, 7000.7, 7000.8) == ["new_meter", "new_meter", 100.8]


def test_a_number_that_comes_late_with_another_register_is_yet_another_meter():
    meter = running()
    meter.read(7000.0, 7000.1, 7000.2)
    meter.serial = "C"
    assert meter.read(3.0, 3.1, 3.2) == ["new_meter", "new_meter", 100.4]


def test_whole_numbers_stay_whole():
    published = running(100).read(7000, 7000, 7000)
    assert published[-1] == 100
    assert isinstance(published[-1], int)


def test_an_offset_adds_no_digits_and_takes_nothing_away():
    """Summed as they stand, these make 8309439.399999999."""
    meter = Meter(Count(register=8309439.4, at=1000.0, published=8309439.4, serial="A"), serial="B")
    assert meter.read(0.0857534524, 0.0857534524, 0.0857534524)[-1] == 8309439.4
    meter = Meter(Count(register=1.0, at=1000.0, published=2.0000004, serial="A"), serial="B")
    assert meter.read(1.5, 1.5, 1.5)[-1] == 2.0000004


@pytest.mark.parametrize(
    ("before", "register", "elapsed_s", "expected"),
    [
        (100.0, 100.0, 0.0, True),
        (100.0, 100.01, 0.0, True),  # a step of the register may come at any instant
        (100.0, 100.02, 0.0, False),
        (100.0, 145.01, 3600.0, True),
        (100.0, 145.02, 3600.0, False),
        (100.0, 100.0, -5.0, True),
    ],
)
def test_what_can_follow(before, register, elapsed_s, expected):
    assert follows(RULES, before, register, elapsed_s) is expected


REGISTERS = st.integers(0, 40).map(lambda n: n / 4) | st.sampled_from(
    [100.0, 100.25, 5000.0, 9_999_999.0, 0.0, 0.01, 3.67e-27, 1e30, NAN, NoNumber.FULL_SCALE]
)
STEPS = st.tuples(
    REGISTERS, st.sampled_from([0.0, 30.0, 600.0, 4000.0, 1e5]), st.sampled_from([None, "A", "B"])
)


@given(st.lists(STEPS, max_size=60))
def test_what_is_published_never_falls_whatever_comes_in(steps):
    meter, last = Meter(), 0.0
    for register, elapsed, serial in steps:
        meter.now += elapsed
        meter.serial = serial
        for published in meter.read(register, every_s=0.0):
            if not isinstance(published, str):
                assert published >= last
                last = published


@given(st.lists(REGISTERS, min_size=1, max_size=ENOUGH - 1), st.sampled_from([INTERVAL_S, 1.0, 0.0]))
@example([100.5, 100.5], INTERVAL_S)
def test_up_to_two_garbage_readings_change_nothing(garbage, every_s):
    """The truth is 100; what cannot follow from it within the interval is garbage."""
    garbage = [one for one in garbage if isinstance(one, NoNumber) or not 100 <= one <= 100.76]
    meter = running()
    published = meter.read(*garbage, 100.02, every_s=every_s)
    assert [one for one in published if not isinstance(one, str)] == [100.02]
    assert meter.count.offset == 0


@given(
    st.integers(1, 500_000).map(lambda hundredth: hundredth / 100),
    st.lists(st.integers(0, 30), min_size=ENOUGH, max_size=30),
    st.booleans(),
)
def test_after_a_replacement_the_increase_is_exact(first, steps, is_known):
    """Whatever the new meter shows at first, from then on every step of it is counted once."""
    meter = running(1000.0)
    if is_known:
        meter.serial = "B"
    else:
        first = round(first % 900 + 1, 2)  # else it may look like the old one that went on
    total, readings = 0, [first]
    for step in steps:
        total += step
        readings.append(round(first + total / 100, 2))
    published = meter.read(*readings, every_s=HOUR_S / (ENOUGH - 1))
    assert published[-1] == round(1000.0 + total / 100, 2)
