"""What is in view, and for how long."""

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.latest import Absence, DeviceView, Latest, Point
from bridge.trace import HISTORY_POINTS, RESOLUTION_S, Trace
from readings.health import Health, HealthSample
from readings.payload import FieldInfo, Info
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import Program

KEY = DeviceKey(Kind.METER, "wp")
START_MS = 1_795_406_706_000
INTERVAL = 10.0

INFO = Info(
    contract=1,
    poller="cellar",
    stream="k3f9",
    title="Heat pump's meter",
    manufacturer="WAGO",
    model="879-30xx",
    profile="wago-879",
    interval=INTERVAL,
    fields={
        name: FieldInfo(unit="kW", kind="power", prefixes=("meter", "wago"), labels={"device": "wp"})
        for name in ("power_total_kw", "power_L1_kw")
    },
)


def state(at: float = 0.0, seq: int | None = 1, *, total=1.5, l1=0.5, held=(), stream="k3f9", timeless=False):
    return DeviceState(
        None if timeless else START_MS + round(at * 1000),
        stream,
        seq,
        {"power_total_kw": total, "power_L1_kw": l1},
        frozenset(held),
    )


class Bus:
    """Feeds a Latest; both clocks begin at 0 seconds after the start."""

    def __init__(self, *, announced: bool = True) -> None:
        self.latest = Latest()
        if announced:
            self.latest.announce(KEY, INFO)

    def offer(self, state: DeviceState, at: float, *, retained: bool = False, key: DeviceKey = KEY) -> None:
        self.latest.offer(key, state, retained=retained, now_ms=START_MS + round(at * 1000), now=at)

    def view(self, at: float, key: DeviceKey = KEY) -> DeviceView:
        return next(one for one in self.latest.snapshot(at).devices if one.key == key)


def test_there_is_nothing_before_the_first_good_reading():
    bus = Bus()
    assert bus.view(0).values == {}
    assert bus.view(0).absence is Absence.SILENT
    bus.offer(state(total=None), 0)
    assert bus.view(0).values == {"power_L1_kw": 0.5}


@pytest.mark.parametrize(
    ("taken", "timeless", "retained", "is_shown"),
    [
        (0, False, False, True),
        (-30, False, False, True),
        (-30.001, False, False, False),
        (30, False, False, True),
        (30.001, False, False, False),
        (-30, False, True, True),
        (-30.001, False, True, False),
        (0, True, False, True),
        (0, True, True, False),
    ],
)
def test_only_a_state_whose_time_is_near_is_believed(taken, timeless, retained, is_shown):
    """Within 3 intervals; without a time only when it has just happened."""
    bus = Bus()
    bus.offer(state(taken, timeless=timeless), 0, retained=retained)
    assert (bus.view(0).absence is None) is is_shown


@pytest.mark.parametrize(
    ("retained", "taken", "arrived", "leaves_after"),
    [
        (False, 100, 100, 130),
        (False, 80, 100, 130),  # silence is heard by this clock, whatever the poller's says
        (True, 100, 100, 130),
        (True, 80, 100, 110),  # a retained message says nothing of this moment
    ],
)
def test_a_device_leaves_after_three_silent_intervals(retained, taken, arrived, leaves_after):
    bus = Bus()
    bus.offer(state(taken), arrived, retained=retained)
    assert bus.view(leaves_after).absence is None
    assert bus.view(leaves_after + 0.001).absence is Absence.SILENT
    assert bus.view(leaves_after + 0.001).values == {}


def test_a_device_leaves_when_it_is_lost_and_comes_back_with_its_next_reading():
    bus = Bus()
    bus.offer(state(0, 1), 0)
    bus.offer(state(20, 2, total=None, l1=None), 20)
    assert bus.view(20).absence is Absence.LOST
    assert bus.view(2000).absence is Absence.LOST
    bus.offer(state(2010, 3, l1=None), 2010)
    assert bus.view(2010).values == {"power_total_kw": 1.5}


def test_a_device_leaves_with_its_poller():
    bus = Bus()
    bus.offer(state(0, 1), 0)
    bus.latest.poller_gone("attic")
    assert bus.view(0).absence is None
    bus.latest.poller_gone("cellar")
    assert bus.view(0).absence is Absence.POLLER_GONE
    bus.latest.poller_back("cellar")
    assert bus.view(0).absence is Absence.SILENT
    bus.offer(state(1, 1), 1)  # its newest state, published again
    assert bus.view(1).absence is None


def test_a_state_that_comes_before_word_that_its_poller_is_back_is_shown_with_it():
    bus = Bus()
    bus.latest.poller_gone("cellar")
    bus.offer(state(), 0, retained=True)
    assert bus.view(0).values == {}
    bus.latest.poller_back("cellar")
    assert bus.view(0).absence is None


def test_a_state_that_comes_before_its_info_waits_for_it():
    bus = Bus(announced=False)
    bus.offer(state(), 0, retained=True)
    assert bus.view(0).absence is Absence.UNANNOUNCED
    bus.latest.announce(KEY, INFO)
    assert bus.view(30).values == {"power_total_kw": 1.5, "power_L1_kw": 0.5}
    assert bus.view(30.001).absence is Absence.SILENT


def test_a_device_whose_announcement_is_taken_back_is_not_shown_any_more():
    bus = Bus()
    bus.offer(state(), 0)
    bus.latest.withdraw(KEY)
    assert bus.latest.snapshot(0).devices == ()
    bus.latest.withdraw(KEY)
    bus.latest.announce(KEY, INFO)
    assert bus.view(0).values == {}


def test_a_later_contract_is_not_shown():
    bus = Bus()
    bus.offer(state(), 0)
    bus.latest.announce(KEY, msgspec.structs.replace(INFO, contract=2))
    assert bus.view(0).absence is Absence.CONTRACT


@pytest.mark.parametrize(
    ("shown", "came", "is_taken"),
    [
        (state(10, 5), state(20, 6), True),
        (state(10, 5), state(10, 5), False),
        (state(10, 5), state(0, 4), False),
        (state(10, 5), state(9, 6), True),  # the clock was put back; the stream's order counts
        (state(10, 5), state(20, 1, stream="new"), True),
        (state(10, 1, stream="new"), state(0, 9), False),
        (state(10, None, timeless=True), state(11, 1), True),
        (state(10, 5), state(20, None, timeless=True), True),
    ],
)
def test_what_the_broker_repeats_or_delivers_late_changes_nothing(shown, came, is_taken):
    bus = Bus()
    bus.offer(shown, 20)
    bus.offer(DeviceState(came.time_ms, came.stream, came.seq, {"power_total_kw": 7.0}), 21)
    assert (bus.view(21).values.get("power_total_kw") == 7.0) is is_taken


def test_a_repeated_state_does_not_end_the_silence():
    bus = Bus()
    bus.offer(state(0), 0)
    bus.offer(state(0), 25)
    assert bus.view(31).absence is Absence.SILENT


def test_a_held_field_stays_until_its_reading_is_two_intervals_old():
    bus = Bus()
    bus.offer(state(0, 1), 0)
    bus.offer(state(10, 2, held=["power_L1_kw"]), 10)
    bus.offer(state(20, 3, held=["power_L1_kw"]), 20)
    view = bus.view(20)
    assert view.values == {"power_total_kw": 1.5, "power_L1_kw": 0.5}
    assert view.held == {"power_L1_kw"}
    assert (view.measured["power_total_kw"], view.measured["power_L1_kw"]) == (20, 0)
    assert bus.view(20.001).values == {"power_total_kw": 1.5}
    assert bus.view(20.001).held == frozenset()


def test_a_slow_field_stays_for_two_of_its_own_intervals():
    bus = Bus(announced=False)
    slow = msgspec.structs.replace(INFO.fields["power_L1_kw"], interval=30)
    bus.latest.announce(KEY, msgspec.structs.replace(INFO, fields=INFO.fields | {"power_L1_kw": slow}))
    bus.offer(state(0, 1), 0)
    for seq in range(2, 9):
        bus.offer(state(10 * seq - 10, seq, held=["power_L1_kw"]), 10 * seq - 10)
    assert bus.view(60).values["power_L1_kw"] == 0.5
    assert "power_L1_kw" not in bus.view(70).values


def test_a_field_that_was_held_before_this_bridge_looked_is_shown_without_an_age():
    bus = Bus()
    bus.offer(state(0, held=["power_L1_kw"]), 0)
    assert bus.view(5).values["power_L1_kw"] == 0.5
    assert "power_L1_kw" not in bus.view(5).measured


def test_a_reading_is_as_old_as_it_says():
    bus = Bus()
    bus.offer(state(75), 100, retained=True)
    assert bus.view(100).measured["power_total_kw"] == pytest.approx(75)


def test_a_field_that_info_does_not_name_is_not_shown():
    bus = Bus()
    bus.offer(DeviceState(START_MS, "k3f9", 1, {"power_total_kw": 1.0, "surprise": 2.0}), 0)
    assert bus.view(0).values == {"power_total_kw": 1.0}


def test_availability_and_pollers_are_told():
    bus = Bus()
    assert bus.view(0).is_online is None
    bus.latest.availability(KEY, False)
    assert bus.view(0).is_online is False
    health = Health(name="cellar", version="1", metrics={"poller_journal_rows": [HealthSample({}, 3)]})
    bus.latest.health(Program.POLLER, "cellar", health)
    bus.latest.health(Program.BRIDGE, "bridge", health)
    bus.latest.poller_back("attic")
    told = [(one.name, one.is_online, one.health) for one in bus.latest.snapshot(0).pollers]
    assert told == [("attic", True, None), ("cellar", None, health)]


def test_what_was_handed_out_does_not_change():
    bus = Bus()
    bus.offer(state(0, 1), 0)
    before = bus.view(0)
    bus.offer(state(10, 2, total=9.0), 10)
    assert before.values["power_total_kw"] == 1.5
    assert before.measured["power_total_kw"] == 0


def test_history_is_fed_by_fresh_values_in_time_of_what_is_drawn():
    bus = Bus()
    bus.offer(state(0, 1), 0)
    bus.offer(state(60, 2, total=2.5, held=["power_L1_kw"]), 60)
    bus.offer(state(0, 3, total=99.0), 120)  # too old to be believed
    bus.offer(state(120, 4, total=7.5, held=["power_total_kw"]), 120)
    bus.offer(state(180, 5, total=None), 180)
    assert bus.latest.history(180) == {KEY: {"power_total_kw": (Point(180, 1.5), Point(120, 2.5))}}


def test_history_survives_its_poller_and_ends_with_its_field():
    bus = Bus()
    bus.offer(state(0), 0)
    bus.latest.poller_gone("cellar")
    assert bus.latest.history(0) == {KEY: {"power_total_kw": (Point(0, 1.5),)}}
    fields = {"power_L1_kw": INFO.fields["power_L1_kw"]}
    bus.latest.announce(KEY, msgspec.structs.replace(INFO, fields=fields))
    assert bus.latest.history(0) == {KEY: {}}


@given(st.lists(st.tuples(st.floats(0, 40_000), st.floats(-5, 5)), max_size=60), st.floats(0, 70_000))
def test_a_trace_is_bounded_ascends_and_keeps_real_readings(readings, now):
    trace = Trace()
    for at, value in readings:
        trace.add(at, value)
    points = trace.points(now)
    ages = [point.age_s for point in points]
    assert len(points) <= len(trace._minutes) <= HISTORY_POINTS
    assert ages == sorted(ages, reverse=True)
    assert all(0 <= age <= HISTORY_POINTS * RESOLUTION_S for age in ages)
    assert {point.value for point in points} <= {value for _, value in readings}


def test_a_trace_of_days_keeps_six_hours():
    trace = Trace()
    for minute in range(3 * 24 * 60):
        trace.add(minute * 60.0, float(minute))
    points = trace.points(3 * 86400.0)
    assert (len(points), points[-1].value) == (HISTORY_POINTS - 1, 4319.0)
    assert len(trace._minutes) == len(trace._values) == HISTORY_POINTS


def test_threads_may_offer_and_look_at_once():
    bus = Bus()

    def feed(name: str) -> None:
        key = DeviceKey(Kind.METER, name)
        bus.latest.announce(key, INFO)
        for seq in range(1, 300):
            bus.offer(state(seq, seq), seq, key=key)
            bus.latest.history(seq)
            bus.latest.snapshot(seq)

    # A failure in a thread fails the test: pytest warns of it, and warnings are errors.
    threads = [threading.Thread(target=feed, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.key.name for one in bus.latest.snapshot(299).devices] == ["a", "b", "c", "wp"]
