"""Whether the wall clock is to be trusted.

A wrong time in the store does lasting harm, and a small computer without a
battery starts with the time at which it was switched off. A reading taken
meanwhile keeps its monotonic time and gets its wall time once, later.
"""

from dataclasses import dataclass

from readings.release import RELEASED_MS

SETTLE_S = 120.0
"""How long a clock that nobody vouches for must run without a jump."""

JUMP_MS = 60_000
"""A larger step of the wall clock against the monotonic one is a jump."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one instant.

    Attributes:
        wall_ms: Milliseconds since 1970 UTC.
        monotonic: Seconds since some point of this boot.
        synchronised: The kernel says that the wall clock follows a time source.
    """

    wall_ms: int
    monotonic: float
    synchronised: bool

    @property
    def offset_ms(self) -> float:
        """What added to a monotonic time in milliseconds makes the wall time."""
        return self.wall_ms - self.monotonic * 1000


@dataclass(frozen=True, slots=True)
class WallTime:
    """What is thought of the wall clock.

    Attributes:
        offset_ms: Wall time minus monotonic time when it was last read.
        steady_since: Monotonic time of the first reading or of the last jump.
        jumps: How often it has jumped.
    """

    offset_ms: float
    steady_since: float
    is_trusted: bool
    jumps: int = 0

    def at(self, monotonic: float) -> int | None:
        """The wall time of a monotonic time of this boot; `None` while the clock is not trusted.

        >>> WallTime(1_795_406_700_000.0, 0.0, is_trusted=True).at(6.1234)
        1795406706123
        """
        return round(self.offset_ms + monotonic * 1000) if self.is_trusted else None


def judge_clock(
    before: WallTime | None, reading: ClockReading, *, newest_ms: int, settle_s: float = SETTLE_S
) -> WallTime:
    """Judge the clock anew; call it about once a second.

    Args:
        before: The last judgement; `None` at the start.
        reading: Both clocks now.
        newest_ms: The newest time in the journal; 0 when it holds none.
        settle_s: How long a clock that is not synchronised must have run without a jump.
    """
    jumped = before is not None and abs(reading.offset_ms - before.offset_ms) > JUMP_MS
    steady_since = reading.monotonic if before is None or jumped else before.steady_since
    is_settled = reading.monotonic - steady_since >= settle_s
    is_possible = reading.wall_ms >= max(RELEASED_MS, newest_ms)
    return WallTime(
        offset_ms=reading.offset_ms,
        steady_since=steady_since,
        is_trusted=reading.synchronised or (is_settled and is_possible),
        jumps=(before.jumps if before else 0) + jumped,
    )
