"""What other programs want of a bus, and what becomes of it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from poller.blocks import BlockRead, FailureReason
from poller.request import BUSY, NO_ANSWER, NO_PATH, Request, refusal

PATIENCE_S = 4.5
"""Whoever asked has given up after this time; most programs wait 5 s."""


class Result(StrEnum):
    """What became of a request of another program.

    `RECENT`: answered from what was read a moment ago. `EXCEPTION`: the device
    or its gateway refused. `FORBIDDEN` and `ILLEGAL` never reached the bus.
    `NO_ANSWER`: nothing that could be passed on; a write may have been done all the same.
    """

    ANSWERED = "answered"
    RECENT = "recent"
    EXCEPTION = "exception"
    FORBIDDEN = "forbidden"
    ILLEGAL = "illegal"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    NO_CONNECTION = "no_connection"


@dataclass(frozen=True, slots=True)
class Errand:
    """A request that somebody waits for.

    Attributes:
        ticket: Says whose it is.
        asked_at: When it came, seconds of the monotonic clock.
    """

    ticket: int
    request: Request
    asked_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes back to whoever asked: the PDU of an answer, be it a refusal."""

    pdu: bytes
    result: Result


class ErrandDesk(Protocol):
    """Where errands come from and go back to; the bus's thread never waits here."""

    def collect(self) -> Collection[Errand]:
        """What has come since this was last asked, the oldest first."""

    def claim(self, errand: Errand) -> bool:
        """Take it up, if somebody still waits for it; from now on its outcome is waited for."""

    def settle(self, errand: Errand, outcome: Outcome) -> None:
        """Give back what became of it."""

    def note_read(self, unit: int, read: BlockRead) -> None:
        """A device was read, whoever asked: that answers whoever asks for the same at once."""

    def note_written(self, unit: int) -> None:
        """A device was, or may have been, written: what was read before is no answer any more."""


def failed(request: Request, reason: FailureReason) -> Outcome:
    """What to say of a request that brought nothing to be passed on.

    >>> from poller.request import parse_request
    >>> ask = parse_request(7, bytes.fromhex("06 0002 015e"))
    >>> failed(ask, FailureReason.TIMEOUT).pdu.hex(), failed(ask, FailureReason.UNREACHABLE).pdu.hex()
    ('860b', '860a')
    """
    if reason is FailureReason.UNREACHABLE:
        return Outcome(refusal(request.function, NO_PATH), Result.NO_CONNECTION)
    return Outcome(refusal(request.function, NO_ANSWER), Result.NO_ANSWER)


def too_late(request: Request) -> Outcome:
    """What to say of a request that could not be sent while somebody waits for its answer."""
    return Outcome(refusal(request.function, BUSY), Result.BUSY)
