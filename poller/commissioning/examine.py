"""Asking around when a device does not answer: in another framing, at other speeds, as other units."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from poller.address import Address, NetworkAddress, SerialAddress
from poller.blocks import FailureReason, RegisterBlock
from poller.commissioning.diagnosis import Symptoms
from poller.config import BusSettings
from poller.points import Table
from poller.transport import ReadError, Transport

OTHER_LINES = (
    (9600, "N"), (9600, "E"), (19200, "N"), (19200, "E"), (9600, "O"), (2400, "E"), (2400, "N"),
    (4800, "N"), (4800, "E"), (38400, "N"), (38400, "E"), (115200, "N"), (57600, "N"),
)  # fmt: skip
"""What devices leave their factories with, the most frequent first."""

OTHER_UNITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 33)

ANY_REGISTER = RegisterBlock(Table.HOLDING, 0, 1, ())
"""What every device answers, if only with a refusal."""

TRY_S = 0.3
"""How long each answer may take here."""


def examine(
    settings: BusSettings,
    unit: int,
    block: RegisterBlock,
    connect: Callable[[BusSettings], Transport],
    *,
    timeout_s: float,
    try_s: float = TRY_S,
    on_search: Callable[[], None] = lambda: None,
    rest: Callable[[float], object] = time.sleep,
) -> Symptoms | None:
    """Ask once more and look how it fails; then look what would not.

    Args:
        settings: Where it did not answer.
        unit: As what.
        block: What it was asked for.
        connect: Opens a bus; what it gives is closed again.
        timeout_s: How long an answer may take.
        try_s: How long it may take where that is only tried.
        on_search: Called when it is going to take some seconds.
        rest: Waits for so many seconds: a gateway that serves one program needs a moment between two.

    Returns:
        What was seen; `None` when it answers now.
    """
    transport = connect(settings)
    failure, intruders = _ask(transport, block, unit, timeout_s)
    transport.close()
    if failure is None:
        return None
    seen = Symptoms(
        settings.address,
        unit,
        failure.reason,
        str(failure),
        is_gateways=failure.is_gateways,
        intruders=intruders,
    )
    if failure.reason is FailureReason.UNREACHABLE or failure.reason.shows_life or intruders:
        return seen
    on_search()
    rest(try_s)
    if not failure.is_gateways and (other := _find_other(settings, block, unit, connect, try_s)) is not None:
        return replace(seen, works_at=other)
    return replace(seen, others=_find_units(settings, block, unit, connect, try_s))


def find_other_line(
    settings: BusSettings,
    units: Iterable[int],
    connect: Callable[[BusSettings], Transport],
    *,
    try_s: float = TRY_S,
) -> tuple[Address, int] | None:
    """The same line spoken to in another way, where one of these units answers there."""
    units = tuple(units)
    for address in _others(settings.address):
        transport = connect(replace(settings, address=address))
        for unit in units:
            failure, _ = _ask(transport, ANY_REGISTER, unit, try_s)
            if failure is None or failure.reason.shows_life:
                transport.close()
                return address, unit
            if failure.reason is FailureReason.UNREACHABLE:
                break
        transport.close()
    return None


def _ask(
    transport: Transport, block: RegisterBlock, unit: int, timeout_s: float
) -> tuple[ReadError | None, tuple[int, ...]]:
    """How it fails, if it does, and which other units were heard meanwhile."""
    failure = None
    try:
        transport.read(block, unit, timeout_s)
    except ReadError as error:
        failure = error
    return failure, tuple(sorted(transport.late_units() - {unit}))


def _find_other(
    settings: BusSettings,
    block: RegisterBlock,
    unit: int,
    connect: Callable[[BusSettings], Transport],
    try_s: float,
) -> Address | None:
    for address in _others(settings.address):
        transport = connect(replace(settings, address=address))
        failure, _ = _ask(transport, block, unit, try_s)
        transport.close()
        if failure is None or failure.reason.shows_life:
            return address
    return None


def _others(address: Address) -> Iterator[Address]:
    if isinstance(address, NetworkAddress):
        yield replace(address, framing="rtu" if address.framing == "socket" else "socket")
        return
    for baud, parity in OTHER_LINES:
        other = SerialAddress(address.path, baud, "E" if parity == "E" else "O" if parity == "O" else "N")
        if other != address:
            yield other


def _find_units(
    settings: BusSettings,
    block: RegisterBlock,
    unit: int,
    connect: Callable[[BusSettings], Transport],
    try_s: float,
) -> tuple[int, ...]:
    transport = connect(settings)
    found: set[int] = set()
    for other in OTHER_UNITS:
        if other == unit:
            continue
        failure, late = _ask(transport, block, other, try_s)
        found.update(late)
        if failure is None or failure.reason.shows_life:
            found.add(other)
        elif failure.reason is FailureReason.UNREACHABLE:
            break
    transport.close()
    return tuple(sorted(found))
