"""One reading is accepted, held back or rejected, and the reason is the one that people would give."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.decode import NoNumber
from poller.filters import Accepted, HeldBack, Memory, NoValue, Reason, Rejected, find_impossible, judge
from poller.points import Rules
from poller.profile import load_profile

METER = {name: one.rules for name, one in load_profile("wago-879").fields.items()}
POWER = METER["power_total_kw"]
HEAT_PUMP = {name: one.rules for name, one in load_profile("lg-r290").fields.items()}

NAN, FULL = NoNumber.NOT_A_NUMBER, NoNumber.FULL_SCALE


def words(rules: Rules, readings: Sequence[object]) -> list[str]:
    """What the filter says to each reading: its value, or 'held back: …', 'rejected: …', 'no value'."""
    memory = Memory()
    said = []
    for reading in readings:
        verdict, memory = judge(rules, memory, reading)
        match verdict:
            case Accepted(value):
                said.append(str(value))
            case HeldBack(reason):
                said.append(f"held back: {reason}")
            case Rejected(reason):
                said.append(f"rejected: {reason}")
            case NoValue():
                said.append("no value")
    return said


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([0.5, 3.67e-27, 0.5], ["0.5", "rejected: resolution", "0.5"]),
        ([0.5, 3.67e-27, 3.67e-27], ["0.5", "rejected: resolution", "rejected: resolution"]),
        ([0.0, 0.0, 0.0], ["held back: low", "0.0", "0.0"]),
        ([0.5, NAN], ["0.5", "rejected: not_a_number"]),
        ([0.5, 1e30], ["0.5", "rejected: range"]),
        ([0.5, FULL], ["0.5", "rejected: full_scale"]),
        ([0.5, -3.2], ["0.5", "-3.2"]),
    ],
)
def test_the_original_systems_table_with_its_faults_mended(readings, expected):
    assert words(POWER, readings) == expected


@pytest.mark.parametrize(
    ("what", "readings", "expected"),
    [
        ("export below 1 W is low too", [-0.0005, -0.0005], ["held back: low", "-0.0005"]),
        ("low confirms low, whatever its sign and size", [0.0009, -0.0001], ["held back: low", "-0.0001"]),
        ("standby goes through", [0.006, 0.046], ["0.006", "0.046"]),
        ("1 W is not low", [0.001], ["0.001"]),
        (
            "a dip to zero is never seen",
            [0.5, 0.0, 0.5, 0.0, 0.5],
            ["0.5", "held back: low", "0.5", "held back: low", "0.5"],
        ),
        ("a tenth of a watt is the resolution", [0.0001, 0.0001], ["held back: low", "0.0001"]),
        (
            "less is garbage and confirms nothing",
            [0.0, 0.00009, 0.0, 0.0],
            ["held back: low", "rejected: resolution", "held back: low", "0.0"],
        ),
        ("a jump waits for the next reading", [2.0, 18.0, 17.0], ["2.0", "held back: jump", "17.0"]),
        ("a spike is never seen", [2.0, 40.0, 2.1], ["2.0", "held back: jump", "2.1"]),
        (
            "two spikes that disagree are never seen",
            [2.0, 40.0, -20.0, 2.1],
            ["2.0", "held back: jump", "held back: jump", "2.1"],
        ),
        (
            "a rejected reading breaks the chain",
            [2.0, 18.0, 1e9, 18.0, 18.0],
            ["2.0", "held back: jump", "rejected: range", "held back: jump", "18.0"],
        ),
        ("a step of exactly the jump is none", [2.0, 17.0], ["2.0", "17.0"]),
        ("the first reading has nothing to jump from", [17.0], ["17.0"]),
        ("from far to zero", [20.0, 0.0, 0.0], ["20.0", "held back: low", "0.0"]),
    ],
)
def test_power(what, readings, expected):
    assert words(POWER, readings) == expected, what


@pytest.mark.parametrize(
    ("field", "readings", "expected"),
    [
        ("compressor_running", [1, 0, 1, 0, 0], ["1", "held back: jump", "1", "held back: jump", "0"]),
        ("error_code", [0, 53, 0], ["0", "held back: jump", "0"]),
        ("operating_mode", [2, 4, 2], ["2", "rejected: range", "2"]),
        ("outdoor_temperature_celsius", [0.3, 0.0, -0.1], ["0.3", "held back: low", "-0.1"]),
        ("dhw_temperature_celsius", [45.1, NoNumber.SENTINEL, 45.3], ["45.1", "no value", "45.3"]),
        ("target_temperature_celsius", [42.0, 0.0], ["42.0", "rejected: range"]),
    ],
)
def test_the_heat_pumps_fields(field, readings, expected):
    assert words(HEAT_PUMP[field], readings) == expected


@pytest.mark.parametrize(
    ("field", "readings", "expected"),
    [
        ("power_factor", [0.95, 0.2, 0.96], ["0.95", "held back: jump", "0.96"]),
        ("power_factor", [0.95, -0.97, -0.96], ["0.95", "held back: jump", "-0.96"]),
        (
            "energy_day_kwh",
            [1.25, 823296.0, 9.0, 1.26],
            ["1.25", "rejected: range", "held back: jump", "1.26"],
        ),
        ("energy_day_kwh", [23.4, 0.0, 0.002], ["23.4", "held back: low", "0.002"]),
    ],
)
def test_what_the_meter_computes(field, readings, expected):
    assert words(METER[field], readings) == expected


@pytest.mark.parametrize("of", ["a rule", "a profile that widens its range"])
def test_a_bit_is_0_or_1_and_whole_whatever_it_came_as(of):
    """Text, pages and float registers bring 1.0, and whoever reads the state compares it with `1`."""
    bit = Rules("bit", range=(0, 1) if of == "a rule" else (0, 2))
    assert words(bit, [1.0, 0.0, 0.5, 1, 1e-9, 2, True, -0.0]) == [
        "1", "0", "rejected: range", "1", "rejected: range", "rejected: range", "1", "0",
    ]  # fmt: skip


def test_a_tariff_that_is_none_makes_its_block_suspect():
    assert find_impossible(METER, {"tariff": 16020}, {}) == {"tariff": Reason.IMPOSSIBLE}


GOOD = {"frequency_hz": 50.0, "power_total_kw": 2.3, "voltage_L1_v": 230.0}


@pytest.mark.parametrize(
    ("what", "changes", "found"),
    [
        ("a good block", {}, {}),
        ("not a number", {"power_total_kw": NAN}, {"power_total_kw": Reason.NOT_A_NUMBER}),
        ("full scale", {"power_total_kw": FULL}, {"power_total_kw": Reason.FULL_SCALE}),
        ("a phase with voltage and no frequency", {"frequency_hz": 0.0}, {"frequency_hz": Reason.IMPOSSIBLE}),
        ("a dead phase may say anything", {"frequency_hz": 198.0, "voltage_L1_v": 2.0}, {}),
        (
            "a voltage that is none is no dead phase",
            {"frequency_hz": 198.0, "voltage_L1_v": NAN},
            {"frequency_hz": Reason.IMPOSSIBLE, "voltage_L1_v": Reason.NOT_A_NUMBER},
        ),
        (
            "nor is one that no meter can show: a shifted block",
            {"frequency_hz": 198.0, "voltage_L1_v": 3.67e-27},
            {"frequency_hz": Reason.IMPOSSIBLE},
        ),
        (
            "nor is an answer of zeros",
            {"frequency_hz": 0.0, "voltage_L1_v": 0.0, "power_total_kw": 0.0},
            {"frequency_hz": Reason.IMPOSSIBLE},
        ),
        ("a large power is not impossible", {"power_total_kw": 44.0}, {}),
        ("a sentinel is no fault", {"power_total_kw": NoNumber.SENTINEL}, {}),
    ],
)
def test_what_makes_a_block_suspect(what, changes, found):
    block = GOOD | changes
    assert find_impossible(METER, block, block) == found, what


def test_without_a_voltage_every_phase_counts_as_live():
    assert find_impossible(METER, {"frequency_hz": 198.0}, {"frequency_hz": 198.0})


def test_the_voltage_may_be_in_another_block_of_the_poll():
    assert not find_impossible(METER, {"frequency_hz": 198.0}, {"voltage_L1_v": 0.0, "frequency_hz": 198.0})


ODD = st.sampled_from([0, 0.0, 3.67e-27, 1e30, -1e30, 1e9, 0.0009, NAN, FULL, NoNumber.SENTINEL])
NEAR = st.integers(-450, 450).map(lambda tenth: tenth / 10)


@given(st.lists(ODD | NEAR))
def test_nothing_is_accepted_that_the_rules_exclude(readings):
    memory = Memory()
    for reading in readings:
        verdict, memory = judge(POWER, memory, reading)
        if isinstance(verdict, Accepted):
            assert verdict.value == reading
            assert math.isfinite(verdict.value)
            assert abs(verdict.value) <= 45
            assert verdict.value == 0 or abs(verdict.value) >= 0.0001


@given(st.integers(5, 60).map(lambda tenth: tenth / 10), ODD | st.integers(300, 449).map(float))
def test_one_garbage_reading_among_true_ones_is_never_accepted(true, garbage):
    verdicts = words(POWER, [true, garbage, true])
    assert verdicts[0] == verdicts[2] == str(true)
    assert verdicts[1].startswith(("held back", "rejected", "no value"))


@given(st.sampled_from(sorted(METER.keys() | HEAT_PUMP.keys())), st.data())
def test_whatever_comes_two_equal_possible_readings_in_a_row_are_believed(name, data):
    """Nothing latches: the truth goes through again, whatever was accepted before it."""
    rules = (METER | HEAT_PUMP)[name]
    if rules.kind == "energy" or rules.range is None:
        return
    truth = data.draw(st.sampled_from(rules.range))
    memory = Memory()
    for reading in data.draw(st.lists(ODD | NEAR, max_size=8)):
        _, memory = judge(rules, memory, reading)
    for _ in range(2):
        verdict, memory = judge(rules, memory, truth)
    assert verdict == Accepted(truth)
