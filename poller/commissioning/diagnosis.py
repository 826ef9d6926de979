"""Why a device cannot be read, in one line that says what to try next.

Takes what was found out, on the way and by trying around it, and decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from poller.address import Address, SerialAddress
from poller.blocks import FailureReason


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What was seen when a device was asked.

    Attributes:
        address: Where it was asked.
        unit: As which unit.
        reason: In what way that failed.
        detail: The same in words.
        is_gateways: It was the gateway that said so (exceptions 10 and 11).
        intruders: Units that were heard and that nobody had asked.
        works_at: The same line spoken to in another way, where that brought an answer.
        others: Units that did answer.
    """

    address: Address
    unit: int
    reason: FailureReason
    detail: str = ""
    is_gateways: bool = False
    intruders: tuple[int, ...] = ()
    works_at: Address | None = None
    others: tuple[int, ...] = ()


def diagnose(seen: Symptoms, profile: str | None = None) -> str:
    """One line: what is wrong, as far as can be told, and what to try.

    Args:
        seen: What was seen.
        profile: With which profile's addresses it was asked, where it was one's.

    >>> from poller.address import NetworkAddress
    >>> diagnose(Symptoms(NetworkAddress("gateway", 8899, "socket"), 2, FailureReason.TIMEOUT,
    ...     works_at=NetworkAddress("gateway", 8899, "rtu")))
    'unit 2 answers when it is asked in another way: use rtu+tcp://gateway:8899'
    """
    return next(text for is_so, text in _cases(seen, profile) if is_so)


def _cases(seen: Symptoms, profile: str | None) -> Iterator[tuple[bool, str]]:
    """What it may be, the surest first; the last one is always so."""
    reason = seen.reason
    where = f"{seen.address}, unit {seen.unit}"
    is_serial = isinstance(seen.address, SerialAddress)
    asked = f"what profile {profile} asks for" if profile else "these addresses"
    yield reason is FailureReason.UNREACHABLE, seen.detail
    yield (
        seen.works_at is not None,
        f"unit {seen.unit} answers when it is asked in another way: use {seen.works_at}",
    )
    yield (
        reason.shows_life,
        f"{where}: the device is there, but refuses {asked} ({seen.detail}): another model? "
        "`heating scan` tries every profile",
    )
    yield (
        bool(seen.intruders),
        f"{where}: heard {_units(seen.intruders)}, which nobody had asked: another program talks on this bus. "
        "Stop it, or the poller, whose proxy may be asked instead",
    )
    yield (
        reason is FailureReason.WRONG_UNIT,
        f"{where}: {seen.detail}: another program talks on this bus (stop it, the poller too), or the gateway mixes answers up",
    )
    yield (
        bool(seen.others),
        f"{where}: no answer, but {_units(seen.others)} answered: is it one of these? `heating scan` says what they are",
    )
    yield (
        seen.is_gateways,
        f"{where}: the gateway answers, but reaches no such unit: is the unit id right (`heating scan`), and are speed "
        "and parity in the gateway's settings the device's? Else A and B are swapped, or the device is off",
    )
    yield (
        reason is FailureReason.DISCONNECTED,
        f"{where}: the gateway ends the connection: it may serve one program at a time (stop the poller), "
        "or this port is no Modbus",
    )
    yield (
        reason is FailureReason.GARBLED and seen.address.framing == "socket",
        f"{where}: what comes back is no Modbus TCP ({seen.detail}): is this the gateway's Modbus port?",
    )
    yield (
        reason is FailureReason.GARBLED,
        f"{where}: what comes back is garbled: speed or parity is not the device's, two programs talk at once "
        "(stop the poller), or the line lacks its 120 ohm at the ends",
    )
    yield (
        is_serial,
        f"{where}: the port opens, but nothing answers, at other speeds and parities neither: is the unit id right "
        "(`heating scan`)? Else A and B are swapped, or the device is off",
    )
    yield (
        True,
        f"{where}: connected, but nothing answers: is the unit id right (`heating scan`), and are speed and parity in "
        "the gateway's settings the device's? Else A and B are swapped, the device is off, or another program keeps the bus busy",
    )


def _units(units: tuple[int, ...]) -> str:
    """Units in words.

    >>> _units((7,)), _units((2, 7, 9))
    ('unit 7', 'units 2, 7 and 9')
    """
    if len(units) < 2:
        return f"unit {', '.join(map(str, units))}"
    return f"units {', '.join(map(str, units[:-1]))} and {units[-1]}"
