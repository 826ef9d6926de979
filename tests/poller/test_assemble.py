"""Polls and reports become states: fresh, held, null, lost."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.assemble import (
    Folded,
    Rejection,
    Report,
    Snapshot,
    Stamped,
    fold_poll,
    fold_report,
    fold_silence,
    keep,
    new_tracker,
    restore,
)
from poller.blocks import BlockFailure, BlockOutcome, BlockRead, FailureReason, Poll, RegisterBlock
from poller.device import Device, describe_device
from poller.errors import FilterStateError
from poller.identity import Identity
from poller.points import Table
from poller.profile import load_profile, parse_profile
from readings.reading import DeviceKey
from readings.release import RELEASED_MS

START = 1000.0


def device(profile: str, *, without: tuple[str, ...] = (), interval_s: float = 30.0) -> Device:
    known = load_profile(profile)
    return Device(
        DeviceKey(known.kind, "d"), "D", known, known.choose(less=without), interval_s, bus="b", unit=1
    )


METER = device("wago-879")
HEAT_PUMP = device("lg-r290", interval_s=10.0)
SENSOR = device("shelly-blu-ht", interval_s=450.0)


def block(of: Device, table: Table, start: int, count: int) -> RegisterBlock:
    points = [one.point for one in of.fields.values() if one.point]
    inside = (one for one in points if one.table is table and start <= one.address < start + count)
    return RegisterBlock(table, start, count, tuple(inside))


POWER = block(METER, Table.HOLDING, 0x5008, 18)
FACTOR = block(METER, Table.HOLDING, 0x502A, 2)
ENERGY = block(METER, Table.HOLDING, 0x6000, 12)


def floats(blocks: RegisterBlock, values: Mapping[str, float]) -> tuple[int, ...]:
    """The words that a meter sends for these values; 0 where none is given."""
    words = [0] * blocks.count
    for point in blocks.points:
        start = point.address - blocks.address
        words[start : start + 2] = struct.unpack(">HH", struct.pack(">f", values.get(point.name, 0.0)))
    return tuple(words)


GOOD = {
    "frequency_hz": 50.0,
    "power_total_kw": 2.3,
    "power_L1_kw": 1.0,
    "power_L2_kw": 0.8,
    "power_L3_kw": 0.5,
    "power_factor": 0.97,
    "energy_total_kwh": 100.0,
    "energy_L1_kwh": 40.0,
    "energy_L2_kwh": 30.0,
    "energy_L3_kwh": 30.0,
}


@dataclass
class Polls:
    """A meter that is polled every 30 s; each call is one poll."""

    of: Device = METER
    blocks: tuple[RegisterBlock, ...] = (POWER, FACTOR, ENERGY)
    due: float = START
    folded: Folded = field(init=False)

    def __post_init__(self) -> None:
        self.folded = Folded(new_tracker(self.of, START), None, None)

    def poll(
        self, *, fail: tuple[RegisterBlock, ...] = (), serial: str | None = None, **changes: float
    ) -> Folded:
        outcomes: list[BlockOutcome] = []
        for place, one in enumerate(self.blocks):
            at = self.due + 0.1 * (place + 1)
            if one in fail:
                outcomes.append(BlockFailure(one, FailureReason.TIMEOUT, "silent", at))
            else:
                outcomes.append(BlockRead(one, floats(one, GOOD | changes), at))
        identity = {} if serial is None else {"serial_number": serial}
        poll = Poll(self.due, self.due + 0.5, tuple(outcomes), identity)
        self.folded = fold_poll(self.of, self.folded.tracker, poll)
        self.due += self.of.interval_s
        return self.folded

    def dead(self) -> Folded:
        return self.poll(fail=self.blocks)

    def warm(self) -> "Polls":
        """Until the energy counts are believed."""
        for _ in range(3):
            self.poll(serial="A")
        return self


def state(folded: Folded) -> Snapshot:
    assert folded.snapshot is not None
    return folded.snapshot


def test_a_whole_poll_makes_a_state_of_fresh_values_at_the_end_of_its_last_block():
    polls = Polls().warm()
    made = state(polls.poll())
    assert made.values == GOOD | {"energy_total_raw_kwh": 100.0}
    assert made.held == frozenset()
    assert made.taken == pytest.approx(polls.due - 30 + 0.3)
    assert made.time_ms is None


def test_every_field_stands_in_every_state_in_the_profiles_order():
    for folded in (Polls().poll(), Polls().poll(fail=(POWER, ENERGY))):
        assert list(state(folded).values) == list(METER.fields)


def test_a_failed_block_is_held_for_two_intervals_then_null():
    polls = Polls().warm()
    for _ in range(2):
        made = state(polls.poll(fail=(POWER,), power_factor=0.96))
        assert made.values["power_total_kw"] == 2.3
        assert made.held == {point.name for point in POWER.points}
        assert made.values["power_factor"] == 0.96
    made = state(polls.poll(fail=(POWER,)))
    assert made.values["power_total_kw"] is None
    assert made.held == frozenset()
    assert state(polls.poll()).values["power_total_kw"] == 2.3


SLOW = replace(
    METER,
    fields={
        name: replace(one, interval_s=90) if name.startswith("energy") and one.point else one
        for name, one in METER.fields.items()
    },
)


def test_a_slow_field_is_held_between_its_reads_and_for_two_of_its_intervals_at_most():
    """The counts are read in every third poll: no state is without them until two turns were missed."""
    polls = Polls(of=SLOW).warm()
    counts = {point.name for point in ENERGY.points} | {"energy_total_raw_kwh"}
    for turn in range(1, 4):
        for _ in range(2):
            polls.blocks = (POWER, FACTOR)
            made = state(polls.poll())
            assert (made.held, made.values["energy_total_kwh"]) == (counts, 99 + turn)
        polls.blocks = (POWER, FACTOR, ENERGY)
        assert state(polls.poll(energy_total_kwh=100.0 + turn)).held == frozenset()
    for _ in range(6):
        made = state(polls.poll(fail=(ENERGY,)))
        assert made.held == counts
    made = state(polls.poll(fail=(ENERGY,)))
    assert (made.held, made.values["energy_total_kwh"]) == (frozenset(), None)
    assert made.values["power_total_kw"] == 2.3


def test_a_device_is_lost_after_two_of_its_own_intervals_however_slow_its_fields_are():
    polls = Polls(of=SLOW).warm()
    assert polls.dead().snapshot is None
    assert set(state(polls.dead()).values.values()) == {None}


def test_the_announcement_says_which_fields_are_slow():
    fields = describe_device(SLOW, "house", "k3f9").fields
    assert {name for name, one in fields.items() if one.interval == 90} == {
        point.name for point in ENERGY.points
    } | {"energy_total_raw_kwh"}
    assert fields["power_factor"].interval == 0


def test_the_time_is_that_of_the_last_block_that_was_read():
    polls = Polls().warm()
    assert state(polls.poll(fail=(FACTOR, ENERGY))).taken == pytest.approx(polls.due - 30 + 0.1)


def test_a_rejected_field_is_held_and_counted_with_its_reason():
    polls = Polls().warm()
    folded = polls.poll(power_total_kw=1e30, power_L1_kw=0.0)
    made = state(folded)
    assert (made.values["power_total_kw"], made.values["power_L1_kw"]) == (2.3, 1.0)
    assert made.held == {"power_total_kw", "power_L1_kw"}
    assert set(folded.rejections) == {Rejection("power_total_kw", "range"), Rejection("power_L1_kw", "low")}


def test_a_suspect_block_is_held_as_a_whole_and_leaves_the_time_to_the_others():
    polls = Polls().warm()
    folded = polls.poll(energy_L3_kwh=math.nan, energy_total_kwh=100.1, power_total_kw=2.4)
    made = state(folded)
    assert made.values["power_total_kw"] == 2.4
    assert made.held == {point.name for point in ENERGY.points} | {"energy_total_raw_kwh"}
    assert made.taken == pytest.approx(polls.due - 30 + 0.2)
    assert Rejection("energy_L3_kwh", "not_a_number") in folded.rejections
    assert Rejection("energy_total_kwh", "suspect_block") in folded.rejections


def test_a_suspect_block_breaks_a_confirmation():
    polls = Polls().warm()
    polls.poll(power_total_kw=0.0)
    polls.poll(power_total_kw=0.0, frequency_hz=3.0)
    assert polls.poll(power_total_kw=0.0).rejections == (Rejection("power_total_kw", "low"),)
    assert state(polls.poll(power_total_kw=0.0)).values["power_total_kw"] == 0.0


def test_a_poll_in_which_nothing_was_read_makes_no_state_until_the_device_is_lost():
    polls = Polls().warm()
    polls.poll()
    assert polls.dead().snapshot is None
    assert polls.folded.online is True
    lost = polls.dead()
    assert state(lost) == Snapshot(polls.due - 30 + 0.5, None, dict.fromkeys(METER.fields), frozenset())
    assert lost.online is False
    for _ in range(5):
        assert polls.dead().snapshot is None
        assert polls.folded.online is False
    back = polls.poll(fail=(POWER,))
    assert back.online is True
    assert state(back).values["power_total_kw"] is None, "nothing from before is held"


@pytest.mark.parametrize("journal_opens_after_s", [0.0, 3.0])
def test_a_device_that_never_answers_is_lost_after_two_intervals_from_the_start(journal_opens_after_s):
    polls = Polls()
    polls.folded = Folded(new_tracker(METER, polls.due + journal_opens_after_s), None, None)
    assert [(one.snapshot is None, one.online) for one in (polls.dead() for _ in range(4))] == [
        (True, None),
        (True, None),
        (False, False),
        (True, False),
    ]


def test_jitter_decides_nothing():
    """Ages count on the timetable: a poll that ends later than the last does not change what is held."""
    for late in (-0.2, 0.0, 0.2):
        polls = Polls().warm()
        for number in range(3):
            poll = Poll(
                polls.due,
                polls.due + 0.3 + late,
                (BlockRead(FACTOR, floats(FACTOR, GOOD), polls.due + late),),
            )
            polls.folded = fold_poll(METER, polls.folded.tracker, poll)
            polls.due += 30.0
            assert (state(polls.folded).values["power_total_kw"] is None) == (number == 2)


def test_intervals_are_counted_whatever_the_clock_rounds():
    quick = replace(METER, interval_s=1.1)
    for start in (1000.3, 17.9):
        polls = Polls(of=quick, due=start)
        polls.folded = Folded(new_tracker(quick, start), None, None)
        polls.poll()
        assert "power_L1_kw" in state(polls.poll(fail=(POWER,))).held
        assert "power_L1_kw" in state(polls.poll(fail=(POWER,))).held
        assert "power_L1_kw" not in state(polls.poll(fail=(POWER,))).held


def test_availability_waits_for_the_first_good_block():
    polls = Polls(blocks=(POWER,))
    assert polls.poll(frequency_hz=0.0).online is None
    assert polls.poll().online is True
    assert polls.poll(frequency_hz=0.0).online is True


def test_an_answer_that_does_not_fill_its_block_was_not_read():
    polls = Polls().warm()
    poll = Poll(polls.due, polls.due, (BlockRead(FACTOR, (1,), polls.due),))
    folded = fold_poll(METER, polls.folded.tracker, poll)
    assert folded.snapshot is None
    assert folded.rejections == (Rejection("power_factor", "undecodable"),)


WITNESS = RegisterBlock(Table.HOLDING, 0x5002, 2, (METER.profile.fields["voltage_L1_v"].point,))


def test_a_voltage_that_was_not_chosen_excuses_a_frequency_and_says_nothing_else():
    """Its phase is dead: what comes with the frequency is believed."""
    polls = Polls(blocks=(POWER, FACTOR, ENERGY, WITNESS)).warm()
    folded = polls.poll(frequency_hz=0.0, voltage_L1_v=0.0)
    assert state(folded).values["power_total_kw"] == 2.3
    assert "power_total_kw" not in state(folded).held
    assert state(folded).values.keys() == METER.fields.keys()
    assert folded.rejections == (Rejection("frequency_hz", "range"),)
    assert polls.poll(voltage_L1_v=math.nan).rejections == ()


def test_a_voltage_that_was_not_chosen_does_not_show_that_its_device_can_be_read():
    polls = Polls(blocks=(POWER, FACTOR, ENERGY, WITNESS)).warm()
    assert polls.poll(fail=(POWER, FACTOR, ENERGY)).snapshot is None
    short = Poll(polls.due, polls.due, (BlockRead(WITNESS, (1,), polls.due),))
    folded = fold_poll(METER, polls.folded.tracker, short)
    assert (folded.online, folded.rejections) == (False, ())


WATER = block(HEAT_PUMP, Table.INPUT, 0, 14)


def heat_pump(flow: int, back: int, tracker=None, due: float = START) -> Folded:
    """A poll of the heat pump's temperatures, in tenths of a degree."""
    words = (0, 2, back, flow, 0, 0, 0, 0, 153, 0, 0, 0, 50, 16)
    poll = Poll(due, due, (BlockRead(WATER, words, due),))
    return fold_poll(HEAT_PUMP, tracker or new_tracker(HEAT_PUMP, due), poll)


def test_a_derived_field_has_the_decimals_of_its_inputs_and_is_held_with_them():
    folded = heat_pump(353, 301)
    assert state(folded).values["temperature_delta_celsius"] == 5.2
    folded = heat_pump(353 + 200, 301, folded.tracker, START + 10)
    assert {"flow_temperature_celsius", "temperature_delta_celsius"} <= state(folded).held
    assert state(folded).values["temperature_delta_celsius"] == 5.2


def test_what_the_device_calls_no_value_is_null_at_once():
    known = load_profile("lg-r290")
    chosen = replace(HEAT_PUMP, fields=known.choose(more=("dhw_temperature_celsius",)))
    dhw = block(chosen, Table.INPUT, 5, 1)
    tracker = new_tracker(chosen, START)
    for due, word, value in ((START, 451, 45.1), (START + 10, 0xFD77, None), (START + 20, 452, 45.2)):
        folded = fold_poll(chosen, tracker, Poll(due, due, (BlockRead(dhw, (word,), due),)))
        tracker = folded.tracker
        assert state(folded).values["dhw_temperature_celsius"] == value
        assert state(folded).held == frozenset()
        assert folded.rejections == ()


OWN = """
title = "Own"
kind = "meter"
manufacturer = "M"
model = "X"
sources = ["a manual"]
[defaults]
encoding = "uint32"
sentinels = ["ones"]
[fields]
energy_total_kwh = { address = 0, scale = 0.01, range = [0, 1e6], max_power_kw = 45 }
energy_total_raw_kwh = { raw_of = "energy_total_kwh" }
voltage_L1_v = { address = 2, range = [0, 300] }
voltage_L2_v = { address = 4, range = [0, 300] }
spread_v = { difference = ["voltage_L1_v", "voltage_L2_v"], unit = "V", description = "Voltage between phases" }
"""


def test_what_is_made_of_no_value_has_none():
    known = parse_profile("own", OWN)
    own = Device(DeviceKey(known.kind, "d"), "D", known, known.choose(), 30.0, bus="b", unit=1)
    every = block(own, Table.HOLDING, 0, 6)
    tracker = new_tracker(own, START)
    for number, words in enumerate(
        [(0, 500, 0, 230, 0, 228)] * 3 + [(0xFFFF, 0xFFFF, 0, 230, 0xFFFF, 0xFFFF)]
    ):
        at = START + 30 * number
        folded = fold_poll(own, tracker, Poll(at, at, (BlockRead(every, words, at),)))
        tracker = folded.tracker
        assert state(folded).values["spread_v"] == (2 if number < 3 else None)
    assert state(folded).values == {
        "energy_total_kwh": None, "energy_total_raw_kwh": None, "voltage_L1_v": 230, "voltage_L2_v": None,
        "spread_v": None,
    }  # fmt: skip
    assert state(folded).held == frozenset()


def test_a_replaced_meter_goes_on_counting_and_its_register_is_a_field_of_its_own():
    polls = Polls().warm()
    new = {"energy_total_kwh": 7.0, "energy_L1_kwh": 2.0, "energy_L2_kwh": 2.0, "energy_L3_kwh": 3.0}
    assert polls.poll(**new).wants_identity, "a fall is judged with the serial number"
    assert polls.poll(serial="B", **new).wants_identity, "one garbled answer is no new meter"
    folded = polls.poll(serial="B", **new)
    assert not folded.wants_identity
    made = state(folded)
    assert (made.values["energy_total_kwh"], made.values["energy_total_raw_kwh"]) == (100.0, 7.0)
    made = state(polls.poll(**new | {"energy_total_kwh": 7.25}))
    assert (made.values["energy_total_kwh"], made.values["energy_total_raw_kwh"]) == (100.25, 7.25)
    assert made.held == frozenset()


def test_a_serial_number_of_zeros_or_ones_is_a_broken_answer():
    polls = Polls().warm()
    for serial in ("00000000", "FFFFFFFF", "", "ffffffff"):
        polls.poll(serial=serial)
        assert polls.folded.tracker.identity.serial == "A"
        assert polls.folded.tracker.identity.rumour is None


def test_a_garbled_first_serial_number_makes_no_new_meter_of_the_true_one():
    polls = Polls()
    for number, serial in enumerate(("11919C4B", None, None, "A", "A", None, None, None)):
        polls.poll(serial=serial, energy_total_kwh=100 + number / 4)
    assert polls.folded.tracker.identity.serial == "A"
    assert state(polls.folded).values["energy_total_kwh"] == 100 + 7 / 4


def test_the_serial_number_is_wanted_at_start_and_after_down():
    polls = Polls()
    assert polls.poll().wants_identity
    assert polls.poll(serial="A").wants_identity, "the first number too is believed when it comes twice"
    assert not polls.poll(serial="A").wants_identity
    polls.dead()
    polls.dead()
    assert polls.poll().wants_identity
    assert not polls.poll(serial="A").wants_identity
    assert not heat_pump(353, 301).wants_identity, "its profile names none"


def test_the_filters_remember_across_a_restart_and_nothing_is_held():
    polls = Polls().warm()
    kept = keep(polls.folded.tracker, polls.due)
    tracker = restore(METER, kept, same_boot=True, now=polls.due)
    assert tracker.online is None
    folded = fold_poll(
        METER, tracker, Poll(polls.due, polls.due, (BlockRead(ENERGY, floats(ENERGY, GOOD), polls.due),))
    )
    made = state(folded)
    assert made.values["energy_total_kwh"] == 100.0, "no candidate: it was believed before"
    assert made.values["power_total_kw"] is None
    assert made.held == frozenset()


@pytest.mark.parametrize(
    ("same_boot", "rise", "follows"), [(True, 10, False), (False, 10, True), (False, 50, False)]
)
def test_across_a_reboot_an_hour_is_assumed(same_boot, rise, follows):
    """45 kW for an hour are 45 kWh; within a boot the clock says that only seconds went by."""
    polls = Polls().warm()
    kept = keep(polls.folded.tracker, polls.due)
    now = polls.due if same_boot else 5.0
    tracker = restore(METER, kept, same_boot=same_boot, now=now)
    words = floats(ENERGY, GOOD | {"energy_total_kwh": 100.0 + rise})
    made = state(fold_poll(METER, tracker, Poll(now, now, (BlockRead(ENERGY, words, now),))))
    assert made.values["energy_total_kwh"] == (100.0 + rise if follows else None)


@pytest.mark.parametrize(("hours", "rise", "published"), [(5, 200.0, 300.0), (0, 60.0, 100.0)])
def test_the_time_before_a_reboot_counts_too(hours, rise, published):
    """Five hours without an answer, then a reboot: 200 kWh are no other meter; an hour alone explains 45."""
    polls = Polls().warm()
    kept = keep(polls.folded.tracker, polls.due + hours * 3600)
    # With a serial number that stayed the same any rise would do.
    tracker = replace(restore(METER, kept, same_boot=False, now=5.0), identity=Identity())
    words = floats(ENERGY, GOOD | {"energy_total_kwh": 100.0 + rise})
    for number in range(3):
        at = 5.0 + 30 * number
        folded = fold_poll(METER, tracker, Poll(at, at, (BlockRead(ENERGY, words, at),)))
        tracker = folded.tracker
    assert state(folded).values["energy_total_kwh"] == published


def test_a_row_of_candidates_begins_anew_after_a_reboot():
    polls = Polls().warm()
    polls.poll(energy_total_kwh=3.0)
    kept = keep(polls.folded.tracker, polls.due)
    assert restore(METER, kept, same_boot=True, now=1.0).counts["energy_total_kwh"].candidate is not None
    assert restore(METER, kept, same_boot=False, now=1.0).counts["energy_total_kwh"].candidate is None


def test_kept_bytes_that_cannot_be_read_have_an_error_of_their_own():
    for kept in (b"", b"{}", b'{"at": "x"}', b"\xff", b'{"at": 1, "serial": "\xff"}'):
        with pytest.raises(FilterStateError, match="meter/d"):
            restore(METER, kept, same_boot=True, now=0.0)


NOW_MS = RELEASED_MS + 1_000_000


def report(values, tracker=None, now: float = START, **more) -> Folded:
    time_ms, now_ms, is_live = more.get("time_ms"), more.get("now_ms", NOW_MS), more.get("is_live", True)
    one = Report(values, time_ms, is_live=is_live)
    return fold_report(SENSOR, tracker or new_tracker(SENSOR, START), one, now, now_ms)


def test_a_report_is_fresh_in_what_it_brought_and_holds_all_else():
    folded = report({"temperature_celsius": 20.4, "humidity_percent": 63})
    folded = report({"temperature_celsius": 20.5}, folded.tracker, START + 60)
    made = state(folded)
    assert made.values["temperature_celsius"] == 20.5
    assert made.values["humidity_percent"] == 63
    assert made.held == {"humidity_percent"}
    assert made.values["battery_percent"] is None
    assert (made.taken, made.time_ms, folded.online) == (START + 60, None, True)


def test_a_value_whose_own_time_has_not_moved_was_not_measured_again():
    folded = report({"temperature_celsius": Stamped(20.4, NOW_MS - 5000), "rssi_dbm": -49})
    assert state(folded).time_ms == NOW_MS - 5000
    folded = report({"temperature_celsius": Stamped(20.4, NOW_MS - 5000), "rssi_dbm": -50}, folded.tracker)
    assert state(folded).held == {"temperature_celsius"}


def test_a_gateway_that_repeats_what_it_knows_does_not_keep_a_sensor_alive():
    folded = report({"temperature_celsius": Stamped(20.4, NOW_MS)})
    for minute in range(1, 15):
        folded = report({"temperature_celsius": Stamped(20.4, NOW_MS)}, folded.tracker, START + 60 * minute)
        assert folded.snapshot is None
        assert folded.online is True
    folded = report({"temperature_celsius": Stamped(20.4, NOW_MS)}, folded.tracker, START + 900)
    assert (folded.online, set(state(folded).values.values())) == (False, {None})


def test_a_repeated_value_is_known_again_after_a_restart():
    folded = report({"temperature_celsius": Stamped(20.4, NOW_MS)})
    tracker = restore(SENSOR, keep(folded.tracker, START), same_boot=False, now=3.0)
    assert report({"temperature_celsius": Stamped(20.4, NOW_MS)}, tracker, 3.0).snapshot is None


@pytest.mark.parametrize(
    ("what", "time_ms", "now_ms", "kept", "replaced"),
    [
        ("its own time", NOW_MS - 60_000, NOW_MS, True, False),
        ("a minute ahead is a clock's right", NOW_MS + 60_000, NOW_MS, True, False),
        ("more is not", NOW_MS + 60_001, NOW_MS, False, True),
        ("nor is a time before the release", RELEASED_MS - 1, NOW_MS, False, True),
        ("without a clock nothing can be said of it", NOW_MS, None, False, False),
        ("but what is before the release is wrong", RELEASED_MS - 1, None, False, True),
    ],
)
def test_a_sources_time_that_cannot_be_gives_way_to_the_time_of_arrival(
    what, time_ms, now_ms, kept, replaced
):
    folded = report({"temperature_celsius": 20.4}, time_ms=time_ms, now_ms=now_ms)
    assert state(folded).time_ms == (time_ms if kept else None), what
    assert folded.time_replaced is replaced, what


def test_what_is_delivered_again_was_not_measured_again():
    """A poller that was killed gets what it had not acknowledged once more, oldest first."""
    folded = report({"temperature_celsius": Stamped(20.5, NOW_MS)})
    for again in (Stamped(20.4, NOW_MS - 5000), Stamped(20.5, NOW_MS)):
        folded = report({"temperature_celsius": again}, folded.tracker)
        assert folded.snapshot is None
    folded = report({"temperature_celsius": 20.4}, folded.tracker, time_ms=NOW_MS - 5000)
    assert folded.snapshot is None, "the message's own time is as good"
    folded = report({"temperature_celsius": 20.6}, folded.tracker, time_ms=NOW_MS)
    assert state(folded).values["temperature_celsius"] == 20.6, "but two messages may have one"


def test_a_source_whose_clock_was_ahead_is_believed_again_when_it_is_right():
    folded = report({"temperature_celsius": Stamped(20.5, NOW_MS + 3_600_000)})
    assert folded.time_replaced
    folded = report({"temperature_celsius": Stamped(20.6, NOW_MS - 1000)}, folded.tracker)
    assert state(folded).time_ms == NOW_MS - 1000


def test_a_source_that_does_not_know_the_time_is_heard_after_its_restart():
    """It counts from its start, and may have known the time before."""
    folded = report({"temperature_celsius": Stamped(20.5, NOW_MS)})
    for stamp in (30_000, 90_000, 40_000):
        folded = report({"temperature_celsius": Stamped(20.6, stamp)}, folded.tracker)
        assert state(folded).time_ms is None
        assert folded.time_replaced
        assert report({"temperature_celsius": Stamped(20.6, stamp)}, folded.tracker).snapshot is None
    folded = report({"temperature_celsius": Stamped(20.7, NOW_MS)}, folded.tracker)
    assert state(folded).time_ms == NOW_MS


@pytest.mark.parametrize(
    ("what", "value", "now_ms", "is_taken"),
    [
        ("its own time", Stamped(20.5, NOW_MS - 5000), NOW_MS, True),
        ("no time", 20.5, NOW_MS, False),
        ("a time that cannot be", Stamped(20.5, 1000), NOW_MS, False),
        ("its own time, but nobody knows what time it is", Stamped(20.5, NOW_MS - 5000), None, False),
    ],
)
def test_what_is_not_live_needs_a_time_of_its_own(what, value, now_ms, is_taken):
    folded = report({"temperature_celsius": value}, now_ms=now_ms, is_live=False)
    assert (folded.snapshot is not None, folded.is_ageless) == (is_taken, not is_taken), what
    if not is_taken:
        again = report({"temperature_celsius": value}, folded.tracker, now_ms=NOW_MS)
        assert state(again).values["temperature_celsius"] == 20.5, "nothing of it is remembered"


def test_an_old_reading_is_stored_and_shows_nothing_of_now():
    hour_ago = {"temperature_celsius": Stamped(20.5, NOW_MS)}
    folded = report(hour_ago, now=START + 890, now_ms=NOW_MS + 3_600_000, is_live=False)
    assert (state(folded).time_ms, folded.online) == (NOW_MS, None)
    lost = fold_silence(SENSOR, folded.tracker, START + 900)
    assert (lost.online, set(state(lost).values.values())) == (False, {None})


def test_a_reading_keeps_a_source_for_as_long_as_it_is_young():
    folded = report({"temperature_celsius": Stamped(20.5, NOW_MS - 600_000)}, now=START + 880)
    assert folded.online is True
    assert fold_silence(SENSOR, folded.tracker, START + 1179).snapshot is None
    assert fold_silence(SENSOR, folded.tracker, START + 1180).online is False


def test_values_of_several_times_are_as_many_reports():
    one = Report({"a": Stamped(1, 20), "b": Stamped(2, 10), "c": 3, "d": Stamped(4, 20)}, is_live=False)
    assert one.parts() == (
        Report({"b": Stamped(2, 10)}, is_live=False),
        Report({"a": Stamped(1, 20), "d": Stamped(4, 20)}, is_live=False),
        Report({"c": 3}, is_live=False),
    )
    assert Report({}).parts() == (Report({}),)


def test_what_a_source_reports_passes_the_same_filters():
    folded = report({"temperature_celsius": 3276.7, "humidity_percent": math.nan, "battery_percent": None})
    assert set(state(folded).values.values()) == {None}
    assert set(folded.rejections) == {
        Rejection("temperature_celsius", "range"),
        Rejection("humidity_percent", "not_a_number"),
    }


def test_a_silent_source_is_lost_once_after_its_limit():
    tracker = report({"temperature_celsius": 20.4}).tracker
    assert fold_silence(SENSOR, tracker, START + 899).snapshot is None
    lost = fold_silence(SENSOR, tracker, START + 900)
    assert (lost.online, set(state(lost).values.values())) == (False, {None})
    assert fold_silence(SENSOR, lost.tracker, START + 2000).snapshot is None
    back = report({"humidity_percent": 63}, lost.tracker, START + 900)
    assert back.online is True
    assert state(back).held == frozenset(), "nothing from before is held"


def test_a_report_of_unknown_fields_says_nothing():
    assert report({"colour": 3}).snapshot is None


WORD = st.sampled_from([0, 1, 0x3F80, 0x4248, 0x42C8, 0x7FC0, 0x7F80, 0xFF80, 0xFFFF, 0x1391])
OUTCOME = st.tuples(
    st.sampled_from([POWER, FACTOR, ENERGY]),
    st.lists(WORD, min_size=18, max_size=18),
    st.sampled_from([0, 0, 0, 1, -1]),
)
POLL = st.tuples(
    st.lists(OUTCOME, max_size=3, unique_by=lambda one: one[0].address),
    st.sampled_from([None, "A", "B", "00000000"]),
    st.sampled_from([30.0, 60.0, 300.0, 8000.0]),
    st.sampled_from(["run", "run", "restart", "reboot"]),
)


@given(st.lists(POLL, max_size=25))
def test_whatever_is_polled_a_state_is_whole_finite_and_never_falls(polls):
    tracker, now, energy = new_tracker(METER, START), START, 0.0
    for outcomes, serial, pause, before in polls:
        now += pause
        if before != "run":
            tracker = restore(METER, keep(tracker, now), same_boot=before == "restart", now=now)
        reads = tuple(
            BlockRead(one, tuple(words[: one.count + cut]), now + place / 10)
            for place, (one, words, cut) in enumerate(outcomes)
        )
        identity = {} if serial is None else {"serial_number": serial}
        folded = fold_poll(METER, tracker, Poll(now, now + 1, reads, identity))
        tracker = folded.tracker
        if folded.snapshot is None:
            continue
        values, held = folded.snapshot.values, folded.snapshot.held
        assert list(values) == list(METER.fields)
        assert all(value is None or math.isfinite(value) for value in values.values())
        assert all(values[name] is not None for name in held)
        if (published := values["energy_total_kwh"]) is not None:
            assert published >= energy
            energy = published
