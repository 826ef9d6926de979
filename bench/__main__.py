"""`python -m bench [NAME...]`: measure everything, or what is named, and print a table each."""

import argparse
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench import bridge, disk, memory, plans, poller, remote_write, scrape, timetable
from bench.processes import BenchError
from bench.table import Table

PROGRAMS: Mapping[str, Callable[..., Table]] = MappingProxyType(
    {
        "bridge": bridge.measure,
        "scrape": scrape.measure,
        "remote-write": remote_write.measure,
        "poller": poller.measure,
        "plans": plans.measure,
        "timetable": timetable.measure,
        "disk": disk.measure,
        "memory": memory.measure,
    }
)


def main() -> int:
    """Measure, and say what could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it works; figures mean nothing"
    )
    options = parser.parse_args()
    if unknown := set(options.name) - PROGRAMS.keys():
        parser.error(f"expected names of {', '.join(PROGRAMS)}, got {', '.join(sorted(unknown))}")
    failed = 0
    for name in options.name or PROGRAMS:
        try:
            print(PROGRAMS[name](is_quick=options.quick), end="\n\n", flush=True)
        except BenchError as error:
            failed = 1
            print(f"{name}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
