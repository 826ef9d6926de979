"""The heating model over a simulated winter week."""

from itertools import pairwise
from random import Random

import pytest

from simulator.house import DEFROST_BELOW_C, House, heating_curve

JANUARY = 1_767_571_200  # Monday, 2026-01-05 00:00 UTC
WEEK_S = 7 * 86400
HOUR = 360  # samples of 10 s


def house(seed=1, start_s=JANUARY):
    return House(draw=Random(seed).random, start_s=start_s)


@pytest.fixture(scope="module")
def week():
    """The house every ten seconds of a week."""
    one = house()
    return [one.at(JANUARY + second) for second in range(0, WEEK_S, 10)]


def rises(states, what):
    return [after.time_s for before, after in pairwise(states) if what(after) and not what(before)]


def test_while_it_heats_the_compressor_starts_one_to_six_times_an_hour(week):
    hours = [week[start : start + HOUR] for start in range(0, len(week), HOUR)]
    starts = [
        len(rises(hour, lambda state: state.compressor_runs))
        for hour in hours
        if all(s.wants_heat for s in hour)
    ]
    assert len(starts) > 50
    assert min(starts) >= 1
    assert max(starts) <= 6


def test_below_2_degrees_it_defrosts_for_four_minutes_every_90(week):
    begins = rises(week, lambda state: state.defrosts)
    ends = rises(week, lambda state: not state.defrosts)
    assert len(begins) > 20
    assert {end - begin for begin, end in zip(begins, ends, strict=True)} == {240}
    frosty = []
    for first, second in pairwise(begins):
        between = [state for state in week if first <= state.time_s < second]
        if all(state.wants_heat and state.outdoor_c < DEFROST_BELOW_C for state in between):
            frosty.append(second - first)
    assert len(frosty) > 5
    assert set(frosty) == {5400}
    assert all(state.outdoor_c < DEFROST_BELOW_C + 0.5 for state in week if state.defrosts)
    assert all(state.compressor_runs and state.flow_c < state.return_c for state in week if state.defrosts)


def test_heat_over_electricity_is_between_2_5_and_5(week):
    cops = [state.cop for state in week if state.cop is not None]
    assert min(cops) >= 2.5
    assert max(cops) <= 5
    assert max(cops) - min(cops) > 0.5  # it depends on the weather


def test_what_the_water_carries_away_is_the_heat(week):
    for state in week[::97]:
        if state.pump_runs:
            carried_kw = state.flow_lpm / 60 * 4.186 * (state.flow_c - state.return_c)
            assert carried_kw == pytest.approx(state.heat_kw)


def test_the_flow_follows_the_heating_curve(week):
    settled = [
        now
        for before, now in zip(week, week[18:], strict=False)
        if before.compressor_runs and now.compressor_runs and not now.defrosts and not before.defrosts
    ]
    assert all(25 <= state.flow_c <= 45 for state in settled)
    assert all(25 <= heating_curve(state.outdoor_c) <= 45 for state in week)
    warm = max(settled, key=lambda state: state.outdoor_c)
    cold = min(settled, key=lambda state: state.outdoor_c)
    assert cold.target_flow_c > warm.target_flow_c + 3


def test_the_thermostat_keeps_the_room_within_its_hysteresis(week):
    assert all(20.75 < state.indoor_c < 21.25 for state in week)
    assert len(rises(week, lambda state: state.wants_heat)) > 5


def test_it_stands_by_at_6_watts_and_pauses_at_46(week):
    rests = {(s.wants_heat, round(1000 * s.electric_kw)) for s in week if not s.compressor_runs}
    assert rests == {(False, 6), (True, 46)}
    nights = [s.meter.flow.power[0] for s in week if not s.compressor_runs and s.time_s % 86400 < 4 * 3600]
    assert {round(1000 * power) for power in nights} == {6, 46}


def test_now_and_then_one_phase_exports(week):
    powers = [state.meter.flow.power_kw for state in week]
    assert any(three < -0.05 for _, _, three in powers)
    assert all(one > 0 and two > 0 for one, two, _ in powers)
    hours = [
        any(three < 0 for *_, three in powers[start : start + HOUR]) for start in range(0, len(powers), HOUR)
    ]
    assert 7 <= sum(hours) <= len(hours) / 2


def test_summer_is_not_heated():
    """1 July, a house that has settled: the heat pump stands by, and nothing is defrosted."""
    one = house(start_s=1_782_864_000)
    day = [one.at(1_782_864_000 + second) for second in range(86400, 2 * 86400, 600)]
    assert sum(state.compressor_runs for state in day) <= len(day) / 4
    assert not any(state.defrosts for state in day)


def test_the_same_draws_make_the_same_house_in_whatever_steps_it_is_asked(week):
    other = house()
    times = Random(5).sample(range(0, WEEK_S, 10), 200)
    assert all(other.at(JANUARY + second) == week[second // 10] for second in sorted(times))
    assert house(seed=2).at(JANUARY + 100).outdoor_c != week[10].outdoor_c


def test_time_does_not_run_backwards():
    one = house()
    one.at(JANUARY + 100)
    with pytest.raises(ValueError, match="expected"):
        one.at(JANUARY + 90)
