"""What the bridge wants of a receiver; `bridge.remote_write.connection` is one."""

from typing import Protocol

from bridge.remote_write.outcome import Outcome


class Posts(Protocol):
    """Takes requests."""

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        """Send one request."""

    def close(self) -> None:
        """End the connection."""


class Describes(Protocol):
    """May say something of itself."""

    def late_window(self, timeout_s: float) -> str | None:
        """How late a sample may be; empty for not at all, None when it cannot be asked."""

    def newest_ms(self, timeout_s: float) -> int | None:
        """The time of its newest sample, None when it cannot be asked."""


class Receiver(Posts, Describes, Protocol):
    """Where the samples go."""
