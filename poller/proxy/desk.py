"""Where a proxy's thread and its bus's thread meet. Neither waits for the other here."""

import threading
from collections.abc import Callable

from poller.blocks import BlockRead, RegisterBlock
from poller.errands import Errand, Outcome
from poller.proxy.recent import RecentReads


class Desk:
    """Errands go to the bus's thread, outcomes come back, and both know what was read a moment ago.

    Args:
        stopping: Set when the poller ends; `wake` afterwards.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._changed = threading.Condition()
        self._incoming: list[Errand] = []
        self._waiting: set[int] = set()
        self._settled: list[tuple[Errand, Outcome]] = []
        self._recent = RecentReads()
        self._on_settled: Callable[[], None] | None = None

    # The proxy's side

    def on_settled(self, call: Callable[[], None]) -> None:
        """Have this called, in the bus's thread, when an outcome waits to be taken."""
        self._on_settled = call

    def hand_in(self, errand: Errand) -> None:
        """Give the bus something to do."""
        with self._changed:
            self._incoming.append(errand)
            self._waiting.add(errand.ticket)
            self._changed.notify()

    def withdraw(self, ticket: int) -> bool:
        """Nobody waits for it any more; False when it has been taken up already."""
        with self._changed:
            is_waiting = ticket in self._waiting
            self._waiting.discard(ticket)
            return is_waiting

    def take_settled(self) -> list[tuple[Errand, Outcome]]:
        """What is done, the oldest first."""
        with self._changed:
            settled, self._settled = self._settled, []
            return settled

    def recall(self, unit: int, block: RegisterBlock, now: float) -> tuple[int, ...] | None:
        """What was read a moment ago."""
        with self._changed:
            return self._recent.find(unit, block, now)

    def wake(self) -> None:
        """End the bus's rest."""
        with self._changed:
            self._changed.notify()

    # The bus's side

    def wait(self, seconds: float) -> bool:
        """Rest for so long, or until something has come; True says stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._incoming or self._stopping.is_set(), seconds)
        return self._stopping.is_set()

    def collect(self) -> list[Errand]:
        """What has come since this was last asked, the oldest first."""
        with self._changed:
            incoming, self._incoming = self._incoming, []
            return incoming

    def claim(self, errand: Errand) -> bool:
        """Take it up, if somebody still waits for it."""
        return self.withdraw(errand.ticket)

    def settle(self, errand: Errand, outcome: Outcome) -> None:
        """Give back what became of it."""
        with self._changed:
            self._waiting.discard(errand.ticket)
            self._settled.append((errand, outcome))
        if self._on_settled is not None:
            self._on_settled()

    def note_read(self, unit: int, read: BlockRead) -> None:
        """A device was read, whoever asked."""
        with self._changed:
            self._recent.keep(unit, read)

    def note_written(self, unit: int) -> None:
        """What was read from this device before is no answer any more."""
        with self._changed:
            self._recent.forget(unit)
