"""Who may write what. Whatever no rule allows is refused, so without rules nothing can be written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from poller.points import Table
from poller.request import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, Request

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class WriteRule:
    """What some programs may write on one device.

    Attributes:
        sources: The networks that they ask from.
        coils: Addresses, counted from zero.
        holding: The same of holding registers.
    """

    sources: tuple[Network, ...]
    unit: int
    coils: tuple[range, ...] = ()
    holding: tuple[range, ...] = ()

    def addresses(self, table: Table) -> tuple[range, ...]:
        """The addresses of one table that may be written."""
        return {Table.COIL: self.coils, Table.HOLDING: self.holding}.get(table, ())

    def __str__(self) -> str:
        """As `heating check` shows it.

        >>> str(WriteRule((IPv4Network("192.168.2.20"),), 7, (range(1),), (range(2, 5), range(9, 10))))
        'unit 7 coils 0, holding 2-4, 9 from 192.168.2.20'
        """
        tables = [
            f"{name} {', '.join(str(one.start) if len(one) == 1 else f'{one.start}-{one.stop - 1}' for one in ranges)}"
            for name, ranges in (("coils", self.coils), ("holding", self.holding))
            if ranges
        ]
        sources = ", ".join(
            str(one.network_address if one.num_addresses == 1 else one) for one in self.sources
        )
        return f"unit {self.unit} {', '.join(tables)} from {sources}"


def judge_write(rules: Iterable[WriteRule], source: Address, request: Request) -> int:
    """The exception with which a write is refused; 0 when it is allowed.

    >>> from poller.request import parse_request
    >>> rule = WriteRule((IPv4Network("192.168.2.0/24"),), 7, coils=(range(1),))
    >>> on, silent = (parse_request(7, bytes.fromhex(one)) for one in ("05 0000 ff00", "05 0002 ff00"))
    >>> here, elsewhere = IPv4Address("192.168.2.20"), IPv4Address("10.0.0.1")
    >>> [judge_write([rule], *one) for one in ((here, on), (here, silent), (elsewhere, on))]
    [0, 2, 1]
    """
    block = request.writes
    if block is None:
        return 0
    mine = [rule for rule in rules if any(_is_in(source, network) for network in rule.sources)]
    if not mine:
        return ILLEGAL_FUNCTION
    allowed = [one for rule in mine if rule.unit == request.unit for one in rule.addresses(block.table)]
    wanted = range(block.address, block.address + block.count)
    return 0 if all(_holds(allowed, address) for address in wanted) else ILLEGAL_ADDRESS


def plain_address(address: Address) -> Address:
    """An IPv4 address that came over an IPv6 socket, as the IPv4 address that it is.

    >>> plain_address(IPv6Address("::ffff:192.168.2.20"))
    IPv4Address('192.168.2.20')
    """
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _holds(allowed: Sequence[range], address: int) -> bool:
    return any(address in one for one in allowed)


def _is_in(source: Address, network: Network) -> bool:
    return source.version == network.version and source in network
