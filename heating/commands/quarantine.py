"""`heating quarantine`: the samples that the receiver refused."""

import argparse
import os
import sys

from bridge.config import read_config as read_bridge_config
from bridge.quarantine import open_quarantine, to_json, to_table
from heating.commands import Commands, add_config

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


def _number(text: str) -> int:
    """The number of a sample, as SQLite has it."""
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 63):
        raise argparse.ArgumentTypeError(f"expected a number as the list shows it, got {text!r}")
    return int(text)
