"""Reading whole ranges: around what is not there, and as a file that a profile's test reads."""

import time
from collections.abc import Callable, Iterator

import pytest

from poller.address import NetworkAddress
from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.bus import ModbusTransport
from poller.commissioning.ask import Asker
from poller.commissioning.capture import hold, parse_capture
from poller.commissioning.capture_text import Captured, Span, merged, parse_span, to_capture
from poller.commissioning.dump import Dump
from poller.config import BusSettings
from poller.points import Table
from poller.profile import load_profile
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, LiveHouse, house_bus


class Registers:
    """A device that has some addresses, and answers requests of some lengths."""

    def __init__(
        self, has: Callable[[int], bool], *, takes: Callable[[int], bool] = lambda count: True
    ) -> None:
        self.has, self.takes = has, takes
        self.asked: list[tuple[int, int]] = []
        self.is_connected = True
        self.silent_from = 10**6

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        self.asked.append((block.address, block.count))
        addresses = range(block.address, block.address + block.count)
        if block.address >= self.silent_from:
            raise ReadError(FailureReason.TIMEOUT, "no answer")
        if not (self.takes(block.count) and all(map(self.has, addresses))):
            raise ReadError(FailureReason.ILLEGAL_ADDRESS, "exception 2")
        return BlockRead(block, tuple(addresses), 0.0)

    def late_units(self) -> frozenset[int]:
        return frozenset()

    def clear_at(self, request: object) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing to give back."""


def dump_of(device: Registers, **more: int) -> Dump:
    return Dump(Asker(device, rest=lambda _: None), 7, **more)


@pytest.mark.parametrize(
    ("has", "found", "refused"),
    [
        (lambda address: True, [(0, 300)], []),
        (lambda address: address != 100, [(0, 100), (101, 199)], [(100, 100)]),
        (lambda address: address < 10, [(0, 10)], [(10, 299)]),
        (lambda address: 50 <= address < 60, [(50, 10)], [(0, 49), (60, 299)]),
        (lambda address: False, [], [(0, 299)]),
    ],
    ids=["all", "but one", "the first ten", "some between", "none"],
)
def test_what_is_not_there_is_read_around(has, found, refused):
    device = Registers(has)
    dump = dump_of(device)
    dump.run([Span(Table.INPUT, 0, 299)])
    whole = merged(dump.captured)
    assert [(one.first, len(one.words)) for one in whole] == found
    assert all(one.words == tuple(range(one.first, one.first + len(one.words))) for one in whole)
    assert [(one.first, one.last) for one in dump.refused] == refused
    assert max(count for _, count in device.asked) <= 125


def test_a_device_that_takes_only_short_requests_is_read_all_the_same():
    dump = dump_of(Registers(lambda address: True, takes=lambda count: count <= 10))
    dump.run([Span(Table.HOLDING, 0, 99)])
    assert [(one.first, len(one.words)) for one in merged(dump.captured)] == [(0, 100)]
    assert dump.refused == []


def test_a_device_that_takes_pairs_is_asked_for_pairs():
    device = Registers(lambda address: address not in {20, 21}, takes=lambda count: count % 2 == 0)
    dump = dump_of(device, multiple_of=2)
    dump.run([Span(Table.INPUT, 0, 99)])
    assert [(one.first, len(one.words)) for one in merged(dump.captured)] == [(0, 20), (22, 78)]
    assert all(count % 2 == 0 for _, count in device.asked)


def test_a_device_that_falls_silent_leaves_what_was_read():
    device = Registers(lambda address: True)
    device.silent_from = 200
    dump = dump_of(device, max_registers=100)
    with pytest.raises(ReadError, match="no answer"):
        dump.run([Span(Table.INPUT, 0, 299)])
    assert [(one.first, len(one.words)) for one in merged(dump.captured)] == [(0, 200)]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("input:0-50", Span(Table.INPUT, 0, 50)),
        ("holding:0x5000-0x5031", Span(Table.HOLDING, 0x5000, 0x5031)),
        ("COIL:3", Span(Table.COIL, 3, 3)),
        ("discrete:1-16", Span(Table.DISCRETE, 1, 16)),
    ],
)
def test_a_range_is_a_table_and_addresses(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "input", "input:", "0-50", "input:5-1", "input:0-65536", "input:-1", "words:0"]
)
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # the command says in words what was expected
        parse_span(text)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    house = LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)
    with Gateway(house_bus(house, framing="tcp", baud=0, turnaround_s=0)) as one:
        yield one


def test_a_dump_is_a_capture_that_a_profile_is_held_against(gateway):
    address = NetworkAddress(*gateway.address, "socket")
    transport = ModbusTransport(BusSettings("rs485", address, 9600, 0.03), tally=Tally(POLLER_HEALTH))
    dump = Dump(Asker(transport), HEAT_PUMP_UNIT)
    dump.run([Span(Table.INPUT, 0, 30), Span(Table.DISCRETE, 0, 16)])
    transport.close()
    profile = load_profile("lg-r290")
    text = to_capture(merged(dump.captured), dump.refused, note="Unit 7.", profile=profile)
    capture = parse_capture("dump", text)
    assert capture.profile == "lg-r290"
    assert [(one.table, one.address) for one in capture.block] == [(Table.DISCRETE, 0), (Table.INPUT, 0)]
    held = {one.point.name: one.meaning for one in hold(profile, capture)}
    assert held["dhw_temperature_celsius"] == "sentinel"
    assert held["operating_mode"] in {0, 2}
    assert "# outdoor_temperature_celsius =\n" in text, "what is to be worked out by hand"
    assert capture.values == {}, "and not by this program"


def test_bits_are_written_as_bits_and_rows_say_where_they_begin():
    text = to_capture([Captured(Table.COIL, 3, (1, 0) * 5)], [], note="Unit 7.", profile=None)
    assert "    1, 0, 1, 0, 1, 0, 1, 0,  # 3\n    1, 0,  # 11\n" in text
    assert parse_capture("dump", text).block[0].words == (1, 0) * 5
