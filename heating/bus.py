"""What the commands that talk to devices themselves have in common: where the bus is, and what carries a request."""

import argparse
import logging
import time

from poller.address import Address, SerialAddress, parse_address
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.errors import AddressError
from readings.health import POLLER_HEALTH, Tally

ONE_PROGRAM = (
    "Only one program may talk on a bus: stop the poller first, or give the address of its proxy as URL."
)

TYPICAL_BAUD = 9600
"""Behind a gateway the speed is not known; this makes the requests that suit a slow line."""

TURNAROUND_S = 0.03


def add_url(parser: argparse.ArgumentParser) -> None:
    """Where the bus is; the poller's warnings stay away, the command says what is wrong itself."""
    parser.add_argument(
        "url",
        type=_address,
        metavar="URL",
        help="tcp://HOST:PORT, rtu+tcp://HOST:PORT or serial:///dev/NAME?baud=9600&parity=N",
    )
    parser.set_defaults(log_level=logging.ERROR)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The same for scripts."""
    parser.add_argument("--json", action="store_true", help="for programs")


def unit(text: str) -> int:
    """A unit id of Modbus.

    >>> unit("7")
    7
    """
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 247):
        raise argparse.ArgumentTypeError(f"expected a unit id from 1 to 247, got {text!r}")
    return int(text)


def bus_at(address: Address) -> BusSettings:
    """The bus at an address."""
    baud = address.baud if isinstance(address, SerialAddress) else TYPICAL_BAUD
    return BusSettings("rs485", address, baud, TURNAROUND_S)


def connect(settings: BusSettings) -> ModbusTransport:
    """What carries requests there."""
    return ModbusTransport(settings, tally=Tally(POLLER_HEALTH), monotonic=time.monotonic)


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
