"""`heating message`: what the rules would make of a message, before it counts."""

import argparse
import os
import sys
import time
from collections.abc import Iterator

from heating.commands import Commands, add_config
from poller.assemble import Stamped
from poller.config import read_config
from poller.device import Device
from poller.errors import MessageError
from poller.filters import Rejected, check
from poller.sources.heard import Heard
from poller.sources.rules import RuleSource
from readings.payload import format_time
from readings.reading import Value

NOTHING_MADE = 1
"""The exit code when no rule makes anything of the message."""


def add(commands: Commands) -> None:
    """What `heating message` takes."""
    message = commands.add_parser("message", help="what the rules would make of a message of another program")
    add_config(message)
    message.add_argument("topic", help="the topic that it comes on")
    message.add_argument("payload", help="the message itself; - reads it from the standard input")
    message.set_defaults(do=_message)


def _message(options: argparse.Namespace) -> int:
    """Show the message to every rule; nothing is published and nothing is written."""
    rules = read_config(options.config, os.environ).rules
    payload = sys.stdin.buffer.read() if options.payload == "-" else options.payload.encode()
    heard = Heard(
        options.topic, payload, retained=False, is_live=True, at=0.0, wall_ms=round(time.time() * 1000)
    )
    is_made = False
    for source in map(RuleSource, rules):
        for is_reading, line in _try(source, heard):
            print(line)
            is_made = is_made or is_reading
    if not is_made:
        print(f"none of {len(rules)} rules makes a reading of it", file=sys.stderr)
    return 0 if is_made else NOTHING_MADE


def _try(source: RuleSource, heard: Heard) -> Iterator[tuple[bool, str]]:
    """Line by line what a rule says, and whether that is a reading."""
    try:
        for device, report in source.hear(heard):
            when = "when it comes" if report.time_ms is None else format_time(report.time_ms)
            yield True, f"{source.name}: {device.key} ({device.title}), {when}"
            for name, value in report.values.items():
                yield True, f"  {name} {_show(device, name, value)}"
    except MessageError as error:
        yield False, f"{source.name}: refused ({error.reason}): {error}"


def _show(device: Device, name: str, value: Value | Stamped) -> str:
    number = value.value if isinstance(value, Stamped) else value
    if number is None:
        return "has no value"
    field = device.fields[name]
    shown = f"{number:g} {field.quantity.unit}".rstrip()
    judged = check(field.rules, number)
    return f"{shown}, not believed: {judged.reason}" if isinstance(judged, Rejected) else shown
