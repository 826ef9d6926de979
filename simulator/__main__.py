"""`python -m simulator`: the simulated house behind a Modbus gateway, for any Modbus program to look at."""

import argparse
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from poller.profile import Profile, ProfileError, load_profile
from readings.settings import MqttSettings
from simulator.exporters import HouseExporters, PageServer
from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse, house_bus
from simulator.serial_line import SerialLine
from simulator.shelly_mqtt import ShellyAtBroker


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = _parse(arguments)
    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, speed=options.speed, seed=options.seed)
    try:
        profiles = (
            None
            if options.profile is None
            else {options.unit: load_profile(options.profile, options.profiles)}
        )
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2
    line = _make_line(options, house, profiles)
    with ExitStack() as others:
        try:
            line.start()
            urls = [others.enter_context(one).url for one in _make_pages(options, house)]
        except OSError as error:
            print(f"cannot listen: {error.strerror}", file=sys.stderr)
            return 1
        if options.mqtt is not None:
            host, port = options.mqtt
            broker = MqttSettings(
                host=host, port=port, username=options.user, password_file=options.password_file
            )
            shelly = others.enter_context(ShellyAtBroker(house, broker))
            urls.append(f"{shelly.prefix} at the broker {host}:{port}")
        _serve(options, line, profiles, urls)
    line.stop()
    return 0


def _serve(
    options: argparse.Namespace,
    line: Gateway | SerialLine,
    profiles: Mapping[int, Profile] | None,
    urls: Sequence[str],
) -> None:
    """Say what there is, and wait for the end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    where = line.path if isinstance(line, SerialLine) else f"{line.address[0]}:{line.address[1]}"
    framing = "rtu" if isinstance(line, SerialLine) else options.framing
    there = (
        f"unit {METER_UNIT} is a WAGO 879 meter, unit {HEAT_PUMP_UNIT} an LG R290 heat pump"
        if profiles is None
        else f"unit {options.unit} fits {options.profile}"
    )
    print(
        f"Modbus {framing} on {where}, {options.baud} baud: {there}; time runs {options.speed:g} times as fast",
        flush=True,
    )
    for url in urls:
        print(url, flush=True)
    ended.wait()


def _make_pages(options: argparse.Namespace, house: LiveHouse) -> Sequence[PageServer]:
    """The pages of the original programs, which renew them every 30 s."""
    if options.pages is None:
        return []
    exporters = HouseExporters(house, time.time)
    pages = (exporters.meter, exporters.heat_pump, exporters.sensors)
    host = options.listen[0]
    return [PageServer(page, host=host, port=port) for page, port in zip(pages, options.pages, strict=True)]


def _make_line(
    options: argparse.Namespace, house: LiveHouse, profiles: Mapping[int, Profile] | None
) -> Gateway | SerialLine:
    framing: Literal["tcp", "rtu"] = "tcp" if options.framing == "tcp" and options.serial is None else "rtu"
    bus = house_bus(house, framing=framing, baud=options.baud, profiles=profiles)
    if options.serial is not None:
        return SerialLine(bus, options.serial, seed=options.seed)
    host, port = options.listen
    return Gateway(bus, host=host, port=port, seed=options.seed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument(
        "--listen",
        type=_host_and_port,
        default="127.0.0.1:5020",
        metavar="HOST:PORT",
        help="where clients connect",
    )
    parser.add_argument(
        "--serial", type=Path, metavar="LINK", help="a serial port instead: this link leads to it"
    )
    parser.add_argument("--framing", choices=("tcp", "rtu"), default="tcp", help="rtu is RTU over TCP")
    parser.add_argument("--baud", type=_within(int, 0, 1_000_000), default=9600, help="0 answers at once")
    parser.add_argument(
        "--speed", type=_within(float, 0.001, 100_000), default=1.0, help="house seconds per second"
    )
    parser.add_argument("--seed", type=int, default=0, help="another house")
    parser.add_argument(
        "--profile", metavar="NAME", help="one device that fits this profile instead of the house's two"
    )
    parser.add_argument("--profiles", type=Path, metavar="FOLDER", help="where profiles of your own are")
    parser.add_argument(
        "--unit", type=int, default=1, choices=range(1, 248), metavar="UNIT", help="that device's unit id"
    )
    parser.add_argument(
        "--pages",
        type=_within(int, 0, 65535),
        nargs=3,
        metavar=("METER", "PUMP", "SENSORS"),
        help="ports for the /metrics pages of the original exporter, lg-r290-control and shelly-blu-ht",
    )
    parser.add_argument(
        "--mqtt",
        type=_host_and_port,
        metavar="HOST:PORT",
        help="a broker to which the house's Shelly publishes",
    )
    parser.add_argument("--user", metavar="NAME", help="who the Shelly is at the broker")
    parser.add_argument("--password-file", metavar="FILE", help="a file with that user's password")
    return parser.parse_args(arguments)


def _within(form: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = form(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"expected {low} to {high}, got {text!r}")
        return number

    return read


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
