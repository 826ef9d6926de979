"""What can go wrong on a bus, by name, and the plan of when it does."""

import math
import struct
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from poller.profile import Point, Table
from simulator.weather import Draw
from simulator.wire import Framing, Request, exception_pdu


class FaultKind(StrEnum):
    """One way in which a request goes wrong."""

    LATE = "late"
    """The true answer comes `delay_s` later."""
    SILENT = "silent"
    """No answer."""
    TRUNCATED = "truncated"
    """Half of the answer's bytes, then nothing."""
    SHORT = "short"
    """A well-formed answer with fewer registers than were asked for."""
    WRONG_UNIT = "wrong_unit"
    """A well-formed answer of another unit, with other words."""
    WRONG_TRANSACTION = "wrong_transaction"
    """An answer to another request, with other words. RTU has no transactions: there nothing is wrong."""
    EXCEPTION = "exception"
    """The exception `code`."""
    GARBLED = "garbled"
    """Damaged bytes: a wrong checksum; in Modbus TCP, which has none, a function that nobody asked for."""
    CLOSED = "closed"
    """The connection is closed instead of an answer."""
    TINY = "tiny"
    """Registers that hold the float 3.67e-27."""
    NAN = "nan"
    """Registers that hold 'not a number'."""
    HUGE = "huge"
    """Registers that hold the float 1e30."""
    ZERO = "zero"
    """Registers that hold 0."""
    FULL_SCALE = "full_scale"
    """Registers with all bits one."""
    SHIFTED = "shifted"
    """The words of the addresses one further."""


GARBAGE_KINDS = frozenset(
    {
        FaultKind.TINY,
        FaultKind.NAN,
        FaultKind.HUGE,
        FaultKind.ZERO,
        FaultKind.FULL_SCALE,
        FaultKind.SHIFTED,
    }
)
"""What replaces words in a well-formed answer. It spares coils and discrete inputs, whose bits nobody could doubt."""

_GARBAGE = {FaultKind.TINY: 3.67e-27, FaultKind.NAN: math.nan, FaultKind.HUGE: 1e30, FaultKind.ZERO: 0.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        field: Only requests that read this field go wrong, and garbage hits it
            alone; `None` for any request and the whole block.
    """

    kind: FaultKind
    delay_s: float = 0.0
    code: int = 4
    field: str | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """A fault for the next `left` requests of a unit; `None` is for ever, or for any unit."""

    fault: Fault
    unit: int | None
    left: int | None


class FaultPlan:
    """Which of the coming requests go wrong. Any thread may call it."""

    def __init__(self, draw: Draw) -> None:
        self._lock = threading.Lock()
        self._draw = draw
        self._orders: list[_Order] = []
        self._chances: list[tuple[Fault, int | None, float]] = []

    def next(self, fault: Fault, *, unit: int | None = None, times: int | None = 1) -> None:
        """The next `times` requests of this unit go wrong; orders are served one after the other."""
        with self._lock:
            self._orders.append(_Order(fault, unit, times))

    def at_random(self, fault: Fault, probability: float, *, unit: int | None = None) -> None:
        """From now on each request of this unit goes wrong with this probability."""
        with self._lock:
            self._chances.append((fault, unit, probability))

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        with self._lock:
            self._orders.clear()
            self._chances.clear()

    def take(self, unit: int, fields: Collection[str]) -> Fault | None:
        """The fault of this request, which reads these fields."""
        with self._lock:
            for place, order in enumerate(self._orders):
                if order.unit in {None, unit} and _concerns(order.fault, fields):
                    if order.left is None:
                        return order.fault
                    self._orders[place : place + 1] = (
                        [replace(order, left=order.left - 1)] if order.left > 1 else []
                    )
                    return order.fault
            for fault, only, probability in self._chances:
                if only in {None, unit} and _concerns(fault, fields) and self._draw() < probability:
                    return fault
            return None


def _concerns(fault: Fault, fields: Collection[str]) -> bool:
    return fault.field is None or fault.field in fields


def damaged_words(
    fault: Fault,
    words: Sequence[int],
    following: int,
    *,
    table: Table,
    address: int,
    points: Sequence[Point],
) -> tuple[int, ...]:
    """The words of a block as a fault leaves them.

    Args:
        fault: Any fault; most leave the words alone.
        words: The true words, from `address` on.
        following: The word after them, which a shifted block brings in.
        table: Where they are from.
        address: The first word's address.
        points: What lies wholly in these words.
    """
    if fault.kind in {FaultKind.WRONG_UNIT, FaultKind.WRONG_TRANSACTION}:
        # Whoever takes this answer for his own shall publish something wrong, and be found out.
        return tuple(1 - bit for bit in words) if table.holds_bits else (*words[1:], following)
    if fault.kind is FaultKind.SHIFTED:
        return (*words[1:], following)
    hit = list(words)
    if fault.kind in GARBAGE_KINDS:
        pattern = _garbage_pair(fault.kind)
        for point in points:
            if fault.field in {None, point.name}:
                start = point.address - address
                hit[start : start + point.registers] = [
                    pattern[place % 2] for place in range(point.registers)
                ]
    return tuple(hit)


def damaged_frame(fault: Fault, request: Request, pdu: bytes, framing: Framing) -> bytes:
    """The bytes of an answer as a fault leaves them."""
    match fault.kind:
        case FaultKind.EXCEPTION:
            pdu = exception_pdu(request.function, fault.code)
        case FaultKind.SHORT:
            kept = pdu[2 : 2 + (len(pdu) - 2) // 4 * 2]
            pdu = bytes([pdu[0], len(kept)]) + kept
        case FaultKind.WRONG_UNIT:
            request = replace(request, unit=request.unit % 247 + 1)
        case FaultKind.WRONG_TRANSACTION:
            request = replace(request, transaction=(request.transaction + 1) % 0x10000)
    frame = bytearray(framing.frame(request, pdu))
    match fault.kind:
        case FaultKind.CLOSED:
            frame.clear()
        case FaultKind.TRUNCATED:
            del frame[len(frame) // 2 :]
        case FaultKind.GARBLED:
            # Without a checksum nobody could see a damaged value, so there the function is hit.
            frame[-3 if framing.has_checksum else 7] ^= 0x55
    return bytes(frame)


def _garbage_pair(kind: FaultKind) -> tuple[int, int]:
    if kind is FaultKind.FULL_SCALE:
        return 0xFFFF, 0xFFFF
    high, low = struct.unpack(">HH", struct.pack(">f", _GARBAGE[kind]))
    return high, low
