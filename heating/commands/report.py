"""`heating report`: what was used per day or month, from what Prometheus has kept."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from heating.commands import Commands, add_config
from heating.errors import CommandError
from heating.progress import Progress
from heating.report.chart import to_bars, to_svg
from heating.report.collect import Devices, collect, find_devices
from heating.report.columns import to_csv, to_json
from heating.report.days import Period, by_day, by_month, each_day, end_of_month, midnight_s
from heating.report.figures import Figures, make_figures, make_total
from heating.report.prometheus import Prometheus
from heating.report.settings import ReportSettings, read_settings
from heating.report.table import to_table

DAYS = 30
MONTHS = 12
TERMINAL = "-"
LONGEST_DAYS = 366 * 30


def add(commands: Commands) -> None:
    """What `heating report` takes."""
    report = commands.add_parser("report", help="energy, cost, degree days and COP per day or month")
    report.add_argument("by", choices=("daily", "monthly"), help="a row for each day, or each month")
    report.add_argument(
        "--from",
        dest="first",
        type=_day,
        metavar="DATE",
        help=f"the first day; else {DAYS} days or {MONTHS} months ago",
    )
    report.add_argument("--to", dest="last", type=_day, metavar="DATE", help="the last day; else yesterday")
    report.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="json is for programs"
    )
    report.add_argument(
        "--plot",
        nargs="?",
        const=TERMINAL,
        metavar="FILE.svg",
        help="bars in the terminal, or a picture in a file",
    )
    report.add_argument(
        "--prometheus", metavar="URL", help="which one to ask; else where the bridge writes to"
    )
    report.add_argument("--meter", metavar="DEVICE", help="which one, where there are several")
    report.add_argument("--heatpump", metavar="DEVICE", help="which one, where there are several")
    report.add_argument("--outdoor", metavar="SENSOR", help="the outdoor temperature's sensor")
    add_config(report)
    report.set_defaults(do=_report)


def _report(options: argparse.Namespace) -> int:
    """Ask Prometheus, work it out and show it."""
    if options.plot not in {None, TERMINAL} and not options.plot.endswith(".svg"):
        raise CommandError(f"--plot: expected a file that ends in .svg, got {options.plot!r}")
    settings = read_settings(options.config, os.environ, prometheus=options.prometheus)
    is_daily = options.by == "daily"
    now = datetime.now(settings.zone)
    periods = choose_periods(options.first, options.last, now.date(), settings.zone, is_daily=is_daily)
    devices, rows, total = _work_out(options, settings, periods, now)
    print(_show(options, settings, devices, rows, total), end="")
    return 0


def choose_periods(
    first: date | None, last: date | None, today: date, zone: ZoneInfo, *, is_daily: bool
) -> Sequence[Period]:
    """The days or months that are reported.

    Raises:
        CommandError: There is none of them.
    """
    end = last if last is not None else today - timedelta(days=1)
    if is_daily:
        start = first or end - timedelta(days=DAYS - 1)
    else:
        months = end.year * 12 + end.month - MONTHS
        start = first or date(months // 12, months % 12 + 1, 1)
    if start > end:
        raise CommandError(f"--from {start} is after --to {end}")
    if start > today or (end - start).days > LONGEST_DAYS:
        raise CommandError(f"expected days that have been, thirty years at most: got {start} to {end}")
    end = min(end, today)
    return by_day(start, end, zone) if is_daily else by_month(start, min(end_of_month(end), today), zone)


def _work_out(
    options: argparse.Namespace, settings: ReportSettings, periods: Sequence[Period], now: datetime
) -> tuple[Devices, list[Figures], Figures]:
    first, last = periods[0].days[0].date, periods[-1].days[-1].date
    # A day more at both ends: what stood on the meter at a midnight is known from both of its sides.
    start_s = midnight_s(first - timedelta(days=1), settings.zone)
    end_s = midnight_s(last + timedelta(days=2), settings.zone)
    end_s = max(min(end_s, int(now.timestamp())), start_s + 1)
    table = settings.table
    with Prometheus(settings.server) as prometheus, Progress() as progress:
        devices = find_devices(
            prometheus,
            start_s,
            end_s,
            meter=options.meter or table.meter,
            heat_pump=options.heatpump or table.heatpump,
            outdoor=options.outdoor or table.outdoor,
        )
        # To the end of the last day, also when that is still to come: what is not there is a gap.
        measured = collect(
            prometheus,
            devices,
            start_s,
            midnight_s(last + timedelta(days=2), settings.zone),
            now_s=now.timestamp(),
            tell=lambda done, of: progress.show(done, of, "asking Prometheus"),
        )
    whole = Period("all", tuple(each_day(first, last, settings.zone)))
    return (
        devices,
        make_figures(measured, periods, settings.rules),
        make_total(measured, whole, settings.rules),
    )


def _show(
    options: argparse.Namespace,
    settings: ReportSettings,
    devices: Devices,
    rows: Sequence[Figures],
    total: Figures,
) -> str:
    is_daily = options.by == "daily"
    about = {
        "meter": devices.meter,
        "heatpump": devices.heat_pump,
        "outdoor": devices.outdoor.name if devices.outdoor else None,
        "timezone": settings.zone.key,
        "currency": settings.table.currency if settings.rules.prices else None,
    }
    said = ", ".join(f"{name}: {value}" for name, value in about.items() if value is not None)
    if options.plot not in {None, TERMINAL}:
        path = Path(options.plot)
        try:
            path.write_text(
                to_svg(rows, f"kWh per {'day' if is_daily else 'month'} ({said})"), encoding="utf-8"
            )
        except OSError as error:
            raise CommandError(f"{path}: cannot be written: {error.strerror}") from error
    if options.format == "csv":
        return to_csv(rows, is_daily=is_daily)
    if options.format == "json":
        return to_json(rows, total, about) + "\n"
    columns = shutil.get_terminal_size().columns
    if options.plot == TERMINAL:
        return f"{said}\n{to_bars(rows, columns)}\n"
    width = columns if sys.stdout.isatty() else None
    return f"{said}\n{to_table(rows, total, is_daily=is_daily, width=width)}\n"


def _day(text: str) -> date:
    """A day, or the first one of a month.

    >>> _day("2026-03-29"), _day("2026-03")
    (datetime.date(2026, 3, 29), datetime.date(2026, 3, 1))
    """
    try:
        day = date.fromisoformat(f"{text}-01" if len(text) == 7 else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD or YYYY-MM, got {text!r}") from error
    if day.year < 1970:
        raise argparse.ArgumentTypeError(f"expected a day from 1970 on, got {text!r}")
    return day
