"""The proxy's part of the configuration file: `[bus.proxy]`."""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated

import msgspec

from poller.proxy.rules import Network, WriteRule
from poller.request import ADDRESSES
from readings.errors import SettingsError
from readings.settings import parse_listen


class WritesTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[bus.proxy.writes]]`: who may write what.

    Attributes:
        sources: `from`: the addresses or networks of those who may.
        unit: The device.
        coils: Addresses from zero: numbers, or texts like "2-4".
        holding: The same of holding registers.
    """

    sources: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="from")
    unit: Annotated[int, msgspec.Meta(ge=1, le=247)]
    coils: tuple[int | str, ...] = ()
    holding: tuple[int | str, ...] = ()


class ProxyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[bus.proxy]`: a Modbus TCP port for other programs.

    Attributes:
        listen: Where, as ADDRESS:PORT.
        writes: What may be written, and by whom; nothing unless it says so.
    """

    listen: str
    writes: tuple[WritesTable, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Where a bus's proxy listens and what it lets through."""

    host: str
    port: int
    rules: tuple[WriteRule, ...] = ()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_proxy(table: ProxyTable, place: str) -> ProxySettings:
    """What the table says.

    Raises:
        SettingsError: Names the key and what was expected.
    """
    host, port = parse_listen(table.listen, f"{place}.listen")
    try:
        ip_address(host)
    except ValueError as error:
        raise SettingsError(
            f"{place}.listen: expected an IP address of this machine and a port, got {table.listen!r}"
        ) from error
    rules = tuple(_rule(one, f"{place}.writes[{number}]") for number, one in enumerate(table.writes))
    return ProxySettings(host, port, rules)


def _rule(table: WritesTable, place: str) -> WriteRule:
    if not table.coils and not table.holding:
        raise SettingsError(f"{place}: expected coils or holding, the addresses that may be written")
    return WriteRule(
        sources=tuple(_network(one, f"{place}.from[{number}]") for number, one in enumerate(table.sources)),
        unit=table.unit,
        coils=tuple(_range(one, f"{place}.coils[{number}]") for number, one in enumerate(table.coils)),
        holding=tuple(_range(one, f"{place}.holding[{number}]") for number, one in enumerate(table.holding)),
    )


def _network(text: str, place: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"{place}: expected an IP address or a network like 192.168.2.0/24, got {text!r}"
        ) from error


def _range(said: int | str, place: str) -> range:
    """The addresses that a number or a text names.

    >>> _range(7, "holding[0]"), _range("2-4", "holding[1]")
    (range(7, 8), range(2, 5))
    """
    if match := re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", str(said)):
        found = range(int(match[1]), int(match[2] or match[1]) + 1)
        if found and found.stop <= ADDRESSES:
            return found
    raise SettingsError(
        f'{place}: expected an address from 0 to {ADDRESSES - 1}, or two like "2-4", got {said!r}'
    )
