"""`heating profiles`: the device models that are known, and what a poll of each costs."""

import argparse
import os

from heating.commands import Commands, add_config
from poller.config import find_profiles
from poller.plan import plan_profile
from poller.profile import Profile, load_profile, profile_names


def add(commands: Commands) -> None:
    """What `heating profiles` takes."""
    profiles = commands.add_parser("profiles", help="the device models that are known")
    profiles.add_argument("name", nargs="?", metavar="NAME", help="show the fields of one")
    add_config(profiles)
    profiles.set_defaults(do=_profiles)


def _profiles(options: argparse.Namespace) -> int:
    """The device models that come with the poller and those of the user's own folder, or one of them."""
    folder = find_profiles(options.config, os.environ)
    if options.name is not None:
        _show(load_profile(options.name, folder))
        return 0
    for name in profile_names(folder):
        profile = load_profile(name, folder)
        print(f"{name:<24} {profile.kind:<10} {_cost(profile):<26} {profile.title}{_doubt(profile)}")
    print(
        "Requests and time of one poll of the default fields at 9600 baud; `heating profiles NAME` shows the fields."
    )
    return 0


def _show(profile: Profile) -> None:
    print(f"{profile.title} ({profile.manufacturer} {profile.model}){_doubt(profile)}")
    for source in profile.sources:
        print(f"  source: {source}")
    if profile.transport == "modbus":
        blocks = ", ".join(map(str, plan_profile(profile).blocks))
        print(f"  a poll of the default fields at 9600 baud: {_cost(profile)} ({blocks})")
    for name, field in profile.fields.items():
        where = f"{field.point.table} {field.point.address}" if field.point else "derived"
        chosen = "" if field.default else "   by choice"
        print(f"  {name:<42} {field.quantity.unit:<6} {where}{chosen}")


def _cost(profile: Profile) -> str:
    if profile.transport != "modbus":
        return "reports by itself"
    plan = plan_profile(profile)
    return f"{len(plan.blocks)} requests, {plan.poll_s * 1000:.0f} ms"


def _doubt(profile: Profile) -> str:
    return "   UNTESTED: compare every value with the device's display" if profile.is_untested else ""
