"""`heating quarantine`: the samples that the receiver refused."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from math import isnan

from bridge.config import read_config as read_bridge_config
from bridge.quarantine import Quarantined, open_quarantine
from bridge.sample import Series
from heating.commands import Commands, add_config
from heating.table import lay_out
from readings.payload import format_time

NOT_THERE = 1
"""The exit code when one of the samples that were named is not in quarantine."""


def add(commands: Commands) -> None:
    """What `heating quarantine` takes."""
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
                "ids", nargs="*", type=_number, default=[], metavar="ID", help="as the list shows it"
            )
            which.add_argument("--all", action="store_true", help="all of them")
        add_config(action)
    quarantine.set_defaults(do=_quarantine)


def _quarantine(options: argparse.Namespace) -> int:
    """Look at what the receiver refused, or change what becomes of it, also while the bridge runs."""
    settings = read_bridge_config(options.config, os.environ)
    with open_quarantine(settings.store) as quarantine:
        if options.action == "list":
            entries = quarantine.entries()
            print(to_json(entries) if options.json else to_table(entries))
            return 0
        chosen = None if options.all else sorted(set(options.ids))
        if options.action == "drop":
            done = quarantine.drop(chosen)
            print(f"{done} dropped")
        else:
            done = quarantine.resend(chosen)
            print(f"{done} will be sent again by the bridge")
    if chosen is not None and done < len(chosen):
        print(f"{len(chosen) - done} of these are not in quarantine", file=sys.stderr)
        return NOT_THERE
    return 0


def to_json(entries: Iterable[Quarantined]) -> str:
    """For programs: a list of objects; a value of null is a stale marker."""
    return json.dumps(
        [
            {
                "id": one.id,
                "time": format_time(one.sample.timestamp_ms),
                "device": one.device,
                "stream": one.stream,
                "seq": one.seq,
                "name": one.sample.series.name,
                "labels": dict(one.sample.series.labels),
                "value": None if isnan(one.sample.value) else one.sample.value,
                "reason": one.reason,
                "resend": one.is_to_go,
            }
            for one in entries
        ],
        ensure_ascii=False,
        indent=2,
    )


def to_table(entries: Sequence[Quarantined]) -> str:
    """For people: one line each, below a head."""
    if not entries:
        return "The quarantine is empty: the receiver has refused nothing."
    rows = []
    for one in entries:
        value = "(ends)" if isnan(one.sample.value) else f"{one.sample.value:g}"
        why = f"{one.reason} (will be sent again)" if one.is_to_go else one.reason
        cells = str(one.id), format_time(one.sample.timestamp_ms), _show(one.sample.series), value, why
        rows.append([_plain(cell) for cell in cells])
    return lay_out(("id", "time", "series", "value", "why"), rows)


def _show(series: Series) -> str:
    labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in series.labels)
    return f"{series.name}{{{labels}}}"


def _plain(text: str) -> str:
    """Names come from the bus and reasons from the receiver: neither may command the terminal."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def _number(text: str) -> int:
    """The number of a sample, as SQLite has it."""
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 63):
        raise argparse.ArgumentTypeError(f"expected a number as the list shows it, got {text!r}")
    return int(text)
