"""The requests that a device costs."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.blocks import RegisterBlock
from poller.device import Device
from poller.errors import ProfileError
from poller.pace import pace
from poller.plan import plan_blocks, plan_device, request_seconds, spacer, split_block, tell_apart
from poller.points import Encoding, Point, Table
from poller.profile import load_profile
from readings.reading import DeviceKey


def device(profile_name: str, more: tuple[str, ...] = ()) -> Device:
    profile = load_profile(profile_name)
    return Device(
        key=DeviceKey(profile.kind, "it"),
        title="",
        profile=profile,
        fields=profile.choose(more),
        interval_s=profile.interval_s,
        bus="rs485",
        unit=2,
    )


def plan(profile_name, *, baud, turnaround_s=0.03, distinct=True, more=()):
    return plan_device(device(profile_name, more), baud=baud, turnaround_s=turnaround_s, distinct=distinct)


@pytest.mark.parametrize(
    ("profile", "baud", "turnaround_s", "expected"),
    [
        ("wago-879", 0, 0.03, ["holding 20482+42", "holding 24576+12"]),
        ("wago-879", 0, 0.0, ["holding 20482+42", "holding 24576+12"]),
        ("wago-879", 9600, 0.005, ["holding 20482+24", "holding 20522+2", "holding 24576+12"]),
        ("wago-879", 9600, 0.03, ["holding 20482+42", "holding 24576+12"]),
        ("wago-879", 2400, 0.03, ["holding 20482+24", "holding 20522+2", "holding 24576+12"]),
        ("lg-r290", 9600, 0.03, ["coil 0+1", "discrete 1+13", "holding 0+3", "input 0+14"]),
        ("lg-r290", 0, 0.03, ["coil 0+1", "discrete 1+13", "holding 0+3", "input 0+14"]),
    ],
)
def test_the_default_fields_cost_as_many_requests_as_they_must(profile, baud, turnaround_s, expected):
    assert [str(one) for one in plan(profile, baud=baud, turnaround_s=turnaround_s).blocks] == expected


@pytest.mark.parametrize(
    ("blocks", "milliseconds"),
    [
        ([(0x5008, 18), (0x502A, 2), (0x6000, 12)], 157),
        ([(0x5008, 36), (0x6000, 12)], 166),
        ([(0x5008, 2), (0x5012, 8), (0x502A, 2), (0x6000, 2), (0x6006, 6)], 185),
        ([(address, 2) for address in range(10)], 325),
    ],
)
def test_the_bus_time_is_what_was_worked_out_by_hand(blocks, milliseconds):
    """9600 baud, 11 bits a character, 5 ms turnaround, two silences of 3.5 characters."""
    total = sum(
        request_seconds(RegisterBlock(Table.HOLDING, address, count, ()), 9600, 0.005)
        for address, count in blocks
    )
    assert round(total * 1000) == milliseconds


@pytest.mark.parametrize("limit", range(2, 40))
def test_no_request_is_larger_than_the_device_answers(limit):
    points = [one.point for one in device("wago-879").fields.values() if one.point is not None]
    blocks = plan_blocks(points, max_registers=limit, baud=0, turnaround_s=0.03)
    assert max(one.count for one in blocks) <= limit


@pytest.mark.parametrize("name", ["wago-879", "lg-r290"])
@pytest.mark.parametrize("baud", [0, 2400, 9600, 115200])
def test_on_rtu_no_two_answers_of_a_device_are_of_the_same_length(name, baud):
    everything = tuple(load_profile(name).fields)
    for more in ((), everything):
        whole = plan(name, baud=baud, more=more)
        lengths = [one.answer_bytes for one in (*whole.blocks, *whole.identity)]
        assert len(set(lengths)) == len(lengths)


def test_the_serial_number_is_read_with_the_register_behind_it_because_the_power_factor_is_as_long():
    whole = plan("wago-879", baud=9600, turnaround_s=0.005)
    assert [str(one) for one in whole.identity] == ["holding 16384+3"]
    modbus_tcp = plan("wago-879", baud=9600, turnaround_s=0.005, distinct=False)
    assert [str(one) for one in modbus_tcp.identity] == ["holding 16384+2"]


def point(name: str, address: int, registers: int = 1, table: Table = Table.HOLDING) -> Point:
    return Point(name, table, address, registers, Encoding.BIT if table.holds_bits else Encoding.UINT16)


def test_a_register_and_sixteen_bits_are_of_the_same_length():
    blocks = (RegisterBlock(Table.HOLDING, 5, 1, ()), RegisterBlock(Table.COIL, 0, 16, ()))
    assert [str(one) for one in tell_apart(blocks, max_registers=125)] == ["holding 5+1", "coil 0+17"]


def test_a_block_that_may_not_be_longer_stays_and_gets_a_request_of_another_length_before_it():
    blocks = (RegisterBlock(Table.HOLDING, 5, 2, ()), RegisterBlock(Table.HOLDING, 9, 2, ()))
    kept = tell_apart(blocks, max_registers=2)
    assert kept == blocks
    assert spacer(kept[1]).answer_bytes != kept[1].answer_bytes


def test_a_device_of_pairs_is_never_asked_for_an_odd_number():
    blocks = (
        RegisterBlock(Table.INPUT, 0, 2, ()),
        RegisterBlock(Table.INPUT, 52, 2, ()),
        RegisterBlock(Table.COIL, 0, 32, ()),
    )
    told = tell_apart(blocks, max_registers=80, multiple_of=2)
    assert [str(one) for one in told] == ["input 0+2", "input 52+4", "coil 0+33"]
    assert str(spacer(blocks[0], 2)) == "input 0+4"
    assert str(spacer(told[1], 2)) == "input 52+2"


@pytest.mark.parametrize(
    ("table", "count"), [(Table.HOLDING, 1), (Table.INPUT, 2), (Table.COIL, 8), (Table.COIL, 9)]
)
def test_a_spacer_is_of_another_length_and_inside_the_table(table, count):
    block = RegisterBlock(table, 65536 - count, count, ())
    between = spacer(block)
    assert between.answer_bytes != block.answer_bytes
    assert between.address + between.count <= 65536


def test_a_refused_block_is_cut_first_at_its_gaps_then_at_its_points():
    bits = [
        Point("low", Table.HOLDING, 4, 1, Encoding.BIT, bit=0),
        Point("high", Table.HOLDING, 4, 1, Encoding.BIT, bit=1),
    ]
    block = RegisterBlock(Table.HOLDING, 1, 9, (point("a", 1, 2), point("b", 3), *bits, point("c", 8, 2)))
    at_gaps = split_block(block)
    assert [str(one) for one in at_gaps] == ["holding 1+4", "holding 8+2"]
    assert [str(one) for one in split_block(at_gaps[0])] == ["holding 1+2", "holding 3+1", "holding 4+1"]
    assert split_block(at_gaps[1]) == (at_gaps[1],)


def test_a_lengthened_block_that_is_refused_is_shortened():
    block = RegisterBlock(Table.HOLDING, 0x4000, 3, (point("serial_number", 0x4000, 2),))
    assert [str(one) for one in split_block(block)] == ["holding 16384+2"]


def test_a_device_without_anything_to_read_is_refused():
    empty = replace(device("wago-879"), fields={})
    with pytest.raises(ProfileError, match="meter/it: expected at least one field with an address"):
        plan_device(empty, baud=9600, turnaround_s=0.03, distinct=True)


def test_slow_points_are_read_apart_where_that_saves_time_and_along_where_it_does_not():
    power, factor, count = point("power", 0, 2), point("factor", 2, 2), point("count", 20, 2)

    def planned(baud, **every):
        blocks = plan_blocks(
            [power, factor, count], max_registers=125, baud=baud, turnaround_s=0.03, every=every
        )
        return [(str(one), one.every) for one in blocks]

    assert planned(9600) == [("holding 0+22", 1)], "the gap costs less than a request"
    assert planned(9600, count=6, factor=6) == [("holding 0+4", 1), ("holding 20+2", 6)]
    assert planned(0, count=6, factor=6) == [("holding 0+22", 1)], (
        "on a network only the number of requests counts"
    )


def slow(intervals: Mapping[str, float]) -> Device:
    known = device("lg-r290")
    return replace(
        known,
        fields={
            name: replace(one, interval_s=intervals.get(name)) if one.point else one
            for name, one in known.fields.items()
        },
    )


def test_a_field_is_read_at_least_as_often_as_it_asks_for():
    paced = pace(slow({"error_code": 29, "outdoor_temperature_celsius": 30, "water_pressure_bar": 5}))
    assert (paced["error_code"], paced["outdoor_temperature_celsius"], paced["water_pressure_bar"]) == (
        2,
        3,
        1,
    )


def test_what_a_difference_is_made_of_is_read_together():
    paced = pace(slow({"flow_temperature_celsius": 60, "return_temperature_celsius": 30}))
    assert (paced["flow_temperature_celsius"], paced["return_temperature_celsius"]) == (3, 3)


def test_every_poll_asks_for_something():
    paced = pace(slow(dict.fromkeys(load_profile("lg-r290").choose(), 40) | {"power_state": 60}))
    assert set(paced.values()) == {1, 6}
    assert paced["power_state"] == 6


def test_a_voltage_is_read_as_often_as_what_it_excuses():
    meter = load_profile("wago-879")
    fields = {"frequency_hz": meter.fields["frequency_hz"], "voltage_L1_v": meter.fields["voltage_L1_v"]}
    fields["voltage_L1_v"] = replace(fields["voltage_L1_v"], interval_s=300)
    assert pace(replace(device("wago-879"), fields=fields)) == {"frequency_hz": 1, "voltage_L1_v": 1}


def test_a_voltage_that_was_not_chosen_is_read_with_what_it_excuses():
    """It costs a request of its own only as often as that, and no field."""
    slow_one = device("carlo-gavazzi-em340")
    frequency = replace(slow_one.fields["frequency_hz"], interval_s=90)
    slow_one = replace(slow_one, fields={**slow_one.fields, "frequency_hz": frequency})
    assert "voltage_L1_v" not in slow_one.fields
    assert pace(slow_one)["voltage_L1_v"] == pace(slow_one)["frequency_hz"] == 3
    blocks = plan_device(slow_one, baud=9600, turnaround_s=0.03, distinct=False).blocks
    assert [one.every for one in blocks if "voltage_L1_v" in {point.name for point in one.points}] == [3]


def test_the_pieces_of_a_slow_block_are_as_slow():
    block = RegisterBlock(Table.HOLDING, 1, 9, (point("a", 1, 2), point("b", 8)), every=6)
    assert {one.every for one in split_block(block)} == {6}


def test_a_point_wider_than_the_largest_request_is_refused():
    with pytest.raises(ProfileError, match="name: takes 16 registers, one request reads at most 8"):
        plan_blocks([point("name", 0, 16)], max_registers=8, baud=9600, turnaround_s=0.01)


@st.composite
def points(draw):
    """Points close enough together to collide, overlap and leave gaps."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from(Table), st.integers(0, 120), st.sampled_from([1, 2, 4])),
            min_size=1,
            max_size=25,
        )
    )
    return [
        point(f"p{number}", address, 1 if table.holds_bits else registers, table)
        for number, (table, address, registers) in enumerate(places)
    ]


lines = st.tuples(st.sampled_from([0, 1200, 9600, 115200]), st.sampled_from([0.0, 0.005, 0.05]))


@given(points(), st.integers(2, 4))
def test_what_answers_only_multiples_is_asked_for_nothing_else_also_after_a_refusal(all_points, multiple_of):
    last = point("last", 65535, 1, Table.HOLDING)
    planned = plan_blocks(
        [*all_points, last], max_registers=50, multiple_of=multiple_of, baud=0, turnaround_s=0.03
    )
    pieces = [piece for block in planned for piece in split_block(block, multiple_of)]
    for one in (*planned, *pieces):
        if not one.table.holds_bits:
            assert (one.count % multiple_of, one.count <= 50, one.address + one.count <= 65536) == (
                0,
                True,
                True,
            )
        for inside in one.points:
            assert one.address <= inside.address
            assert inside.address + inside.registers <= one.address + one.count


@given(points(), st.integers(4, 125), lines, st.sampled_from([0.0, 0.1]))
def test_every_plan_covers_every_point_and_is_never_worse_than_the_obvious_ones(
    all_points, limit, line, pause_s
):
    baud, turnaround_s = line

    def cost(blocks):
        return sum(request_seconds(one, baud, turnaround_s) + pause_s for one in blocks)

    blocks = plan_blocks(
        all_points, max_registers=limit, baud=baud, turnaround_s=turnaround_s, pause_s=pause_s
    )
    assert sorted(one.name for block in blocks for one in block.points) == sorted(
        one.name for one in all_points
    )
    for block in blocks:
        assert block.table.holds_bits or block.count <= limit
        for one in block.points:
            assert one.table is block.table
            assert block.address <= one.address
            assert one.address + one.registers <= block.address + block.count
    alone = [RegisterBlock(one.table, one.address, one.registers, (one,)) for one in all_points]
    assert cost(blocks) <= cost(alone) + 1e-9
    assert cost(blocks) <= cost(merged(all_points, limit)) + 1e-9


def merged(all_points, limit):
    """Everything that one request may read is read by one."""
    runs: list[list[Point]] = []
    for one in sorted(all_points, key=lambda one: (one.table, one.address, one.registers)):
        if runs and runs[-1][0].table is one.table:
            end = max(other.address + other.registers for other in (*runs[-1], one))
            if one.table.holds_bits or end - runs[-1][0].address <= limit:
                runs[-1].append(one)
                continue
        runs.append([one])
    return [
        RegisterBlock(
            run[0].table,
            run[0].address,
            max(one.address + one.registers for one in run) - run[0].address,
            tuple(run),
        )
        for run in runs
    ]


@given(points(), st.integers(4, 125))
def test_lengthened_blocks_keep_their_points_and_their_place(all_points, limit):
    blocks = plan_blocks(all_points, max_registers=limit, baud=9600, turnaround_s=0.005)
    longer = tell_apart(blocks, max_registers=limit)
    for before, after in zip(blocks, longer, strict=True):
        assert (after.table, after.address, after.points) == (before.table, before.address, before.points)
        assert before.count <= after.count <= (2000 if after.table.holds_bits else max(limit, before.count))
    if limit == 125:
        assert all(one.answer_bytes != other.answer_bytes for one, other in pairwise(longer))


@given(points())
def test_splitting_ends_with_every_point_still_there(all_points):
    blocks = list(plan_blocks(all_points, max_registers=125, baud=0, turnaround_s=0.03))
    for _ in range(3):
        blocks = [piece for block in blocks for piece in split_block(block)]
    assert sorted(one.name for block in blocks for one in block.points) == sorted(
        one.name for one in all_points
    )
    assert all(split_block(block) == (block,) for block in blocks)
