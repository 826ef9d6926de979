"""The command line: `heating demo`, `heating run`, `heating check`, `heating profiles`, `heating quarantine`."""

import argparse
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bridge.config import read_config as read_bridge_config
from bridge.errors import BridgeError
from bridge.quarantine import open_quarantine, to_json, to_table
from bridge.run import Bridge
from heating.demo import Options, run_demo
from heating.terminal import Terminal
from poller.config import read_config as read_poller_config
from poller.errors import PollerError
from poller.profile import load_profile, profile_names
from poller.run import Poller
from readings.errors import ReadingsError
from readings.release import VERSION

WRONG_CONFIGURATION = 2
"""The exit code for a mistake in the configuration."""

CANNOT_RUN = 1
"""The exit code when an address or a file cannot be had, or a part has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG
        if options.verbose
        else logging.WARNING
        if options.command == "demo"
        else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        return int(options.do(options))
    except (ReadingsError, PollerError) as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIGURATION
    except BridgeError as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN


def _demo(options: argparse.Namespace) -> int:
    return run_demo(
        Options(
            mqtt_port=options.mqtt_port,
            web_port=options.web_port,
            prometheus_port=options.prometheus_port,
            listen=options.listen,
            speed=options.speed,
            seed=options.seed,
            seconds=options.seconds,
        ),
        Terminal(),
    )


def _run(options: argparse.Namespace) -> int:
    """Poller and bridge in one process, until somebody ends it."""
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
    return CANNOT_RUN if bridge.has_failed else 0


def _check(options: argparse.Namespace) -> int:
    """Read the configuration as both programs do, and say what they would do with it."""
    settings = read_poller_config(options.config, os.environ)
    bridge = read_bridge_config(options.config, os.environ)
    print(f"{options.config}: good")
    print(f"  MQTT {settings.mqtt.host}:{settings.mqtt.port}, below {settings.mqtt.root}/")
    for device in settings.devices:
        print(
            f"  {settings.mqtt.root}/{device.key}  {device.title}: {len(device.fields)} fields every "
            f"{device.interval_s:g} s, unit {device.unit} on bus {device.bus}, profile {device.profile.name}"
        )
    print(f"  Page and /metrics on {bridge.listen[0]}:{bridge.listen[1]}")
    return 0


def _profiles(options: argparse.Namespace) -> int:
    """The device models that come with the poller, or the fields of one."""
    if options.name is None:
        for name in profile_names():
            profile = load_profile(name)
            print(f"{name:<16} {profile.kind:<10} {profile.title}")
        return 0
    profile = load_profile(options.name)
    print(f"{profile.title} ({profile.manufacturer} {profile.model})")
    for source in profile.sources:
        print(f"  source: {source}")
    for name, field in profile.fields.items():
        where = f"{field.point.table} {field.point.address}" if field.point else "derived"
        chosen = "" if field.default else "   by choice"
        print(f"  {name:<42} {field.quantity.unit:<6} {where}{chosen}")
    return 0


def _quarantine(options: argparse.Namespace) -> int:
    """Look at what the receiver refused, or change what becomes of it, also while the bridge runs."""
    settings = read_bridge_config(options.config, os.environ)
    with open_quarantine(settings.store) as quarantine:
        if options.action == "list":
            entries = quarantine.entries()
            print(to_json(entries) if options.json else to_table(entries))
            return 0
        chosen = None if options.all else options.ids
        if options.action == "drop":
            print(f"{quarantine.drop(chosen)} dropped")
        else:
            print(f"{quarantine.resend(chosen)} will be sent again by the bridge")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heating", description="Heating data: from Modbus over MQTT into Prometheus."
    )
    parser.add_argument("--version", action="version", version=f"heating {VERSION}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="everything around a simulated heating house, no hardware needed")
    demo.add_argument("--mqtt-port", type=_port, default=1883, metavar="PORT")
    demo.add_argument("--web-port", type=_port, default=9100, metavar="PORT", help="the page and /metrics")
    demo.add_argument("--prometheus-port", type=_port, default=9090, metavar="PORT")
    demo.add_argument(
        "--listen", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 shows the page to your network"
    )
    demo.add_argument(
        "--speed",
        type=_positive,
        default=1.0,
        metavar="FACTOR",
        help="how much faster the house lives; beyond 10 its energy rises faster than the filters believe",
    )
    demo.add_argument("--seed", type=int, default=1, help="another house")
    demo.add_argument("--seconds", type=_positive, default=None, help="end by itself after so long")
    demo.set_defaults(do=_demo)

    run = commands.add_parser("run", help="poller and bridge in one process, against your devices and broker")
    run.set_defaults(do=_run)
    check = commands.add_parser("check", help="read the configuration and say what would happen")
    check.set_defaults(do=_check)
    for command in (run, check):
        command.add_argument("--config", type=Path, default=Path("config.toml"), metavar="FILE")

    quarantine = commands.add_parser("quarantine", help="the samples that the receiver refused")
    actions = quarantine.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show them")
    listing.add_argument("--json", action="store_true", help="for programs")
    for action in (
        listing,
        actions.add_parser("resend", help="send them again"),
        actions.add_parser("drop", help="forget them for ever"),
    ):
        if action is not listing:
            which = action.add_mutually_exclusive_group(required=True)
            which.add_argument(
                "ids", nargs="*", type=int, default=[], metavar="ID", help="as the list shows it"
            )
            which.add_argument("--all", action="store_true", help="all of them")
        action.add_argument("--config", type=Path, default=Path("config.toml"), metavar="FILE")
    quarantine.set_defaults(do=_quarantine)

    profiles = commands.add_parser("profiles", help="the device models that are known")
    profiles.add_argument(
        "name", nargs="?", choices=profile_names(), metavar="NAME", help="show the fields of one"
    )
    profiles.set_defaults(do=_profiles)
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected 1-65535, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())
