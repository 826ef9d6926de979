"""From states to samples: what is measured is named and timed, what is not measured makes nothing."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exposition import make_registry
from bridge.latest import Latest
from bridge.sample import STALE, Sample, Series, to_samples
from readings.health import BRIDGE_HEALTH, Tally
from readings.payload import FieldInfo, Info
from readings.reading import DeviceKey, DeviceState, Kind

KEY = DeviceKey(Kind.METER, "wp")
NOW_MS = 1_795_406_706_123
POWER, FREQUENCY = "power_total_kw", "frequency_hz"
WAGO = Series(f"wago_{POWER}", (("device", "wp"),))


def info(**fields: FieldInfo) -> Info:
    return Info(
        contract=1, poller="main", stream="a", title="", manufacturer="", model="", profile="", interval=30, fields=fields
    )  # fmt: skip


ALIASED = FieldInfo(prefixes=("meter", "wago"), labels={"device": "wp"})
PLAIN = FieldInfo(prefixes=("meter",), labels={"device": "wp"})
INFO = info(**{POWER: ALIASED, FREQUENCY: PLAIN})


def state(held: tuple[str, ...] = (), time_ms: int | None = NOW_MS, **values: float | None) -> DeviceState:
    return DeviceState(time_ms, "a", 1, values, frozenset(held))


def names(samples: tuple[Sample, ...]) -> list[str]:
    return [one.series.name for one in samples]


def test_a_measured_field_makes_a_sample_of_each_of_its_series():
    samples = to_samples(state(power_total_kw=1.25), INFO, None)
    assert names(samples) == ["meter_power_total_kw", "wago_power_total_kw"]
    assert samples[1] == Sample(WAGO, 1.25, NOW_MS)


@pytest.mark.parametrize(
    "nothing",
    [
        state(held=(POWER,), power_total_kw=1.25),
        state(time_ms=None, power_total_kw=1.25),
        state(power_total_kw=None),
        state(not_announced=1.0),
    ],
    ids=["held", "without time", "no value", "not announced"],
)
def test_what_was_not_measured_makes_no_sample(nothing):
    assert to_samples(nothing, INFO, None) == ()


@pytest.mark.parametrize(
    ("before", "is_marked"),
    [
        (state(power_total_kw=1.25), True),
        (state(held=(POWER,), power_total_kw=1.25), True),
        (state(power_total_kw=None), False),
        (state(frequency_hz=50.0), False),
        (None, False),
    ],
    ids=["a number", "a held number", "null", "not there", "no state before"],
)
def test_a_field_that_turns_from_a_number_to_null_is_marked_as_ended(before, is_marked):
    samples = to_samples(state(power_total_kw=None), INFO, before)
    assert names(samples) == (["meter_power_total_kw", "wago_power_total_kw"] if is_marked else [])
    for one in samples:
        assert struct.pack(">d", one.value).hex() == "7ff0000000000002"
        assert one.timestamp_ms == NOW_MS


def test_prometheus_marker_is_a_nan_of_its_own():
    assert math.isnan(STALE)
    assert struct.pack(">d", STALE) != struct.pack(">d", math.nan)


fields = st.dictionaries(
    st.sampled_from([POWER, FREQUENCY, "power_factor"]), st.floats(-1e6, 1e6) | st.none(), min_size=1
)


@given(fields, st.sampled_from([("meter",), ("meter", "wago"), ("a", "b", "c")]))
def test_remote_write_and_metrics_name_the_same_series_with_the_same_values(values, prefixes):
    about = info(**{name: FieldInfo(prefixes=prefixes, labels={"device": "wp"}) for name in values})
    shown = DeviceState(NOW_MS, "a", 1, values)
    latest = Latest()
    latest.announce(KEY, about)
    latest.offer(KEY, shown, retained=False, now_ms=NOW_MS, now=0.0)
    exposed = {
        Series(one.name, tuple(sorted(one.labels.items()))): one.value
        for family in make_registry(latest, Tally(BRIDGE_HEALTH), lambda: 0.0).collect()
        for one in family.samples
    }
    assert exposed == {one.series: one.value for one in to_samples(shown, about, None)}
