"""`python -m poller` whose clock is vouched for from the start, and may be behind: --behind SECONDS."""

import argparse
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from poller.clock import MachineClock
from poller.config import read_config
from poller.run import Poller
from poller.walltime import ClockReading


class VouchedClock(MachineClock):
    """The machine's clocks; the wall clock is some seconds behind, and nobody doubts it.

    A time before the release is believed only of a clock that is vouched for.
    """

    def __init__(self, behind_s: float) -> None:
        super().__init__()
        self._behind_ms = round(behind_s * 1000)

    def read(self) -> ClockReading:
        reading = super().read()
        return replace(reading, wall_ms=reading.wall_ms - self._behind_ms, synchronised=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--behind", type=float, default=0.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    poller = Poller(read_config(options.config, os.environ), clock=VouchedClock(options.behind))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    poller.start()
    stop.wait()
    poller.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
