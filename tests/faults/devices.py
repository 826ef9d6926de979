"""`python -m tests.faults.devices GATEWAYS METERS`: meters behind gateways; says the gateways' ports, and ends with its stdin."""

import sys
import time

from simulator.bus import Bus
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse
from simulator.wire import TcpFraming

SPEED = 60
"""So fast live the houses that hardly two readings of a meter are alike."""


def main(gateways: int, meters: int) -> None:
    started = []
    for one in range(gateways):
        houses = [
            LiveHouse(start_s=time.time(), monotonic=time.monotonic, speed=SPEED, seed=one * meters + number)
            for number in range(meters)
        ]
        bus = Bus({unit: house.meter() for unit, house in enumerate(houses, start=1)}, TcpFraming(), baud=0)
        gateway = Gateway(bus, remembers=1)
        gateway.start()
        started.append(gateway)
    sys.stdout.write(" ".join(str(one.address[1]) for one in started) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for gateway in started:
        gateway.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
