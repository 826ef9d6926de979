"""What goes over a bus and comes back: blocks of registers, answers, failures, polls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from poller.points import Point, Table


@dataclass(frozen=True, slots=True)
class RegisterBlock:
    """A run of addresses of one table that one request reads, and the points in it.

    It may be longer than its points need; a point's place in the answer
    follows from its own address. It is read in every so many polls (`every`).
    """

    table: Table
    address: int
    count: int
    points: tuple[Point, ...]
    every: int = 1

    @property
    def answer_bytes(self) -> int:
        """How many bytes of data the whole answer carries: two a register, or one for eight bits.

        >>> RegisterBlock(Table.DISCRETE, 1, 13, ()).answer_bytes
        2
        """
        return (self.count + 7) // 8 if self.table.holds_bits else 2 * self.count

    @property
    def request(self) -> tuple[Table, int, int]:
        """What goes over the bus: blocks that are equal in this have the same answer."""
        return self.table, self.address, self.count

    def __str__(self) -> str:
        return f"{self.table} {self.address}+{self.count}"


class FailureReason(StrEnum):
    """Why a block was not read. None of these ever becomes a value.

    `SHORT` is a whole answer of the device, but of another length; `GARBLED` is
    no whole answer of this bus's framing; `ILLEGAL_ADDRESS` is the exception
    that says so, `EXCEPTION` any other one. `DISCONNECTED`: the connection was
    lost after the request was sent; `UNREACHABLE`: there was none to send it on.
    """

    TIMEOUT = "timeout"
    SHORT = "short"
    WRONG_UNIT = "wrong_unit"
    GARBLED = "garbled"
    ILLEGAL_ADDRESS = "illegal_address"
    EXCEPTION = "exception"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"

    @property
    def shows_life(self) -> bool:
        """Whether the device itself has answered, though not what was asked for."""
        return self in {FailureReason.SHORT, FailureReason.ILLEGAL_ADDRESS, FailureReason.EXCEPTION}


@dataclass(frozen=True, slots=True)
class BlockRead:
    """The whole answer to one request.

    Attributes:
        words: One number per address: 0..65535 for registers, 0 or 1 for bits.
        read_at: When the answer was complete, seconds of the monotonic clock.
    """

    block: RegisterBlock
    words: tuple[int, ...]
    read_at: float


@dataclass(frozen=True, slots=True)
class BlockFailure:
    """A request that brought no answer to be used."""

    block: RegisterBlock
    reason: FailureReason
    detail: str
    at: float


BlockOutcome = BlockRead | BlockFailure


@dataclass(frozen=True, slots=True)
class Poll:
    """All that one poll of a device brought.

    Attributes:
        due: When the timetable wanted it, seconds of the monotonic clock.
        ended: When its last request was over.
        outcomes: One per block, the last one where a block was tried again.
        identity: The device's texts (`serial_number`), when they were read in this poll.
    """

    due: float
    ended: float
    outcomes: tuple[BlockOutcome, ...]
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[BlockRead, ...]:
        """The blocks that were answered."""
        return tuple(one for one in self.outcomes if isinstance(one, BlockRead))
