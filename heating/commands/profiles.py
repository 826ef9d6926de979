"""`heating profiles`: the device models that are known, and what a poll of each costs."""

import argparse
import json
import os
from pathlib import Path

from heating.bus import add_json
from heating.commands import Commands, add_config
from heating.table import lay_out
from poller.commissioning.capture import Held, Meaning, hold, parse_capture
from poller.config import find_profiles
from poller.errors import CaptureError
from poller.plan import plan_profile
from poller.profile import Profile, load_profile, profile_names


def add(commands: Commands) -> None:
    """What `heating profiles` takes."""
    profiles = commands.add_parser("profiles", help="the device models that are known")
    profiles.add_argument("name", nargs="?", metavar="NAME", help="show the fields of one")
    profiles.add_argument("--capture", type=Path, metavar="FILE", help="what one makes of these registers")
    add_json(profiles)
    add_config(profiles)
    profiles.set_defaults(do=_profiles)


def _profiles(options: argparse.Namespace) -> int:
    """The device models that come with the poller and those of the user's own folder, or one of them."""
    folder = find_profiles(options.config, os.environ)
    if options.capture is not None and options.name is None:
        raise CaptureError("--capture: expected the NAME of a profile, too")
    profiles = [
        load_profile(name, folder)
        for name in ([options.name] if options.name is not None else profile_names(folder))
    ]
    if options.capture is not None:
        return _compare(profiles[0], options.capture, as_json=options.json)
    if options.json:
        print(json.dumps([_as_json(one) for one in profiles]))
        return 0
    if options.name is not None:
        return _show(profiles[0])
    rows = [(one.name, one.kind, _cost(one), one.title + _doubt(one)) for one in profiles]
    print(lay_out(("profile", "kind", "one poll", "device"), rows))
    print(
        "\nRequests and time of one poll of the default fields at 9600 baud; `heating profiles NAME` shows the fields."
    )
    return 0


def _as_json(profile: Profile) -> dict[str, object]:
    return {
        "profile": profile.name,
        "kind": profile.kind,
        "title": profile.title,
        "manufacturer": profile.manufacturer,
        "model": profile.model,
        "sources": profile.sources,
        "untested": profile.is_untested,
        "transport": profile.transport,
        "interval_s": profile.interval_s,
        "fields": [
            {
                "field": name,
                "unit": one.quantity.unit,
                "table": one.point and one.point.table,
                "address": one.point and one.point.address,
                "encoding": one.point and one.point.encoding,
                "default": one.default,
            }
            for name, one in profile.fields.items()
        ],
    }


def _compare(profile: Profile, path: Path, *, as_json: bool) -> int:
    """What a profile makes of a capture, beside what the device's display showed."""
    try:
        capture = parse_capture(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CaptureError(f"{path}: cannot be read: {error}") from error
    held = list(hold(profile, capture))
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "field": one.point.name,
                        "words": one.words,
                        "value": one.meaning,
                        "display": one.expected,
                        "is_right": one.is_right,
                    }
                    for one in held
                ]
            )
        )
        return 0 if all(one.is_right for one in held) else 1
    units = {name: field.quantity.unit for name, field in profile.fields.items()}
    rows = [
        (
            one.point.name,
            f"{one.point.table} {one.point.address}",
            " ".join(f"0x{word:04X}" for word in one.words) or "not in the capture",
            _say(one.meaning),
            units.get(one.point.name, ""),
            _judge(one),
        )
        for one in held
    ]
    print(lay_out(("field", "where", "registers", "value", "unit", "display"), rows, right=frozenset({3})))
    wrong = sum(not one.is_right for one in held)
    known = sum(one.expected is not None for one in held)
    print(f"{known - wrong} of {known} as the display showed them")
    return 1 if wrong else 0


def _say(meaning: Meaning | None) -> str:
    return "-" if meaning is None else "no value" if meaning == "sentinel" else str(meaning).replace("_", " ")


def _judge(one: Held) -> str:
    if one.expected is None:
        return "not known"
    return "the same" if one.is_right else f"{_say(one.expected)}: not the same"


def _show(profile: Profile) -> int:
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
    return 0


def _cost(profile: Profile) -> str:
    if profile.transport != "modbus":
        return "reports by itself"
    plan = plan_profile(profile)
    return f"{len(plan.blocks)} request{'s' if len(plan.blocks) > 1 else ''}, {plan.poll_s * 1000:.0f} ms"


def _doubt(profile: Profile) -> str:
    return "   UNTESTED: compare every value with the device's display" if profile.is_untested else ""
