"""The clocks of this machine: wall, monotonic, and what the kernel says of them."""

import ctypes
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from poller.walltime import ClockReading

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than `struct timex` has anywhere; all zero it asks and changes nothing."""


def _find_adjtimex() -> Callable[[object], int] | None:
    try:
        found = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    return found


class MachineClock:
    """The real clocks; tests pass a fake with the same two members.

    Attributes:
        boot: Names this boot. Where the machine cannot tell, every start counts as a boot of its own.
    """

    def __init__(self) -> None:
        self._adjtimex = _find_adjtimex()
        self.boot = _read_boot_id()

    def read(self) -> ClockReading:
        """Both clocks now."""
        return ClockReading(
            wall_ms=time.time_ns() // 1_000_000,
            monotonic=time.monotonic(),
            synchronised=self._is_synchronised(),
        )

    def _is_synchronised(self) -> bool:
        """Whether the kernel's clock follows a time source; False where it cannot be asked."""
        if self._adjtimex is None:
            return False
        answer = self._adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
        return 0 <= answer < _TIME_ERROR


def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return uuid.uuid4().hex
