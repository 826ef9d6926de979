"""`python -m bench.send FOLDER URL SAMPLES`: the bridge's sending half empties a store that lies on disk."""

import random
import sys
import threading
import time
from pathlib import Path

from bench.drained import Stopwatch
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.run import wall_ms
from bridge.sender import Sender
from readings.health import BRIDGE_HEALTH, Tally


class _Counting(Tally):
    """Says when as many samples as expected are with the receiver."""

    def __init__(self, samples: int) -> None:
        super().__init__(BRIDGE_HEALTH)
        self._left = float(samples)
        self.is_done = threading.Event()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        super().count(name, by, **labels)
        if name == "bridge_samples_sent_total":
            self._left -= by
            if self._left <= 0:
                self.is_done.set()


def main() -> None:
    """Send until the store is empty."""
    database = Database(Path(sys.argv[1]) / "store.sqlite")
    tally = _Counting(int(sys.argv[3]))
    sender = Sender(
        Outbox(database, boot="bench"),
        Connection(ReceiverSettings(sys.argv[2]), time.time),
        labels={},
        tally=tally,
        wall_ms=wall_ms,
        monotonic=time.monotonic,
        jitter=random.random,
    )
    watch = Stopwatch()
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    tally.is_done.wait()
    watch.print()
    sender.stop()
    thread.join()
    database.close()


if __name__ == "__main__":
    main()
