"""Where a bus is, and what is said when there is no way to it."""

import errno

import pytest

from poller.address import EXPECTED, NetworkAddress, SerialAddress, parse_address
from poller.advice import explain_no_connection
from poller.errors import AddressError

GATEWAY = NetworkAddress("192.168.2.10", 8899, "socket")
PORT = SerialAddress("/dev/ttyUSB0")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://192.168.2.10:8899", GATEWAY),
        ("rtu+tcp://gateway.local:4196", NetworkAddress("gateway.local", 4196, "rtu")),
        ("tcp://meter", NetworkAddress("meter", 502, "socket")),
        ("tcp://[fd00::7]:502/", NetworkAddress("fd00::7", 502, "socket")),
        ("serial:///dev/ttyUSB0", PORT),
        ("serial:///dev/ttyUSB0?baud=9600&parity=N", PORT),
        ("serial:///dev/serial/by-id/usb-FTDI_FT232R-if00-port0?parity=e", SerialAddress("/dev/serial/by-id/usb-FTDI_FT232R-if00-port0", 9600, "E")),
        ("serial:///dev/ttyAMA0?stop=2&baud=19200", SerialAddress("/dev/ttyAMA0", 19200, "N", 2)),
    ],
)  # fmt: skip
def test_an_address_is_read_and_written(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dev/ttyUSB0", EXPECTED),
        ("serial://ttyUSB0", EXPECTED),
        ("serial:/dev/ttyUSB0", EXPECTED),
        ("tcp://gateway:99999", EXPECTED),
        ("tcp://gateway:0", EXPECTED),
        ("tcp://gateway?unit=2", EXPECTED),
        ("tcp://me@gateway", EXPECTED),
        ("http://gateway", EXPECTED),
        ("", EXPECTED),
        ("serial:///dev/ttyUSB0?bauds=9600", "expected baud, parity and stop behind '?', got 'bauds'"),
        ("serial:///dev/ttyUSB0?baud=fast", "expected a baud rate such as 9600, got 'fast'"),
        ("serial:///dev/ttyUSB0?baud=", "expected a baud rate such as 9600, got ''"),
        ("serial:///dev/ttyUSB0?parity=even", "expected parity N (none), E (even) or O (odd), got 'EVEN'"),
        ("serial:///dev/ttyUSB0?stop=1.5", "expected 1 or 2 stop bits, got '1.5'"),
    ],
)
def test_what_is_no_address_is_one_line(text, says):
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value).startswith(says)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        (GATEWAY, ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "nothing listens there"),
        (GATEWAY, OSError(errno.EHOSTUNREACH, "no route"), "nobody has this address"),
        (GATEWAY, OSError(errno.ENETUNREACH, "no network"), "there is no way to this address"),
        (GATEWAY, TimeoutError("timed out"), "no answer: is the address right"),
        (GATEWAY, OSError("Name or service not known"), "Name or service not known: is the name right?"),
        (GATEWAY, OSError(errno.EMFILE, "too many files"), "[Errno 24] too many files"),
        (PORT, OSError(errno.ENOENT, "no such file"), "there is no such port: is the adapter plugged in?"),
        (PORT, PermissionError(errno.EACCES, "denied"), "no permission: `sudo usermod -aG dialout $USER`"),
        (PORT, BlockingIOError(errno.EAGAIN, "locked"), "another program has it: stop that first; `fuser -v /dev/ttyUSB0`"),
        (PORT, OSError(errno.EBUSY, "busy"), "another program has it"),
        (PORT, OSError(errno.EIO, "input/output error"), "the adapter does not work"),
        (PORT, OSError("cannot be set to 9600 baud"), "cannot be set to 9600 baud"),
    ],
)  # fmt: skip
def test_without_a_connection_one_line_says_what_to_try(address, error, says):
    assert explain_no_connection(address, error).startswith(says)
