"""`python -m heating.backup --config FILE`: a backup every night.

It only waits. Each backup is made by `heating backup`, a program of its own, so
that what it takes in memory is gone until the next night.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from heating.backup.rotation import find_backups
from heating.backup.schedule import find_due, find_pause
from heating.backup.table import BackupTable
from heating.zone import find_zone
from readings.environment import only
from readings.errors import SettingsError
from readings.settings import load

_log = logging.getLogger(__name__)

AFTER_S = 300.0
"""A machine that has just started has more urgent things to do, and may not know the time yet."""

LOOK_EVERY_S = 60.0
"""At the clock, which may be set meanwhile."""

POLL_S = 0.5

OURS = ("HEATING_BACKUP__", "HEATING_REPORT__TIMEZONE")


class ZoneTable(msgspec.Struct, frozen=True):
    """What `[report]` says of the house: the time zone, an IANA name."""

    timezone: str | None = None


class NightlyFile(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file as who waits reads it; the rest is for the backup itself."""

    backup: BackupTable = BackupTable()
    report: ZoneTable = ZoneTable()


def main() -> int:
    """Run until SIGTERM or Ctrl-C.

    Returns:
        The exit code: 2 for a configuration that is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m heating.backup", description="A backup every night.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file")
    parser.add_argument("--after", type=float, default=AFTER_S, metavar="SECONDS", help="not before")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        file = load(options.config, NightlyFile, only(os.environ, OURS))
        zone = find_zone(file.report.timezone)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    folder = file.backup.place(options.config)
    at = datetime.strptime(file.backup.at, "%H:%M").time()  # noqa: DTZ007  # a time of day, in the zone beside it
    _log.info("a backup every night at %s, %s, into %s", file.backup.at, zone, folder)
    wait_for_nights(
        due=lambda: find_due(find_backups(_names(folder)).values(), datetime.now(UTC), at, zone),
        make=lambda: _make(options.config, stop),
        wait=stop.wait,
        now=lambda: datetime.now(UTC),
        after_s=options.after,
    )
    return 0


def wait_for_nights(
    *,
    due: Callable[[], datetime],
    make: Callable[[], bool],
    wait: Callable[[float], bool],
    now: Callable[[], datetime],
    after_s: float,
) -> None:
    """Make each backup when it is due, and again after a while when that failed.

    Args:
        due: When the next one is due.
        make: Makes it; whether that went well.
        wait: Waits so many seconds; whether it is time to end.
        now: The clock.
        after_s: How long to wait before the first look.
    """
    failures, pause_s = 0, after_s
    while not wait(pause_s):
        pause_s = LOOK_EVERY_S
        if due() > now():
            continue
        if make():
            failures = 0
            _log.info("the next backup is due at %s", due().isoformat(timespec="minutes"))
        else:
            failures += 1
            pause_s = find_pause(failures)
            _log.error("no backup was made; the next try is in %.0f minutes", pause_s / 60)


def _make(config: Path, stop: threading.Event) -> bool:
    command = [sys.executable, "-m", "heating", "backup", "--config", str(config)]
    with subprocess.Popen(command) as process:  # noqa: S603  # our own program
        while process.poll() is None:
            if stop.wait(POLL_S):
                process.terminate()  # it removes what it has begun
                return True
    return process.returncode == 0


def _names(folder: Path) -> list[str]:
    try:
        return [one.name for one in folder.iterdir()]
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main())
