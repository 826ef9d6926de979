"""`python -m bridge --config FILE`: the bridge alone."""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from bridge.config import read_config
from bridge.errors import BridgeError
from bridge.run import Bridge
from readings.errors import ReadingsError
from readings.service_manager import ALIVE, READY, STOPPING, ServiceManager


def main() -> int:
    """Run until SIGTERM or Ctrl-C.

    Returns:
        The exit code: 2 for a configuration that is wrong, 1 when it cannot run.
    """
    parser = argparse.ArgumentParser(prog="python -m bridge", description="MQTT to Prometheus.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    manager = ServiceManager(os.environ)
    try:
        bridge = Bridge(
            read_config(options.config, os.environ),
            on_failure=stop.set,
            on_alive=lambda: manager.tell(ALIVE),
        )
    except ReadingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        bridge.start()
    except BridgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    manager.tell(READY)
    stop.wait()
    manager.tell(STOPPING)
    bridge.stop()
    return 1 if bridge.has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
