"""What has come and is not yet worked on: bounded, so that a slow disk costs readings, not memory."""

import logging
import queue
import threading

from poller.device import Device
from poller.listening import Incoming
from poller.trackers import Brought
from readings.health import Tally

_log = logging.getLogger(__name__)

QUEUE_SIZE = 2000
"""What may wait for a slow disk: an hour or two of a house, some megabytes."""

Item = tuple[Device, Brought] | Incoming


class Intake:
    """A queue from the threads that bring something to the journal's.

    When too much of what devices bring waits, more of it is dropped and counted: their threads must not
    wait. Messages of others take no room of theirs; how many wait, their session decides.
    """

    def __init__(self, tally: Tally, size: int = QUEUE_SIZE) -> None:
        self._tally = tally
        self._size = size
        self._queue: queue.Queue[Item] = queue.Queue()
        self._brought = 0
        self._lock = threading.Lock()
        self._is_dropping = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._queue.empty()

    def offer(self, device: Device, brought: Brought) -> bool:
        """Take what a device brought; False when it had to be dropped. Never waits."""
        with self._lock:
            is_full = self._brought >= self._size
            if not is_full:
                self._brought += 1
                self._queue.put((device, brought))
            was_dropping = self._is_dropping
            # Not at the first free place: around full it would be said with every poll.
            self._is_dropping = is_full or (was_dropping and self._brought > self._size // 2)
            is_dropping = self._is_dropping
        if is_full:
            self._tally.count("poller_states_dropped_total", device=device.key.name)
        if is_dropping and not was_dropping:
            _log.error("journal: the disk is too slow, readings are dropped")
        elif was_dropping and not is_dropping:
            _log.warning("journal: readings are taken again")
        return not is_full

    def hear(self, incoming: Incoming) -> None:
        """Take a message of others."""
        self._queue.put(incoming)

    def take(self, within_s: float) -> Item | None:
        """The oldest; `None` when none came within that time."""
        try:
            item = self._queue.get(timeout=within_s) if within_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None
        if not isinstance(item, Incoming):
            with self._lock:
                self._brought -= 1
        return item
