"""`heating profiles`: the device models that are known."""

import argparse

from heating.commands import Commands
from poller.profile import load_profile, profile_names


def add(commands: Commands) -> None:
    """What `heating profiles` takes."""
    profiles = commands.add_parser("profiles", help="the device models that are known")
    profiles.add_argument(
        "name", nargs="?", choices=profile_names(), metavar="NAME", help="show the fields of one"
    )
    profiles.set_defaults(do=_profiles)


def _profiles(options: argparse.Namespace) -> int:
    """The device models that come with the poller, or the fields of one."""
    if options.name is None:
        for name in profile_names():
            profile = load_profile(name)
            print(f"{name:<16} {profile.kind:<10} {profile.title}")
        return 0
    profile = load_profile(options.name)
    print(f"{profile.title} ({profile.manufacturer} {profile.model})")
    for source in profile.sources:
        print(f"  source: {source}")
    for name, field in profile.fields.items():
        where = f"{field.point.table} {field.point.address}" if field.point else "derived"
        chosen = "" if field.default else "   by choice"
        print(f"  {name:<42} {field.quantity.unit:<6} {where}{chosen}")
    return 0
