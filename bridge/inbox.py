"""What was received and is not committed yet: bounded, so that a slow disk stops the reading, not the memory."""

import threading
from collections import deque

from readings.broker import Delivery

MOST_MESSAGES = 5000
MOST_BYTES = 8_000_000


class Inbox:
    """Messages from the network's thread to the store's.

    A message needs its room until it is committed, not only until it is taken.
    So whoever collects a group may not wait for a certain number of messages:
    where there is no room for another one, none comes.

    Args:
        messages: How many may be here or on their way into the store.
        size: How many bytes of payload these may have; one message is always let in.
    """

    def __init__(self, messages: int = MOST_MESSAGES, size: int = MOST_BYTES) -> None:
        self._most = messages
        self._most_bytes = size
        self._waiting: deque[Delivery] = deque()
        self._taken = 0
        self._bytes = self._bytes_taken = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, delivery: Delivery) -> None:
        """Add a message; wait while there is no room. After `close` it is not taken any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(delivery))
            if not self._is_closed:
                self._waiting.append(delivery)
                self._bytes += len(delivery.payload)
                self._changed.notify_all()

    def take(self, within_s: float | None) -> Delivery | None:
        """The oldest message; None when none came within that time, or after `close`. `free` its room afterwards."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._waiting, within_s)
            if self._is_closed or not self._waiting:
                return None
            delivery = self._waiting.popleft()
            self._taken += 1
            self._bytes_taken += len(delivery.payload)
            return delivery

    def free(self) -> None:
        """What was taken needs no room any more: it is committed, or was refused."""
        with self._changed:
            self._bytes -= self._bytes_taken
            self._taken = self._bytes_taken = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more; what is not stored is still at the broker."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def _has_room(self, delivery: Delivery) -> bool:
        messages = len(self._waiting) + self._taken
        return not messages or (
            messages < self._most and self._bytes + len(delivery.payload) <= self._most_bytes
        )
