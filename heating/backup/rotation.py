"""Which backups are kept: the newest of each of the last days, weeks and months."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

DAYS, WEEKS, MONTHS = 7, 4, 12

_NAME = re.compile(r"heating-(\d{8}T\d{6})Z\.tar\.gz")


def name_backup(made: datetime) -> str:
    """A file's name, from the time of its making.

    >>> name_backup(datetime(2026, 11, 26, 2, 30, tzinfo=UTC))
    'heating-20261126T023000Z.tar.gz'
    """
    return f"heating-{made.astimezone(UTC):%Y%m%dT%H%M%S}Z.tar.gz"


def find_backups(names: Iterable[str]) -> dict[str, datetime]:
    """When each backup was made, the oldest first. What is not named like a backup is none of ours.

    >>> list(find_backups(["holiday.tar.gz", "heating-20260102T000000Z.tar.gz", "heating-20260101T000000Z.tar.gz"]))
    ['heating-20260101T000000Z.tar.gz', 'heating-20260102T000000Z.tar.gz']
    """
    made = {
        name: datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        for name in names
        if (found := _NAME.fullmatch(name))
    }
    return dict(sorted(made.items(), key=lambda one: one[1]))


def choose_old(names: Iterable[str]) -> list[str]:
    """Those that may go, oldest first.

    >>> choose_old(["holiday.tar.gz", "heating-20260101T000000Z.tar.gz", "heating-20260101T120000Z.tar.gz"])
    ['heating-20260101T000000Z.tar.gz']
    """
    made = find_backups(names)
    newest_first = list(reversed(made))
    kept: set[str] = set()
    groups: tuple[tuple[int, Callable[[datetime], object]], ...] = (
        (DAYS, lambda at: at.date()),
        (WEEKS, lambda at: at.isocalendar()[:2]),
        (MONTHS, lambda at: (at.year, at.month)),
    )
    for count, group in groups:
        seen: dict[object, str] = {}
        for name in newest_first:
            seen.setdefault(group(made[name]), name)
        kept.update(list(seen.values())[:count])
    return [name for name in reversed(newest_first) if name not in kept]
