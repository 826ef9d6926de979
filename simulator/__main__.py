"""`python -m simulator`: the simulated house behind a Modbus gateway, for any Modbus program to look at."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse, house_bus, house_gateway
from simulator.serial_line import SerialLine


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = _parse(arguments)
    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, speed=options.speed, seed=options.seed)
    line = _make_line(options, house)
    try:
        line.start()
    except OSError as error:
        print(f"cannot listen: {error.strerror}", file=sys.stderr)
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    where = line.path if isinstance(line, SerialLine) else f"{line.address[0]}:{line.address[1]}"
    framing = "rtu" if isinstance(line, SerialLine) else options.framing
    print(
        f"Modbus {framing} on {where}, {options.baud} baud:"
        f" unit {METER_UNIT} is a WAGO 879 meter, unit {HEAT_PUMP_UNIT} an LG R290 heat pump;"
        f" time runs {options.speed:g} times as fast",
        flush=True,
    )
    ended.wait()
    line.stop()
    return 0


def _make_line(options: argparse.Namespace, house: LiveHouse) -> Gateway | SerialLine:
    if options.serial is not None:
        return SerialLine(
            house_bus(house, framing="rtu", baud=options.baud), options.serial, seed=options.seed
        )
    host, port = options.listen
    return house_gateway(
        house, framing=options.framing, host=host, port=port, baud=options.baud, seed=options.seed
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--listen", type=_host_and_port, default="127.0.0.1:5020", metavar="HOST:PORT")
    parser.add_argument(
        "--serial", type=Path, metavar="LINK", help="a serial port instead: this link leads to it"
    )
    parser.add_argument("--framing", choices=("tcp", "rtu"), default="tcp", help="rtu is RTU over TCP")
    parser.add_argument("--baud", type=int, default=9600, help="0 answers at once")
    parser.add_argument("--speed", type=float, default=1.0, help="house seconds per second")
    parser.add_argument("--seed", type=int, default=0, help="another house")
    return parser.parse_args(arguments)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal() and int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
