"""`heating dump`: the words of a device as a capture file."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from heating.bus import ONE_PROGRAM, add_json, add_url, bus_at, connect, unit
from heating.commands import Commands, add_config
from heating.progress import Progress
from poller.address import Address
from poller.commissioning.ask import Asker
from poller.commissioning.capture_text import Span, merged, parse_span, to_capture
from poller.commissioning.diagnosis import diagnose
from poller.commissioning.dump import Dump
from poller.commissioning.examine import ANY_REGISTER, examine
from poller.config import find_profiles
from poller.profile import Profile, load_profile
from poller.transport import ReadError

NOT_READ = 1
INTERRUPTED = 130


def add(commands: Commands) -> None:
    """What `heating dump` takes."""
    dump = commands.add_parser("dump", help="the words of a device as a capture file for a profile's test")
    dump.description = f"The words of a device as a capture file for a profile's test. {ONE_PROGRAM} Ctrl-C shows what was read so far."
    add_url(dump)
    dump.add_argument(
        "spans",
        nargs="+",
        type=_span,
        metavar="TABLE:FIRST-LAST",
        help="such as input:0-50 or holding:0x5000-0x5031",
    )
    dump.add_argument("--unit", type=unit, required=True, metavar="ID", help="its Modbus address")
    dump.add_argument("--profile", metavar="NAME", help="the profile whose test it is to be")
    dump.add_argument("--pairs", action="store_true", help="the device refuses an odd number of registers")
    add_json(dump)
    add_config(dump)
    dump.set_defaults(do=_dump)


def _dump(options: argparse.Namespace) -> int:
    profile = (
        load_profile(options.profile, find_profiles(options.config, os.environ)) if options.profile else None
    )
    transport = connect(bus_at(options.url))
    failure: ReadError | None = None
    is_over = True
    with Progress() as progress:
        dump = Dump(
            Asker(transport),
            options.unit,
            multiple_of=2 if options.pairs else 1,
            on_step=progress.show,
        )
        if profile is not None:
            dump.max_registers, dump.multiple_of = (
                profile.max_registers,
                max(profile.multiple_of, dump.multiple_of),
            )
        try:
            dump.run(options.spans)
        except KeyboardInterrupt:
            is_over = False
        except ReadError as error:
            failure = error
        finally:
            transport.close()
    if dump.captured:
        print(_as_json(options, dump) if options.json else _as_text(options, dump, profile), end="")
    if failure is not None:
        return _say_why_not(options.url, options.unit, failure)
    if is_over and not dump.captured:
        print(
            f"{options.url}, unit {options.unit}: it has none of these addresses: another table, or off by one?",
            file=sys.stderr,
        )
        return NOT_READ
    return 0 if is_over else INTERRUPTED


def _span(text: str) -> Span:
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected coil, discrete, input or holding and addresses from 0 to 65535, such as input:0-50, got {text!r}"
        ) from error


def _as_text(options: argparse.Namespace, dump: Dump, profile: Profile | None) -> str:
    note = (
        f"Unit {options.unit}, read on {datetime.now(UTC):%Y-%m-%d}. "
        "A serial number may be in it: look before you show it to others."
    )
    return to_capture(merged(dump.captured), dump.refused, note=note, profile=profile)


def _as_json(options: argparse.Namespace, dump: Dump) -> str:
    blocks = [{"table": one.table, "address": one.first, "words": one.words} for one in merged(dump.captured)]
    refused = [{"table": one.table, "first": one.first, "last": one.last} for one in dump.refused]
    return json.dumps({"unit": options.unit, "blocks": blocks, "refused": refused}) + "\n"


def _say_why_not(address: Address, unit_id: int, failure: ReadError) -> int:
    seen = examine(
        bus_at(address),
        unit_id,
        ANY_REGISTER,
        connect,
        timeout_s=1.0,
        on_search=lambda: print("No answer; looking what would bring one ...", file=sys.stderr),
    )
    unfit = seen is None or seen.reason.shows_life
    print(
        f"{address}, unit {unit_id}: it does not answer any more: {failure}"
        if unfit or seen is None
        else diagnose(seen),
        file=sys.stderr,
    )
    return NOT_READ
