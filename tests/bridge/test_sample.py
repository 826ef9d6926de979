"""From states to samples."""

import math
import struct

import pytest

from bridge.sample import STALE, Sample, Series, name_fields, name_series, to_samples
from readings.payload import FieldInfo
from readings.reading import DeviceState
from tests.bridge.states import NOON_MS, make_info

NAMES = name_fields(make_info())
POWER = Series("meter_power_kw", (("device", "wp"),))
ENERGY = Series("meter_energy_kwh", (("device", "wp"),))


def state(power=1.5, energy=7, *, held=(), time_ms=NOON_MS) -> DeviceState:
    return DeviceState(time_ms, "a", 1, {"power_kw": power, "energy_kwh": energy}, frozenset(held))


def samples(now: DeviceState, before: DeviceState | None = None) -> dict[Series, float | str]:
    return {
        one.series: "stale" if math.isnan(one.value) else one.value for one in to_samples(now, NAMES, before)
    }


@pytest.mark.parametrize(
    ("before", "now", "made"),
    [
        (None, state(), {POWER: 1.5, ENERGY: 7.0}),
        (state(), state(), {POWER: 1.5, ENERGY: 7.0}),
        (state(), state(held=["power_kw"]), {ENERGY: 7.0}),
        (state(), state(power=None), {POWER: "stale", ENERGY: 7.0}),
        (state(held=["power_kw"]), state(power=None), {POWER: "stale", ENERGY: 7.0}),
        (state(power=None), state(power=None), {ENERGY: 7.0}),
        (None, state(power=None), {ENERGY: 7.0}),
        (state(), state(power=None, energy=None), {POWER: "stale", ENERGY: "stale"}),
        (state(power=None), state(), {POWER: 1.5, ENERGY: 7.0}),
        (state(), state(power=0, energy=-2), {POWER: 0.0, ENERGY: -2.0}),
        (None, state(time_ms=None), {}),
    ],
)
def test_a_state_makes_samples_of_what_was_measured_and_marks_what_ended(before, now, made):
    assert samples(now, before) == made


def test_a_held_null_that_turned_null_is_still_marked():
    """Held says that nothing was measured, null that nothing stands for it any more."""
    assert samples(state(power=None, held=["power_kw"]), state())[POWER] == "stale"


def test_every_sample_has_the_time_of_the_reading():
    assert {one.timestamp_ms for one in to_samples(state(power=None), NAMES, state())} == {NOON_MS}


def test_the_marker_has_the_bits_that_prometheus_knows():
    assert struct.pack(">d", STALE).hex() == "7ff0000000000002"


def test_a_field_that_was_not_announced_makes_nothing():
    strange = DeviceState(NOON_MS, "a", 1, {"unknown": 1.0})
    assert to_samples(strange, NAMES, None) == ()


def test_a_series_for_each_prefix_with_sorted_labels():
    field = FieldInfo(prefixes=("meter", "wago"), labels={"room": "cellar", "device": "wp"})
    labels = (("device", "wp"), ("room", "cellar"))
    assert name_series("power_kw", field) == (
        Series("meter_power_kw", labels),
        Series("wago_power_kw", labels),
    )
    assert isinstance(to_samples(state(), NAMES, None)[0], Sample)
