"""The time zone of the house: whose days are counted, and whose nights."""

import zoneinfo
from pathlib import Path

from readings.errors import SettingsError

LOCAL_TIME = Path("/etc/localtime")


def find_zone(name: str | None) -> zoneinfo.ZoneInfo:
    """The time zone of that name, or the machine's own.

    Raises:
        SettingsError: There is none of that name, or the machine knows no time zones.
    """
    try:
        if name is not None:
            return zoneinfo.ZoneInfo(name)
        with LOCAL_TIME.open("rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key=_local_name())
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        if name is None:
            return zoneinfo.ZoneInfo("UTC")
        raise SettingsError(
            f'report.timezone: expected a name like "Europe/Berlin", got {name!r} '
            "(or this machine knows no time zones: apt install tzdata)"
        ) from error


def _local_name() -> str:
    """What the machine calls its time zone, where that can be seen."""
    _, is_found, name = str(LOCAL_TIME.resolve()).partition("zoneinfo/")
    return name if is_found else "local time"
