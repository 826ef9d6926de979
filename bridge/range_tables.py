"""Ranges of numbers in the tables `had`, `wanted` and `done`."""

from itertools import groupby
from operator import itemgetter

from bridge.database import Sql
from bridge.ranges import Range, Ranges


def read_ranges(sql: Sql, table: str, stream: int) -> Ranges:
    """The ranges of a stream in `had`, `wanted` or `done`."""
    return tuple(
        sql.execute(f"SELECT first, last FROM {table} WHERE stream = ? ORDER BY first", (stream,))  # noqa: S608 - one of three tables of ours
    )


def read_all_ranges(sql: Sql, table: str, oldest: int) -> dict[int, Ranges]:
    """The same of every stream from that number on, at once: years of starts leave thousands of them."""
    rows = sql.execute(
        f"SELECT stream, first, last FROM {table} WHERE stream >= ? ORDER BY stream, first",  # noqa: S608 - one of three tables of ours
        (oldest,),
    )
    return {
        stream: tuple((first, last) for _, first, last in own)
        for stream, own in groupby(rows, key=itemgetter(0))
    }


def write_ranges(sql: Sql, table: str, stream: int, old: Ranges, new: Ranges) -> None:
    """Turn the ranges of a stream from what was read into what they are now."""
    before, after = set[Range](old), set[Range](new)
    begins = {first for first, _ in new}
    sql.executemany(
        f"DELETE FROM {table} WHERE stream = ? AND first = ?",  # noqa: S608 - one of three tables of ours
        [(stream, first) for first, _ in old if first not in begins],
    )
    sql.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)",  # noqa: S608 - one of three tables of ours
        [(stream, first, last) for first, last in sorted(after - before)],
    )
