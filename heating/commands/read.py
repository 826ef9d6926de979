"""`heating read`: one look at a device."""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from heating.bus import ONE_PROGRAM, add_json, add_url, bus_at, connect, unit
from heating.commands import Commands, add_config, positive
from heating.table import lay_out
from poller.commissioning.diagnosis import diagnose
from poller.commissioning.examine import examine
from poller.commissioning.look import Look, look_at
from poller.commissioning.seen import SeenField, see_fields
from poller.config import BusSettings, find_profiles
from poller.device import Device
from poller.errors import ProfileError
from poller.plan import plan_device
from poller.profile import load_profile
from readings.reading import DeviceKey

NOT_READ = 1
"""The exit code when the device did not answer."""


def add(commands: Commands) -> None:
    """What `heating read` takes."""
    read = commands.add_parser(
        "read", help="one look at a device: registers, values, and what the filters say"
    )
    read.description = f"One look at a device. {ONE_PROGRAM}"
    add_url(read)
    read.add_argument("--profile", required=True, metavar="NAME", help="`heating profiles` lists them")
    read.add_argument("--unit", type=unit, default=1, metavar="ID", help="its Modbus address, 1 unless given")
    read.add_argument(
        "--all", action="store_true", help="every field of the profile, not only the default ones"
    )
    read.add_argument(
        "--watch",
        type=positive,
        metavar="SECONDS",
        help="look again so often: the filters need two or three looks",
    )
    add_json(read)
    add_config(read)
    read.set_defaults(do=_read)


def _read(options: argparse.Namespace) -> int:
    device, settings = _device(options), bus_at(options.url)
    asked_at = time.monotonic()
    was_read = False

    def show(look: Look) -> bool:
        nonlocal asked_at, was_read
        was_read = was_read or bool(look.poll.reads)
        if was_read:
            took_s = max(look.poll.ended - max(asked_at, look.poll.due), 0.0)
            fields = tuple(see_fields(device, look.poll, look.folded))
            print(
                _as_json(options, look, fields)
                if options.json
                else _as_text(options, device, look, fields, took_s)
            )
            sys.stdout.flush()
        return options.watch is None or not was_read

    look_at(
        device,
        settings,
        connect(settings),
        monotonic=time.monotonic,
        wait=threading.Event().wait,
        on_look=show,
    )
    return 0 if was_read else _say_why_not(device, settings, options)


def _device(options: argparse.Namespace) -> Device:
    profile = load_profile(options.profile, find_profiles(options.config, os.environ))
    if profile.transport != "modbus":
        raise ProfileError(f"--profile: expected a Modbus device, {profile.name} reports by itself")
    return Device(
        key=DeviceKey(profile.kind, "device"),
        title=profile.title,
        profile=profile,
        fields=profile.choose(tuple(profile.fields) if options.all else ()),
        interval_s=options.watch or profile.interval_s,
        bus="rs485",
        unit=options.unit,
    )


def _as_text(
    options: argparse.Namespace, device: Device, look: Look, fields: Sequence[SeenField], took_s: float
) -> str:
    serial = f", serial number {look.serial_number}" if look.serial_number else ""
    asked = f"{len(look.poll.outcomes)} request{'s' if len(look.poll.outcomes) > 1 else ''} in {took_s:.2f} s"
    rows = [(one.name, one.place, one.hex, _value(one), one.unit, _verdict(one)) for one in fields]
    table = lay_out(("field", "where", "registers", "value", "unit", "filter"), rows, right=frozenset({3}))
    return f"{device.title}, unit {options.unit} at {options.url}{serial}; {asked}\n\n{table}\n"


def _value(one: SeenField) -> str:
    if one.value is None:
        return "-"
    return f"{one.value:.7g} ({one.text})" if one.text else f"{one.value:.9g}"


def _verdict(one: SeenField) -> str:
    return one.finding.replace("_", " ") + (f": {one.why}" if one.why else "")


def _as_json(options: argparse.Namespace, look: Look, fields: Sequence[SeenField]) -> str:
    return json.dumps(
        {
            "url": str(options.url),
            "unit": options.unit,
            "profile": options.profile,
            "serial_number": look.serial_number,
            "fields": [
                {
                    "field": one.name,
                    "table": one.point and one.point.table,
                    "address": one.point and one.point.address,
                    "words": list(one.words),
                    "value": one.value,
                    "unit": one.unit,
                    "filter": one.finding,
                    "why": one.why,
                }
                for one in fields
            ],
        }
    )


def _say_why_not(device: Device, settings: BusSettings, options: argparse.Namespace) -> int:
    """Nothing was read: one line that says what to try next."""
    block = plan_device(device, baud=settings.baud, turnaround_s=settings.turnaround_s, distinct=True).blocks[
        0
    ]
    seen = examine(
        settings,
        options.unit,
        replace(block, points=()),
        connect,
        timeout_s=device.profile.timeout_s,
        on_search=lambda: print("No answer; looking what would bring one ...", file=sys.stderr),
    )
    if seen is None:
        print(
            f"{options.url}, unit {options.unit}: it answers now: ask again, or lower the load on the bus",
            file=sys.stderr,
        )
    else:
        print(diagnose(seen, options.profile), file=sys.stderr)
    return NOT_READ
