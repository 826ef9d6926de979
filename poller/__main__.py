"""`python -m poller --config FILE`: the poller alone, until SIGTERM or Ctrl-C."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from poller.config import read_config
from poller.errors import PollerError
from poller.run import Poller
from readings.errors import ReadingsError
from readings.service_manager import ALIVE, READY, STOPPING, ServiceManager

CONFIG_MISTAKE = 2
"""The exit code when the configuration is wrong; starting again would not help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the poller; give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m poller", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    manager = ServiceManager(os.environ)
    try:
        poller = Poller(read_config(options.config, os.environ), on_alive=lambda: manager.tell(ALIVE))
    except (ReadingsError, PollerError) as error:
        sys.stderr.write(f"{error}\n")
        return CONFIG_MISTAKE
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    poller.start()
    manager.tell(READY)
    stop.wait()
    manager.tell(STOPPING)
    poller.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
