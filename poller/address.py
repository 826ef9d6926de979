"""Where a bus is: behind a network address, or at a serial port of this machine."""

import re
from dataclasses import dataclass
from typing import Literal

from poller.errors import AddressError

Framing = Literal["socket", "rtu"]
"""How requests travel: with Modbus TCP's header, or as the frames of the serial line."""

Parity = Literal["N", "E", "O"]

EXPECTED = "expected tcp://HOST:PORT, rtu+tcp://HOST:PORT or serial:///dev/NAME?baud=9600&parity=N&stop=1"

MODBUS_PORT = 502

_NETWORK = re.compile(r"(tcp|rtu\+tcp)://(?:\[([^\]/?#@]+)\]|([^\[\]/:?#@]+))(?::(\d{1,5}))?/?", re.ASCII)
_SERIAL = re.compile(r"serial://(/[^?#]+)(?:\?([^#]*))?")


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """A gateway, or a device that is itself on the network."""

    host: str
    port: int
    framing: Framing

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rtu+' if self.framing == 'rtu' else ''}tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A serial port of this machine; a character has 8 bits of data.

    Attributes:
        path: The device file.
        baud: Bits per second.
    """

    path: str
    baud: int = 9600
    parity: Parity = "N"
    stop_bits: Literal[1, 2] = 1

    @property
    def framing(self) -> Framing:
        """On a serial line there is RTU only."""
        return "rtu"

    @property
    def silence_s(self) -> float:
        """The silence that ends a frame: 3.5 characters, and above 19,200 baud what the standard fixes.

        >>> round(SerialAddress("/dev/ttyUSB0", baud=9600).silence_s, 4)
        0.004
        """
        return 0.00175 if self.baud > 19200 else 3.5 * 11 / self.baud

    def __str__(self) -> str:
        stop = f"&stop={self.stop_bits}" if self.stop_bits != 1 else ""
        return f"serial://{self.path}?baud={self.baud}&parity={self.parity}{stop}"


Address = NetworkAddress | SerialAddress


def parse_address(text: str) -> Address:
    """What `connect` in a configuration says, or the URL that a command takes.

    Raises:
        AddressError: It is none; the text says what was expected.

    >>> parse_address("rtu+tcp://gateway.local:4196")
    NetworkAddress(host='gateway.local', port=4196, framing='rtu')
    >>> parse_address("serial:///dev/ttyUSB0?baud=19200&parity=E")
    SerialAddress(path='/dev/ttyUSB0', baud=19200, parity='E', stop_bits=1)
    """
    if found := _NETWORK.fullmatch(text):
        scheme, ipv6, host, digits = found.groups()
        port = int(digits) if digits else MODBUS_PORT
        if 1 <= port <= 65535:
            return NetworkAddress(ipv6 or host, port, "rtu" if scheme == "rtu+tcp" else "socket")
    if found := _SERIAL.fullmatch(text):
        return _parse_serial(found[1], found[2] or "", text)
    raise AddressError(f"{EXPECTED}, got {text!r}")


def _parse_serial(path: str, options: str, text: str) -> SerialAddress:
    given = dict(one.partition("=")[::2] for one in options.split("&") if one)
    baud, parity, stop = given.pop("baud", "9600"), given.pop("parity", "N").upper(), given.pop("stop", "1")
    if given:
        raise AddressError(
            f"expected baud, parity and stop behind '?', got {next(iter(given))!r} in {text!r}"
        )
    if not (baud.isascii() and baud.isdecimal() and 300 <= int(baud) <= 1_000_000):
        raise AddressError(f"expected a baud rate such as 9600, got {baud!r} in {text!r}")
    parities: dict[str, Parity] = {"N": "N", "E": "E", "O": "O"}
    if parity not in parities:
        raise AddressError(f"expected parity N (none), E (even) or O (odd), got {parity!r} in {text!r}")
    if stop not in {"1", "2"}:
        raise AddressError(f"expected 1 or 2 stop bits, got {stop!r} in {text!r}")
    return SerialAddress(path, int(baud), parities[parity], 1 if stop == "1" else 2)
