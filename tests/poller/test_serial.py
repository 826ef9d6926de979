"""Serial RTU: over a pseudo-terminal with 8N1, and what reaches the serial library for everything else."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from poller.address import SerialAddress
from poller.blocks import FailureReason, RegisterBlock
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.line import MAX_BACK_OFF_S, Line
from poller.points import Table
from poller.serial_port import SerialConnector
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from simulator.faults import Fault, FaultKind
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse, house_bus
from simulator.serial_line import SerialLine
from simulator.wire import RtuFraming
from tests.conftest import wait_until

TIMEOUT_S = 0.15
POWER = RegisterBlock(Table.HOLDING, 0x5012, 2, ())
ENERGY = RegisterBlock(Table.HOLDING, 0x6000, 12, ())
TEMPERATURES = RegisterBlock(Table.INPUT, 0, 14, ())


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SerialLine]:
    house = LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)
    with SerialLine(house_bus(house, framing="rtu"), tmp_path / "usb-RS485") as one:
        yield one


@pytest.fixture
def transport(line: SerialLine) -> Iterator[ModbusTransport]:
    one = transport_at(line.path)
    yield one
    one.close()


def settings(path: str) -> BusSettings:
    return BusSettings("rs485", SerialAddress(path, 9600, "N"), 9600, 0.03)


def transport_at(path: str) -> ModbusTransport:
    return ModbusTransport(settings(path), tally=Tally(POLLER_HEALTH))


def fails(transport: ModbusTransport, block: RegisterBlock = POWER, unit: int = METER_UNIT) -> ReadError:
    with pytest.raises(ReadError) as caught:
        transport.read(block, unit, TIMEOUT_S)
    return caught.value


def words(line: SerialLine) -> tuple[int, ...]:
    """What the last answer carried."""
    data = line.exchanges[-1].sent[3:-2]
    return tuple(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))


def test_both_devices_are_read_at_a_port(line, transport):
    for block, unit in ((POWER, METER_UNIT), (TEMPERATURES, HEAT_PUMP_UNIT), (ENERGY, METER_UNIT)):
        assert transport.read(block, unit, 1.0).words == words(line)


def test_a_late_answer_at_a_port_is_not_taken_for_the_next(line, transport):
    line.faults.next(Fault(FaultKind.LATE, delay_s=1.5 * TIMEOUT_S))
    assert fails(transport).reason is FailureReason.TIMEOUT
    assert transport.read(ENERGY, METER_UNIT, 1.0).words == words(line)
    assert transport.late_units() == {METER_UNIT}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FaultKind.SILENT, FailureReason.TIMEOUT),
        (FaultKind.WRONG_UNIT, FailureReason.WRONG_UNIT),
        (FaultKind.TRUNCATED, FailureReason.GARBLED),
        (FaultKind.GARBLED, FailureReason.GARBLED),
    ],
)
def test_every_fault_of_the_line_is_found_at_a_port_too(line, transport, fault, reason):
    transport.read(POWER, METER_UNIT, 1.0)
    line.faults.next(Fault(fault))
    assert fails(transport).reason is reason
    assert transport.read(ENERGY, METER_UNIT, 1.0).words == words(line)


def test_an_adapter_that_hears_itself_does_no_harm(transport, line):
    """Many RS485 adapters receive what they send."""

    class Echo(RtuFraming):
        def frame(self, request, pdu):
            return super().frame(request, request.pdu) + super().frame(request, pdu)

    line.bus.framing = Echo()
    assert transport.read(ENERGY, METER_UNIT, 1.0).words == words(line)[4:]


def test_an_adapter_that_hears_nothing_but_itself_is_a_timeout(transport, line):
    class OnlyEcho(RtuFraming):
        def frame(self, request, pdu):
            return super().frame(request, request.pdu)

    line.bus.framing = OnlyEcho()
    assert fails(transport).reason is FailureReason.TIMEOUT
    assert transport.is_connected


class QuietAfter:
    """A connection on a clock of its own, which brings these bytes at these times."""

    def __init__(self, coming: list[tuple[float, bytes]]) -> None:
        self.now = 0.0
        self.coming = coming
        self.sent_at: list[float] = []

    def send(self, data: bytes, within_s: float) -> None:
        self.sent_at.append(self.now)

    def receive(self, within_s: float) -> bytes:
        until = self.now + within_s
        if self.coming and self.coming[0][0] <= until:
            self.now, data = self.coming.pop(0)
            return data
        self.now = until
        return b""

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize(
    ("coming", "sent_at"),
    [
        ([], 0.0040),
        ([(0.001, b"\x02"), (0.003, b"\x03")], 0.003 + 0.0040),
        ([(at / 1000, b"\0") for at in range(1, 2000)], 1.0),
    ],
    ids=["a quiet line", "the end of a frame", "a line that never rests"],
)
def test_a_request_waits_for_the_silence_that_ends_the_frame_before(coming, sent_at):
    """A device takes what follows within 3.5 characters for the same frame."""
    connection = QuietAfter(coming)
    line = Line(
        settings("/dev/ttyUSB0"),
        tally=Tally(POLLER_HEALTH),
        monotonic=lambda: connection.now,
        connector=lambda within_s: connection,
    )
    line.connect()
    line.send(b"request", 1.0)
    assert connection.sent_at == [pytest.approx(sent_at, abs=1e-4)]


def test_an_adapter_that_was_pulled_out_is_found_again(line, transport, caplog):
    caplog.set_level(logging.INFO)
    transport.read(POWER, METER_UNIT, 1.0)
    line.stop()
    error = fails(transport)
    assert error.reason is FailureReason.UNREACHABLE
    assert "there is no such port: is the adapter plugged in?" in str(error)
    line.start()
    wait_until(lambda: reads(transport), within_s=3 * MAX_BACK_OFF_S, what="the port is open again")
    assert transport.read(ENERGY, METER_UNIT, 1.0).words == words(line)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, "once that it was there, once that it has gone, once that it is back"


def test_an_adapter_pulled_out_under_a_request_fails_that_one(line, transport):
    line.faults.next(Fault(FaultKind.SILENT))
    line.bus._silence_s = 5
    pulling = threading.Timer(0.2, line.stop)
    pulling.start()
    with pytest.raises(ReadError) as caught:
        transport.read(POWER, METER_UNIT, 3.0)
    pulling.join()
    assert caught.value.reason in {FailureReason.DISCONNECTED, FailureReason.UNREACHABLE}
    assert not transport.is_connected


def reads(transport: ModbusTransport) -> bool:
    try:
        transport.read(POWER, METER_UNIT, 1.0)
    except ReadError:
        return False
    return True


def test_a_port_that_another_program_has_is_one_line(line, transport):
    transport.read(POWER, METER_UNIT, 1.0)
    other = transport_at(line.path)
    error = fails(other)
    assert error.reason is FailureReason.UNREACHABLE
    assert str(error) == (
        f"serial://{line.path}?baud=9600&parity=N: another program has it: stop that first; "
        f"`fuser -v {line.path}` names it"
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/dev/null", "Inappropriate ioctl"),
        ("/dev", "it is a folder"),
        ("/dev/ttyUSB99", "there is no such port: is the adapter plugged in?"),
    ],
)
def test_what_is_no_port_is_one_line(path, says):
    error = fails(transport_at(path))
    assert error.reason is FailureReason.UNREACHABLE
    assert says in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("address", "reaches"),
    [
        (SerialAddress("/dev/ttyUSB0", 9600, "E"), (9600, 8, "E", 1)),
        (SerialAddress("/dev/ttyUSB0", 19200, "O", 1), (19200, 8, "O", 1)),
        (SerialAddress("/dev/ttyUSB0", 2400, "N", 2), (2400, 8, "N", 2)),
    ],
)
def test_speed_parity_and_stop_bits_reach_the_serial_library(address, reaches, monkeypatch):
    """A pseudo-terminal refuses parity; here is what pyserial is told, and that it accepts it."""
    seen = {}

    class Port(serial.Serial):
        def open(self) -> None:
            seen["settings"] = (self.baudrate, self.bytesize, self.parity, self.stopbits)
            seen["alone"] = self.exclusive

    monkeypatch.setattr(serial, "Serial", Port)
    SerialConnector(address)(1.0)
    assert seen == {"settings": reaches, "alone": True}
