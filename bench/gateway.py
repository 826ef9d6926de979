"""`python -m bench.gateway BAUD`: the simulated bus for a measurement; prints its port, ends with its input.

With 0 baud it answers at once, with others after the line's time and 5 ms.
"""

import sys
import time

from simulator.house_bus import LiveHouse, house_gateway


def main() -> None:
    """Serve until the input ends."""
    baud = int(sys.argv[1])
    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic)
    with house_gateway(house, baud=baud, turnaround_s=0.005 if baud else 0.0) as served:
        print(served.address[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
