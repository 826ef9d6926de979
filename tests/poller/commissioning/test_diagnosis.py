"""What is said when a device cannot be read: one line, that names the next thing to try."""

import pytest

from poller.address import NetworkAddress, SerialAddress
from poller.blocks import FailureReason
from poller.commissioning.diagnosis import Symptoms, diagnose

TCP = NetworkAddress("192.168.2.10", 8899, "socket")
RTU = NetworkAddress("192.168.2.10", 8899, "rtu")
PORT = SerialAddress("/dev/ttyUSB0")

CASES = {
    "no connection": (
        Symptoms(TCP, 2, FailureReason.UNREACHABLE, "tcp://192.168.2.10:8899: nothing listens there"),
        "tcp://192.168.2.10:8899: nothing listens there",
    ),
    "the other framing": (
        Symptoms(TCP, 2, FailureReason.TIMEOUT, works_at=RTU),
        "use rtu+tcp://192.168.2.10:8899",
    ),
    "garbled, and the other framing": (
        Symptoms(RTU, 2, FailureReason.GARBLED, works_at=TCP),
        "use tcp://192.168.2.10:8899",
    ),
    "the other parity": (
        Symptoms(PORT, 2, FailureReason.TIMEOUT, works_at=SerialAddress("/dev/ttyUSB0", 9600, "E")),
        "use serial:///dev/ttyUSB0?baud=9600&parity=E",
    ),
    "another model": (
        Symptoms(TCP, 7, FailureReason.ILLEGAL_ADDRESS, "holding 20488+36: exception 2"),
        "refuses what profile wago-879 asks for (holding 20488+36: exception 2): another model?",
    ),
    "short answers": (Symptoms(TCP, 7, FailureReason.SHORT, "expected 4 bytes"), "another model?"),
    "a busy bus": (
        Symptoms(RTU, 2, FailureReason.TIMEOUT, intruders=(7,)),
        "heard unit 7, which nobody had asked: another program talks on this bus",
    ),
    "a busy bus, garbled": (
        Symptoms(RTU, 2, FailureReason.GARBLED, intruders=(5, 7)),
        "heard units 5 and 7, which nobody had asked",
    ),
    "a foreign answer": (
        Symptoms(TCP, 2, FailureReason.WRONG_UNIT, "unit 2 was asked, got 5"),
        "unit 2 was asked, got 5: another program talks on this bus",
    ),
    "another unit": (
        Symptoms(TCP, 3, FailureReason.TIMEOUT, others=(2, 7)),
        "no answer, but units 2 and 7 answered: is it one of these?",
    ),
    "the gateway reaches nobody": (
        Symptoms(TCP, 3, FailureReason.TIMEOUT, is_gateways=True),
        "the gateway answers, but reaches no such unit",
    ),
    "the gateway hangs up": (
        Symptoms(TCP, 3, FailureReason.DISCONNECTED),
        "it may serve one program at a time",
    ),
    "no Modbus": (Symptoms(TCP, 3, FailureReason.GARBLED, "protocol 5454"), "is no Modbus TCP (protocol 5454)"),
    "noise on the line": (Symptoms(PORT, 3, FailureReason.GARBLED), "speed or parity is not the device's"),
    "silence at a port": (Symptoms(PORT, 3, FailureReason.TIMEOUT), "the port opens, but nothing answers"),
    "silence behind a gateway": (Symptoms(TCP, 3, FailureReason.TIMEOUT), "connected, but nothing answers"),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "says"), CASES.values(), ids=CASES)
def test_one_line_says_what_to_try(seen, says):
    line = diagnose(seen, "wago-879")
    assert says in line
    assert "\n" not in line


@pytest.mark.parametrize("reason", FailureReason)
@pytest.mark.parametrize("address", [TCP, RTU, PORT], ids=str)
def test_every_failure_has_its_line(reason, address):
    assert diagnose(Symptoms(address, 2, reason, "detail"))
