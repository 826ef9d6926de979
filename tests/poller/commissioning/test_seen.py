"""What one look shows of every field, and what it says of those that are not believed."""

import pytest

from poller.assemble import fold_poll, new_tracker
from poller.blocks import BlockFailure, BlockRead, FailureReason, Poll, RegisterBlock
from poller.commissioning.seen import HOLDS_BACK, WHY, Finding, see_fields
from poller.device import Device
from poller.filters import Reason
from poller.points import Table
from poller.profile import load_profile
from readings.reading import DeviceKey

PROFILE = load_profile("wago-879")
DEVICE = Device(
    DeviceKey(PROFILE.kind, "meter"),
    "",
    PROFILE,
    PROFILE.choose(("voltage_L1_v",)),
    30,
    "rs485",
    2,
)


def block(*names: str) -> RegisterBlock:
    points = tuple(DEVICE.fields[name].point for name in names)
    start = min(one.address for one in points)
    return RegisterBlock(Table.HOLDING, start, max(one.address for one in points) + 2 - start, points)


def seen(*outcomes):
    poll = Poll(due=0.0, ended=1.0, outcomes=outcomes)
    folded = fold_poll(DEVICE, new_tracker(DEVICE, 0.0), poll)
    return {one.name: one for one in see_fields(DEVICE, poll, folded)}


@pytest.mark.parametrize(
    ("name", "words", "value", "finding", "why"),
    [
        ("power_total_kw", (0x3F9D, 0xF3B6), 1.234, Finding.ACCEPTED, ""),
        ("power_total_kw", (0x0000, 0x0000), 0, Finding.HELD_BACK, "near 0: believed when it comes twice"),
        ("power_total_kw", (0x1391, 0x7A95), pytest.approx(3.67e-27, rel=1e-2), Finding.REJECTED, "smaller than the device's step of 0.0001"),
        ("power_total_kw", (0x447A, 0x0000), 1000, Finding.REJECTED, "outside -45 to 45"),
        ("power_total_kw", (0x7FC0, 0x0000), None, Finding.REJECTED, "not a number"),
        ("frequency_hz", (0x4346, 0x0000), 198, Finding.REJECTED, "impossible, outside 45 to 65: its whole block is suspect"),
        ("energy_total_kwh", (0x4640, 0xE6B7), 12345.679, Finding.HELD_BACK, "the first count: believed when three in a row agree"),
        ("energy_total_kwh", (0x0000, 0x0000), 0, Finding.HELD_BACK, "a count of 0: what a broken answer shows, and a new meter"),
    ],
)  # fmt: skip
def test_a_field_shows_its_registers_its_value_and_what_the_filter_says(name, words, value, finding, why):
    one = seen(BlockRead(block(name), words, 1.0))[name]
    assert (one.words, one.value, one.finding, one.why) == (words, value, finding, why)
    assert one.hex == " ".join(f"0x{word:04X}" for word in words)


def test_a_field_that_was_not_read_says_why():
    failure = BlockFailure(
        block("power_total_kw"), FailureReason.TIMEOUT, "holding 20498+2: no answer within 1 s", 1.0
    )
    fields = seen(failure, BlockRead(block("energy_total_kwh"), (0x4640, 0xE6B7), 1.0))
    assert fields["power_total_kw"].finding is Finding.NOT_READ
    assert fields["power_total_kw"].why == "holding 20498+2: no answer within 1 s"
    assert fields["energy_total_raw_kwh"].why == "made of energy_total_kwh"
    assert list(fields) == list(DEVICE.fields), "every field, in the profile's order"


def test_a_neighbour_of_an_impossible_field_is_named_as_such():
    read = BlockRead(block("frequency_hz", "power_total_kw"), (0x4346, 0, *[0] * 8, 0x3F9D, 0xF3B6), 1.0)
    assert seen(read)["power_total_kw"].why == "another field of its block is impossible"


def test_every_reason_has_its_words():
    assert WHY.keys() == set(Reason)
    assert set(Reason) > HOLDS_BACK
