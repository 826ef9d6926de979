"""What a program stands on: a disk, clocks, and that it may die at any of its steps."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from poller.walltime import ClockReading

if TYPE_CHECKING:
    from tests.model.world import World


class Killed(BaseException):
    """SIGKILL, now."""


class BrokenPromiseError(AssertionError):
    """A promise is broken."""


class Fuse:
    """Kills a program after so many of its steps into the world outside."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


@dataclass
class Disk:
    """A file, and what it was after each of its last commits: a power cut takes it back to one of these."""

    path: Path
    is_full: bool = False
    copies: deque[dict[str, bytes]] = field(default_factory=lambda: deque(maxlen=6))

    def note(self) -> None:
        self.copies.append(
            {
                ending: file.read_bytes()
                for ending in ("", "-wal")
                if (file := self.path.with_name(self.path.name + ending)).exists()
            }
        )

    def lose(self, commits: int) -> None:
        """Go back by so many commits, as far as they are not written back for good."""
        kept = list(self.copies)[: max(1, len(self.copies) - commits)]
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        for ending, content in kept[-1].items() if kept else ():
            self.path.with_name(self.path.name + ending).write_bytes(content)
        self.copies = deque(kept, maxlen=self.copies.maxlen)


@dataclass
class Clocks:
    """The clocks of the poller's machine, against the true time."""

    world: "World"
    booted_s: float = 0.0
    error_ms: int = 0
    synchronised: bool = True

    def read(self) -> ClockReading:
        return ClockReading(
            round(self.world.now_ms + self.error_ms), self.world.now_s - self.booted_s, self.synchronised
        )
