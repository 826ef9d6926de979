"""`heating scan`: which units answer on a bus, and which profile fits each."""

import argparse
import json
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from heating.bus import ONE_PROGRAM, add_json, add_url, bus_at, connect
from heating.commands import Commands, add_config, positive
from heating.progress import Progress
from heating.table import lay_out
from poller.address import Address, NetworkAddress, SerialAddress
from poller.commissioning.ask import Asker, LostBusError
from poller.commissioning.examine import find_other_line
from poller.commissioning.fit import Fit
from poller.commissioning.scan import LIKELY, Answering, Scan, units_in
from poller.config import BusSettings, find_profiles
from poller.profile import Profile, load_profile, profile_names

NOTHING_FOUND = 1
"""The exit code when no unit answered."""

INTERRUPTED = 130

TRIED_ELSEWHERE = 6
"""So many units are asked at each other speed and parity: at a serial port that is half a minute."""

TRY_S = 0.2


def add(commands: Commands) -> None:
    """What `heating scan` takes."""
    scan = commands.add_parser("scan", help="which units answer on a bus, and which profile fits each")
    scan.description = f"Which units answer on a bus, and which profile fits each. {ONE_PROGRAM} Ctrl-C shows what was found so far."
    add_url(scan)
    scan.add_argument(
        "--units",
        type=_units,
        default=_units("1-247"),
        metavar="IDS",
        help="such as 1-20,33; all 247 unless given",
    )
    scan.add_argument(
        "--profile", action="append", metavar="NAME", help="try only this one; may be given again"
    )
    scan.add_argument(
        "--timeout", type=positive, default=0.3, metavar="SECONDS", help="how long a unit may take to answer"
    )
    add_json(scan)
    add_config(scan)
    scan.set_defaults(do=_scan)


def _scan(options: argparse.Namespace) -> int:
    settings = bus_at(options.url)
    profiles = _profiles(options)
    is_over = True
    with Progress() as progress:
        transport = connect(settings)
        scan = Scan(
            Asker(transport),
            profiles,
            is_rtu=settings.framing == "rtu",
            baud=settings.baud,
            probe_s=options.timeout,
            on_step=progress.show,
        )
        try:
            scan.run(options.units)
        except KeyboardInterrupt:
            is_over = False
        except LostBusError as error:
            if not scan.found:
                print(error, file=sys.stderr)
                return NOTHING_FOUND
            print(f"{error}; what was found until then:", file=sys.stderr)
            is_over = False
        finally:
            transport.close()
    if not scan.found and is_over:
        return _say_why_not(options, settings, scan)
    print(
        _as_json(options, scan, is_over=is_over) if options.json else _as_text(options, scan, is_over=is_over)
    )
    return 0 if is_over else INTERRUPTED


def _profiles(options: argparse.Namespace) -> list[Profile]:
    folder = find_profiles(options.config, os.environ)
    all_of_them = [load_profile(name, folder) for name in options.profile or profile_names(folder)]
    return [one for one in all_of_them if one.transport == "modbus"]


def _units(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(units_in(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected unit ids from 1 to 247 such as 1-20,33, got {text!r}"
        ) from error


def _as_text(options: argparse.Namespace, scan: Scan, *, is_over: bool) -> str:
    asked = f"{len(scan.asked)} of {len(options.units)} unit ids asked" + (
        "" if is_over else ", then interrupted"
    )
    if scan.is_any_unit:
        asked = "it answers whatever unit is asked: one device that is itself on the network"
    rows = [row for one in scan.found for row in _rows(one)]
    table = lay_out(("unit", "profile", "why"), rows) if rows else "No unit has answered yet."
    paste = _paste(options.url, scan)
    return f"{options.url}: {asked}\n\n{table}\n" + (f"\nFor config.toml:\n\n{paste}" if paste else "")


def _rows(one: Answering) -> Iterator[tuple[str, str, str]]:
    if one.fits is None:
        yield str(one.unit), "?", "answers; what it is was not tried yet"
    elif not one.fits:
        yield str(one.unit), "-", "answers, but no profile fits: docs/new-device.md says what to do"
    fits = one.fits or ()
    for place, fit in enumerate(fits):
        yield str(one.unit) if place == 0 else "", fit.profile.name, _why(fit, fits[0])


def _why(fit: Fit, best: Fit) -> str:
    words = [fit.evidence or "little that tells"]
    if not fit.is_sure:
        words.append("perhaps: too little to be sure")
    if fit is not best:
        words.append("as likely" if fit.bits == best.bits else "less likely")
    if fit.against:
        words.append(f"impossible: {', '.join(fit.against)}")
    if fit.missing:
        words.append(f"not there: {', '.join(fit.missing)}")
    if fit.profile.is_untested:
        words.append("untested")
    return "; ".join(words)


def _paste(url: Address, scan: Scan) -> str:
    """A piece of the configuration that runs as it is."""
    known = [(one.unit, one.fits) for one in scan.found if one.fits]
    if not known:
        return ""
    kinds = Counter(fits[0].profile.kind for _, fits in known)
    bus = f'[[bus]]\nname = "rs485"\nconnect = "{url}"\n'
    if isinstance(url, NetworkAddress):
        bus += (
            "baud = 0                              # it is itself on the network\n"
            if scan.is_any_unit
            else "baud = 9600                           # of the line behind the gateway\n"
        )
    return bus + "".join(
        _paste_device(unit, fits, is_only=kinds[fits[0].profile.kind] == 1) for unit, fits in known
    )


def _paste_device(unit: int, fits: tuple[Fit, ...], *, is_only: bool) -> str:
    fit, *others = fits
    kind = fit.profile.kind
    lines = [
        "",
        "[[device]]",
        f'name = "{kind if is_only else f"{kind}-{unit}"}"',
        f'title = "{fit.profile.title if is_only else f"{fit.profile.title}, unit {unit}"}"',
        'bus = "rs485"',
        f'profile = "{fit.profile.name}"',
        f"unit = {unit}",
    ]
    if fit.missing:
        lines.append(f"without = {json.dumps(list(fit.missing))}   # it refuses their addresses")
    if others:
        names = ", ".join(other.profile.name for other in others)
        lines += textwrap.wrap(f"# It may be {names} as well: compare with its display.", 110)
    return "\n".join(lines) + "\n"


def _as_json(options: argparse.Namespace, scan: Scan, *, is_over: bool) -> str:
    return json.dumps(
        {
            "url": str(options.url),
            "is_complete": is_over,
            "asked": sorted(scan.asked),
            "answers_any_unit": scan.is_any_unit,
            "units": [
                {"unit": one.unit, "fits": [_fit_as_json(fit) for fit in one.fits or ()]}
                for one in scan.found
            ],
            "config": _paste(options.url, scan),
        }
    )


def _fit_as_json(fit: Fit) -> dict[str, object]:
    return {
        "profile": fit.profile.name,
        "bits": fit.bits,
        "is_sure": fit.is_sure,
        "evidence": fit.evidence,
        "impossible": fit.against,
        "missing": fit.missing,
        "untested": fit.profile.is_untested,
    }


def _say_why_not(options: argparse.Namespace, settings: BusSettings, scan: Scan) -> int:
    """No unit has answered: what would bring an answer, or what else to look at."""
    print("No unit answered; looking what would bring an answer ...", file=sys.stderr)
    try_s = TRY_S if isinstance(settings.address, SerialAddress) else 3 * TRY_S
    likely: Sequence[int] = [one for one in LIKELY if one in options.units] or options.units[:10]
    if (found := find_other_line(settings, likely[:TRIED_ELSEWHERE], connect, try_s=try_s)) is not None:
        other, unit = found
        print(
            f"unit {unit} answers when it is asked in another way: `heating scan {_quoted(other)}`",
            file=sys.stderr,
        )
    elif scan.garbled:
        print(
            f"{options.url}: only garbled answers (to unit {scan.garbled[0]} first): speed or parity is not the devices', or "
            "another program talks on this bus (stop it, the poller too)",
            file=sys.stderr,
        )
    else:
        print(
            f"{options.url}: connected, but no unit answers: is the device on, are A and B the right way round, "
            "and speed and parity the device's?",
            file=sys.stderr,
        )
    return NOTHING_FOUND


def _quoted(address: Address) -> str:
    return str(address) if isinstance(address, NetworkAddress) else f"'{address}'"
