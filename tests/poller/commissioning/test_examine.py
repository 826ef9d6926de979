"""Asking around a device that does not answer: what is tried, and what that shows."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from poller.address import NetworkAddress, SerialAddress
from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.bus import ModbusTransport
from poller.commissioning.diagnosis import Symptoms
from poller.commissioning.examine import examine
from poller.config import BusSettings
from poller.points import Table
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from simulator.bus import Bus
from simulator.faults import Fault, FaultKind
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_bus
from simulator.wire import TcpFraming

BLOCK = RegisterBlock(Table.HOLDING, 0x5012, 2, ())
TRY_S = 0.05


def connect(settings: BusSettings) -> ModbusTransport:
    return ModbusTransport(settings, tally=Tally(POLLER_HEALTH))


def at(address: NetworkAddress | SerialAddress) -> BusSettings:
    return BusSettings("rs485", address, 9600, 0.03)


def try_around(gateway: Gateway, framing: str, unit: int = 2) -> Symptoms | None:
    address = NetworkAddress(*gateway.address, framing)
    return examine(at(address), unit, BLOCK, connect, timeout_s=0.1, try_s=TRY_S)


@pytest.fixture
def house() -> LiveHouse:
    return LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)


@pytest.fixture(params=["tcp", "rtu"])
def gateway(request: pytest.FixtureRequest, house: LiveHouse) -> Iterator[Gateway]:
    with Gateway(house_bus(house, framing=request.param, baud=0, turnaround_s=0)) as one:
        yield one


@pytest.mark.parametrize("gateway", ["tcp"], indirect=True)
def test_a_device_that_answers_has_no_symptoms(gateway):
    assert try_around(gateway, "socket") is None


@pytest.mark.parametrize(
    ("gateway", "asked", "right"), [("tcp", "rtu", "socket"), ("rtu", "socket", "rtu")], indirect=["gateway"]
)
def test_the_other_framing_is_tried(gateway, asked, right):
    seen = try_around(gateway, asked)
    assert seen.works_at == NetworkAddress(*gateway.address, right)


@pytest.mark.parametrize(("gateway", "framing"), [("tcp", "socket"), ("rtu", "rtu")], indirect=["gateway"])
def test_other_units_are_asked(gateway, framing):
    seen = try_around(gateway, framing, unit=3)
    assert (seen.reason, seen.others) == (FailureReason.TIMEOUT, (2, 7))


@pytest.mark.parametrize(("gateway", "framing"), [("tcp", "socket"), ("rtu", "rtu")], indirect=["gateway"])
def test_a_device_that_refuses_needs_no_search(gateway, framing):
    seen = try_around(gateway, framing, unit=7)
    assert (seen.reason, seen.others, seen.works_at) == (FailureReason.ILLEGAL_ADDRESS, (), None)


@pytest.mark.parametrize("gateway", ["rtu"], indirect=True)
def test_answers_that_nobody_asked_for_show_another_program(gateway):
    gateway.faults.next(Fault(FaultKind.WRONG_UNIT))
    seen = try_around(gateway, "rtu")
    assert seen.intruders
    assert 2 not in seen.intruders


def test_a_gateway_that_reaches_nobody_is_known(house):
    with Gateway(Bus({99: house.meter()}, TcpFraming(), reports_silence=True)) as gateway:
        seen = try_around(gateway, "socket")
    assert (seen.is_gateways, seen.others) == (True, ())


def test_a_web_server_is_no_gateway():
    """It answers in a language of its own, and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        address = NetworkAddress(*server.getsockname(), "socket")
        seen = examine(at(address), 2, BLOCK, connect, timeout_s=0.1, try_s=TRY_S)
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert (seen.reason, seen.works_at, seen.others) == (FailureReason.GARBLED, None, ())


@dataclass
class Port:
    """A serial port with one device, which speaks at one speed and parity only."""

    right: SerialAddress
    tried: list[SerialAddress] = field(default_factory=list)

    def connect(self, settings: BusSettings) -> "PortTransport":
        self.tried.append(settings.address)
        return PortTransport(settings.address == self.right)


@dataclass
class PortTransport:
    is_right: bool
    is_connected: bool = True

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        if not self.is_right:
            raise ReadError(FailureReason.TIMEOUT, "no answer")
        return BlockRead(block, (0,) * block.count, 0.0)

    def late_units(self) -> frozenset[int]:
        return frozenset()

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize(
    "right", [("/dev/ttyUSB0", 9600, "E"), ("/dev/ttyUSB0", 19200, "N"), ("/dev/ttyUSB0", 115200, "N")]
)
def test_at_a_serial_port_other_speeds_and_parities_are_tried(right):
    port = Port(SerialAddress(*right))
    seen = examine(
        at(SerialAddress("/dev/ttyUSB0")), 2, BLOCK, port.connect, timeout_s=1, rest=lambda _: None
    )
    assert seen.works_at == port.right
    assert len(port.tried) == len(set(port.tried)), "none of them twice"
