"""How far back the receiver takes samples, as far as it says."""

import logging
from collections.abc import Callable

from bridge.batch import Batch, Piece, leave_out
from bridge.receiver import Describes
from bridge.remote_write.window import HOUR_MS, duration_ms, oldest_taken_ms

_log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 2.0
BELIEVED_S = 5.0
"""How long the time of the receiver's newest sample is good for."""

WINDOW_BELIEVED_S = 300.0
"""How long its configuration is; that it cannot be asked may be over soon."""


class Horizon:
    """Before which time the receiver takes nothing.

    Args:
        receiver: Who is asked, and only when it matters.
        wall_ms: The wall clock.
        monotonic: The clock that counts from the boot, in seconds.
    """

    def __init__(
        self, receiver: Describes, *, wall_ms: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._receiver = receiver
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._window: str | None = None
        self._window_s = float("-inf")
        self._newest_ms: int | None = None
        self._newest_s = float("-inf")
        self._has_said = False

    def before_ms(self, oldest_ms: int) -> int | None:
        """Before this time nothing is taken; None where that is unknown, or no matter for a sample so old."""
        now_ms = self._wall_ms()
        if oldest_ms > now_ms - HOUR_MS:
            return None
        window = self._ask_window()
        if window is None or oldest_ms >= now_ms - max(duration_ms(window), HOUR_MS):
            return None
        newest_ms = self._ask_newest()
        if newest_ms is None:
            # Some other program says so; without a window it may mean anything.
            return oldest_taken_ms(window, now_ms) if window else None
        # What somebody wrote far ahead makes it refuse all others; that does not make them old.
        return oldest_taken_ms(window, min(newest_ms, now_ms))

    def takes_late(self) -> bool:
        """Whether a sample may come after later ones of its series, as far as anybody knows."""
        return self._ask_window() != ""

    def takes_repeats(self) -> bool:
        """Whether it is known that a sample may come twice, so that another value is meant where one may not."""
        return bool(self._ask_window())

    def left_of(self, batch: Batch) -> tuple[Piece, ...]:
        """What of a batch's pieces the receiver may take."""
        # All samples of a state have its time.
        oldest_ms = min((row.samples[0].timestamp_ms for row in batch.rows if row.samples), default=None)
        before_ms = None if oldest_ms is None else self.before_ms(oldest_ms)
        return batch.pieces if before_ms is None else leave_out(batch, before_ms)

    def say(self) -> None:
        """Tell people once whether late samples may come."""
        if self._has_said:
            return
        self._has_said = True
        window = self._ask_window()
        if window is None:
            _log.info("the receiver does not say how late a sample may be; late ones may be refused")
        elif window:
            _log.info("the receiver takes samples that are up to %s late", window)
        else:
            _log.warning(
                "the receiver has no out-of-order window: readings that come late may be refused;"
                " set storage.tsdb.out_of_order_time_window to 14d in prometheus.yml"
            )

    def _ask_window(self) -> str | None:
        now_s = self._monotonic()
        if now_s - self._window_s >= (BELIEVED_S if self._window is None else WINDOW_BELIEVED_S):
            self._window, self._window_s = self._receiver.late_window(ASK_TIMEOUT_S), now_s
        return self._window

    def _ask_newest(self) -> int | None:
        now_s = self._monotonic()
        if now_s - self._newest_s >= BELIEVED_S:
            self._newest_ms, self._newest_s = self._receiver.newest_ms(ASK_TIMEOUT_S), now_s
        return self._newest_ms
