"""The meter integrates what it shows, and what it shows agrees with itself."""

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.house import House
from simulator.meter import Count, Flow

START = 1_767_571_203.25  # 2026-01-05, beside the model's steps
DAY_S = 86400


def house():
    return House(draw=Random(3).random, start_s=START)


@pytest.fixture(scope="module")
def day():
    """A simulated day, asked in irregular steps of up to 90 s."""
    random = Random(11)
    one, time_s, states = house(), START, []
    while time_s < START + DAY_S:
        states.append(one.at(time_s))
        time_s += random.uniform(0.2, 90)
    states.append(one.at(START + DAY_S))
    return states


def test_over_a_day_the_counts_are_the_integral_of_the_powers(day):
    """Against a sum made here, every second, of what another like house shows."""
    other = house()
    imported, exported = [0.0] * 4, [0.0] * 4
    for second in range(DAY_S):
        for channel, power in enumerate(other.at(START + second + 0.5).meter.flow.power):
            (imported if power > 0 else exported)[channel] += abs(power) / 3600
    first, last = day[0].meter.active, day[-1].meter.active
    for channel in range(4):
        assert last.imported[channel] - first.imported[channel] == pytest.approx(imported[channel], rel=1e-3)
        assert last.exported[channel] - first.exported[channel] == pytest.approx(exported[channel], rel=1e-3)
        both = imported[channel] + exported[channel]
        assert last.both[channel] - first.both[channel] == pytest.approx(both, rel=1e-3)
    assert exported[3] > 0.1


def test_no_count_ever_falls(day):
    for before, after in pairwise(day):
        for one, other in (
            (before.meter.active, after.meter.active),
            (before.meter.reactive, after.meter.reactive),
        ):
            pairs = zip(one.imported + one.exported, other.imported + other.exported, strict=True)
            assert all(earlier <= later for earlier, later in pairs)


def test_what_it_shows_agrees_with_itself(day):
    for state in day[::7]:
        flow = state.meter.flow
        assert flow.power[0] == pytest.approx(sum(flow.power_kw))
        for channel in range(4):
            assert flow.apparent[channel] ** 2 == pytest.approx(
                flow.power[channel] ** 2 + flow.reactive[channel] ** 2
            )
            assert flow.factor[channel] * flow.apparent[channel] == pytest.approx(flow.power[channel])
            assert -1 <= flow.factor[channel] <= 1
        for volt, ampere, kva in zip(flow.voltage_v, flow.current[1:], flow.apparent[1:], strict=True):
            assert volt * ampere / 1000 == pytest.approx(kva)
            assert 220 < volt < 240
        assert 49.9 < flow.frequency_hz < 50.1


def test_no_power_is_below_the_watt_that_the_meter_resolves(day):
    """So a true reading is never as small as garbage; 0 itself can be true."""
    powers = [abs(power) for state in day for power in state.meter.flow.power]
    assert all(power == 0 or power >= 0.0009999 for power in powers)


def test_the_day_counter_begins_anew_at_midnight():
    one = house()
    midnight_s = START - START % DAY_S + DAY_S
    assert one.at(midnight_s - 10).meter.day_kwh > 5
    assert one.at(midnight_s + 10).meter.day_kwh < 0.1


@pytest.mark.parametrize("count_kwh", [0.0, 4711.5])
def test_a_replaced_meter_counts_from_what_it_brought(count_kwh):
    one = house()
    before = one.at(START + 3601.3).meter
    one.replace_meter(START + 3602.7, serial_number="00000042", count_kwh=count_kwh)
    at_once, later = one.at(START + 3602.7).meter, one.at(START + 3602.7 + 1800).meter
    assert before.serial_number != at_once.serial_number == "00000042"
    assert at_once.active.both[0] == count_kwh
    assert 0 < later.active.both[0] - count_kwh < 3
    assert at_once.flow == one_flow(START + 3602.7)


def one_flow(time_s):
    """What flows does not care which meter looks."""
    return house().at(time_s).meter.flow


@given(
    st.lists(
        st.tuples(st.tuples(*[st.floats(-15, 15)] * 4), st.floats(0, 3600)),
        max_size=20,
    )
)
def test_counts_only_rise_and_add_up(steps):
    count = Count.of(100.0)
    for power, seconds in steps:
        before, count = count, count.after(power, seconds)
        for channel in range(4):
            moved = count.both[channel] - before.both[channel]
            assert moved == pytest.approx(abs(power[channel]) * seconds / 3600, abs=1e-9)
            assert count.imported[channel] >= before.imported[channel]
            assert count.exported[channel] >= before.exported[channel]


def test_nothing_flowing_has_a_power_factor_of_one():
    assert Flow((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)).factor == (1.0, 1.0, 1.0, 1.0)
    assert not math.isnan(Flow((0.0, 1.0, -1.0), (0.0, 0.0, 0.0)).factor[0])
