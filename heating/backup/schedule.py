"""When a backup is due: a rule for machines that are off at night, too."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta, tzinfo

AHEAD = timedelta(days=1)
"""A backup that is from so far in the future was made with a wrong clock."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 600.0, 6 * 3600.0


def find_due(made: Iterable[datetime], now: datetime, at: time, zone: tzinfo) -> datetime:
    """When the next backup is due: at that time of day for the first time after the newest one.

    One that was missed is due since then, and the first one at once.

    Args:
        made: When those that are there were made.
        now: The time.
        at: The time of day.
        zone: Whose day.

    >>> from datetime import UTC
    >>> made = [datetime(2026, 11, 26, 3, 0, 20, tzinfo=UTC)]
    >>> find_due(made, datetime(2026, 11, 26, 12, tzinfo=UTC), time(3), UTC).isoformat()
    '2026-11-27T03:00:00+00:00'
    """
    newest = max((one for one in made if one < now + AHEAD), default=None)
    if newest is None:
        return now
    day = newest.astimezone(zone).date()
    tonight = datetime.combine(day, at, zone)
    return tonight if tonight > newest else datetime.combine(day + timedelta(days=1), at, zone)


def find_pause(failures: int) -> float:
    """How many seconds to wait after so many failures in a row.

    >>> [find_pause(one) / 60 for one in (1, 2, 3, 10)]
    [10.0, 20.0, 40.0, 360.0]
    """
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_S)
