"""What goes over a bus and comes back: blocks of registers, answers, failures, polls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from poller.profile import Point, Table


@dataclass(frozen=True, slots=True)
class RegisterBlock:
    """A run of addresses of one table that one request reads, and the points in it."""

    table: Table
    address: int
    count: int
    points: tuple[Point, ...]

    def __str__(self) -> str:
        return f"{self.table} {self.address}+{self.count}"


class FailureReason(StrEnum):
    """Why a block was not read. None of these ever becomes a value."""

    TIMEOUT = "timeout"
    SHORT = "short"
    WRONG_UNIT = "wrong_unit"
    GARBLED = "garbled"
    ILLEGAL_ADDRESS = "illegal_address"
    EXCEPTION = "exception"
    DISCONNECTED = "disconnected"


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
