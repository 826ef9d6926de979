"""The command line: `heating COMMAND`, each command a module of `heating.commands`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from bridge.errors import BridgeError
from heating.commands import (
    backup,
    check,
    demo,
    dump,
    message,
    migrate,
    password,
    profiles,
    quarantine,
    read,
    report,
    run,
    scan,
)
from heating.errors import CommandError
from poller.errors import PollerError
from readings.errors import ReadingsError
from readings.release import VERSION

COMMANDS = (
    demo,
    scan,
    read,
    dump,
    run,
    check,
    message,
    profiles,
    quarantine,
    report,
    migrate,
    backup,
    password,
)
"""In the order in which a person meets them."""

WRONG_CONFIGURATION = 2
"""The exit code for a mistake in the configuration."""

CANNOT_RUN = 1
"""The exit code when an address or a file cannot be had, or a part has ended."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

NOBODY_READS = 141
"""The exit code when what is printed is not read to its end (`heating profiles | head`), the same."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else getattr(options, "log_level", logging.INFO),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        code = int(options.do(options))
        sys.stdout.flush()
    except (ReadingsError, PollerError) as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIGURATION
    except (BridgeError, CommandError) as error:
        print(error, file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer goes nowhere; else Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heating", description="Heating data: from Modbus over MQTT into Prometheus."
    )
    parser.add_argument("--version", action="version", version=f"heating {VERSION}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
