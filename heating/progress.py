"""A line that shows how far a long command is; only on a terminal, and gone at its end."""

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

WIDTH = 24


def draw(done: int, of: int, what: str, elapsed_s: float) -> str:
    """The line.

    >>> draw(62, 247, "unit 62", 31.0)
    '[######..................] 62 of 247, 1:32 left: unit 62'
    """
    full = WIDTH * done // max(of, 1)
    left = f", {_clock(elapsed_s / done * (of - done))} left" if done >= 3 else ""
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {done} of {of}{left}{': ' if what else ''}{what}"


class Progress:
    """The line on standard error, from `with` to its end."""

    def __init__(self, out: TextIO = sys.stderr, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._monotonic = monotonic
        self._began = monotonic()
        self._place = (0, 1)
        self._is_shown = out.isatty()

    def show(self, done: int, of: int, what: str) -> None:
        """What is done, of how much, and what is going on; where the first is negative that has not changed."""
        self._place = (done, of) if done >= 0 else self._place
        if self._is_shown:
            line = draw(*self._place, what, self._monotonic() - self._began)
            self._write(line[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Take the line away, so that something can be printed; what is shown next begins anew."""
        self._began = self._monotonic()
        if self._is_shown:
            self._write("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.clear()

    def _write(self, line: str) -> None:
        self._out.write(f"\r\x1b[K{line}")
        self._out.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
