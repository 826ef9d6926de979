"""What the poller's loop wants of a bus, whatever carries it."""

from typing import Protocol

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.errors import PollerError
from poller.request import Request

CONNECT_TIMEOUT_S = 1.5
"""How long making a connection may take."""


class ReadError(PollerError):
    """A request brought no answer to be used.

    Attributes:
        reason: In what way.
        is_gateways: It is the gateway that says so: it reached nobody.
    """

    def __init__(self, reason: FailureReason, detail: str, *, is_gateways: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.is_gateways = is_gateways


class Transport(Protocol):
    """One bus: one request at a time, from one thread."""

    @property
    def is_connected(self) -> bool:
        """Whether the next request goes out without connecting first, which takes up to `CONNECT_TIMEOUT_S`."""

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        """Ask one device for one block.

        Returns:
            As many words as the block counts, from this unit.

        Raises:
            ReadError: Anything else came, or nothing.
        """

    def forward(self, request: Request, timeout_s: float, send_before: float) -> bytes:
        """Pass on another program's request as it is, unless a connection is had too late for that.

        Returns:
            The PDU of its whole answer, which may be a refusal.

        Raises:
            ReadError: Anything else came, or nothing.
        """

    def clear_at(self, request: Request) -> float:
        """From when on no late answer to an earlier request can be taken for this one's, monotonic seconds."""

    def late_units(self) -> frozenset[int]:
        """The units that have answered too late since this was last asked."""

    def close(self) -> None:
        """Let the connection go; the next read makes a new one."""
