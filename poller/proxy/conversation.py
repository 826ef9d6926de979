"""One client of the proxy: what it has asked, what it is owed, and when it is given up.

One request of a client is under way at a time; what it sends ahead waits,
and is bounded. The time is an argument, in seconds of the monotonic clock.
"""

from poller.proxy.frames import MAX_FRAME_BYTES, Query, frame_answer, take_query
from poller.proxy.rules import Address

MAX_AHEAD_BYTES = 4 * MAX_FRAME_BYTES
"""So much of what a client sends ahead is taken in."""

SLOW_S = 5.0
"""In this time a request that has begun must be whole, and an answer taken."""

IDLE_S = 300.0
"""A client that asks nothing for so long may come again."""


class Conversation:
    """What goes back and forth on one connection.

    Attributes:
        source: Who it is.
        ticket: The request that is under way, or None.
        outbox: Bytes of an answer that the client has not taken yet.
        heard_at: When it last said something.
    """

    def __init__(self, source: Address, now: float) -> None:
        self.source = source
        self.ticket: int | None = None
        self.outbox = bytearray()
        self.heard_at = now
        self._inbox = bytearray()
        self._query: Query | None = None
        self._answered_at = now

    @property
    def room(self) -> int:
        """How many more bytes may be taken in now."""
        return MAX_AHEAD_BYTES - len(self._inbox)

    def receive(self, data: bytes, now: float) -> None:
        """Take in what came."""
        if not self._inbox or self._query is not None or self.outbox:
            # The time for the rest of a request does not run while the one before is under way.
            self.heard_at = now
        self._inbox += data

    def take_query(self) -> Query | None:
        """The next request, once the one before is answered and its answer taken.

        Raises:
            FramingError: The client does not speak Modbus TCP.
        """
        if self._query is None and not self.outbox:
            self._query = take_query(self._inbox)
            return self._query
        return None

    def answer(self, pdu: bytes, now: float) -> None:
        """Owe the client the answer to its request."""
        if self._query is None:
            raise RuntimeError("nothing was asked")
        self.outbox += frame_answer(self._query, pdu)
        self._query = self.ticket = None
        self._answered_at = self.heard_at = now

    def is_idle(self, now: float, for_s: float) -> bool:
        """Whether for so long nothing was asked or is owed."""
        return self._query is None and not self.outbox and now - self.heard_at >= for_s

    def find_fault(self, now: float) -> str | None:
        """Why the client is to be given up: "slow" or "idle"."""
        if self.outbox:
            return "slow" if now - self._answered_at >= SLOW_S else None
        if self._query is None and self._inbox:
            return "slow" if now - self.heard_at >= SLOW_S else None
        return "idle" if self.is_idle(now, IDLE_S) else None
