"""`heating run`: poller and bridge in one process."""

import argparse
import os
import signal
import threading

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from heating.commands import Commands, add_config
from poller.config import read_config as read_poller_config
from poller.run import Poller


def add(commands: Commands) -> None:
    """What `heating run` takes."""
    run = commands.add_parser("run", help="poller and bridge in one process, against your devices and broker")
    add_config(run)
    run.set_defaults(do=_run)


def _run(options: argparse.Namespace) -> int:
    """Poller and bridge, until somebody ends them."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    poller = Poller(read_poller_config(options.config, os.environ))
    bridge = Bridge(read_bridge_config(options.config, os.environ), on_failure=stop.set)
    # The poller first: a heat pump may be waiting to be asked.
    poller.start()
    try:
        bridge.start()
        stop.wait()
        bridge.stop()
    finally:
        poller.stop()
    return 1 if bridge.has_failed else 0
