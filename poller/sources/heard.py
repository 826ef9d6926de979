"""What a source of messages is given to read."""

from dataclasses import dataclass

LARGEST_BYTES = 256_000
"""A message that is larger is not read: what describes a device has a few hundred."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that somebody published.

    Attributes:
        retained: It lay at the broker; it did not just happen.
        is_live: It came when it was published; neither retained, nor kept while the poller was away.
        at: When it came, seconds of the monotonic clock.
        wall_ms: The same, milliseconds since 1970 UTC; `None` while the clock is not trusted.
    """

    topic: str
    payload: bytes
    retained: bool
    is_live: bool
    at: float
    wall_ms: int | None
