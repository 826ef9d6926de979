"""Upkeep of the journal's rows: giving the waiting ones their time, taking out the oldest.

Everything here runs inside a transaction of the caller's, and finds its rows
by the primary key (device, stream, seq), never by reading the whole file.
"""

import sqlite3
from collections.abc import Iterator

from poller import journal_rows as rows_of
from poller.walltime import WallTime

CHUNK = 500
"""Rows that one step takes out of a file that is too large."""


def newest_ms(connection: sqlite3.Connection) -> int:
    """The newest time that any row ever had; 0 when there was none."""
    (newest,) = connection.execute("SELECT coalesce(max(newest_ms), 0) FROM device").fetchone()
    return int(newest)


def give_times(connection: sqlite3.Connection, boot: str, clock: WallTime) -> None:
    """Give this boot's waiting rows, the last of their streams, their wall time."""
    for device, stream, waiting_from in _waiting(connection, "boot = ?", boot):
        waiting = [
            (seq, round(clock.offset_ms + taken * 1000))
            for seq, taken in connection.execute(
                "SELECT seq, taken FROM state WHERE device = ? AND stream = ? AND seq >= ? ORDER BY seq",
                (device, stream, waiting_from),
            )
        ]
        used = rows_of.taken_times(connection, device, min(time_ms for _, time_ms in waiting))
        for seq, time_ms in waiting:
            free = rows_of.next_free(time_ms, used)
            used.add(free)
            connection.execute(
                "UPDATE state SET time_ms = ? WHERE device = ? AND stream = ? AND seq = ?",
                (free, device, stream, seq),
            )
        connection.execute(
            "UPDATE device SET newest_ms = max(newest_ms, (SELECT max(time_ms) FROM state"
            " WHERE device = ? AND stream = ? AND seq >= ?)) WHERE id = ?",
            (device, stream, waiting_from, device),
        )


def set_timeless_aside(connection: sqlite3.Connection, boot: str) -> int:
    """Move the rows of ended boots that never got a time out of the way; say how many."""
    moved = 0
    for place in list(_waiting(connection, "boot != ?", boot)):
        connection.execute(
            "INSERT INTO timeless SELECT kind || '/' || device.name, stream.name, seq, boot, taken, payload"
            " FROM state, device, stream WHERE state.device = ? AND state.stream = ? AND seq >= ?"
            " AND device.id = state.device AND stream.id = state.stream",
            place,
        )
        moved += connection.execute(
            "DELETE FROM state WHERE device = ? AND stream = ? AND seq >= ?", place
        ).rowcount
    return moved


def prune_age(connection: sqlite3.Connection, oldest_ms: int) -> dict[int, int]:
    """Delete each device's first rows as far as they are older; say how many per device id."""
    deleted: dict[int, int] = {}
    for (device,) in connection.execute("SELECT id FROM device").fetchall():
        for (stream,) in connection.execute("SELECT id FROM stream ORDER BY id").fetchall():
            young = connection.execute(
                "SELECT seq FROM state WHERE device = ? AND stream = ?"
                " AND (time_ms IS NULL OR time_ms >= ?) ORDER BY seq LIMIT 1",
                (device, stream, oldest_ms),
            ).fetchone()
            gone = connection.execute(
                "DELETE FROM state WHERE device = ? AND stream = ? AND seq < ?",
                (device, stream, young[0] if young else 1 << 62),
            ).rowcount
            if gone:
                deleted[device] = deleted.get(device, 0) + gone
            if young:
                break
    return deleted


def prune_oldest(connection: sqlite3.Connection) -> tuple[int | None, int]:
    """Delete some of the oldest rows, first those without hope of a time; say whose, and how many."""
    gone = connection.execute(
        "DELETE FROM timeless WHERE rowid IN (SELECT rowid FROM timeless ORDER BY rowid LIMIT ?)", (CHUNK,)
    ).rowcount
    if gone:
        return None, gone
    fronts = [
        connection.execute(
            "SELECT coalesce(time_ms, 1 << 62), device, stream, seq FROM state WHERE device = ?"
            " ORDER BY stream, seq LIMIT 1",
            device,
        ).fetchone()
        for device in connection.execute("SELECT id FROM device").fetchall()
    ]
    oldest = min(filter(None, fronts), default=None)
    if oldest is None:
        return None, 0
    _, device, stream, seq = oldest
    gone = connection.execute(
        "DELETE FROM state WHERE device = ? AND stream = ? AND seq < ?", (device, stream, seq + CHUNK)
    ).rowcount
    return int(device), gone


def forget_empty_streams(connection: sqlite3.Connection, current: str) -> None:
    """Delete the names of ended streams that have no row left."""
    connection.execute(
        "DELETE FROM stream WHERE name != ? AND NOT EXISTS (SELECT 1 FROM device"
        " JOIN state ON state.device = device.id AND state.stream = stream.id)",
        (current,),
    )


def _waiting(connection: sqlite3.Connection, whose: str, boot: str) -> Iterator[tuple[int, int, int]]:
    """Device, stream and first seq of the rows without time; they are the last of their stream."""
    places = connection.execute(
        f"SELECT device.id, stream.id FROM device, stream WHERE {whose}",  # noqa: S608  # one of two constants
        (boot,),
    ).fetchall()
    for device, stream in places:
        timed = connection.execute(
            "SELECT seq FROM state WHERE device = ? AND stream = ? AND time_ms IS NOT NULL"
            " ORDER BY seq DESC LIMIT 1",
            (device, stream),
        ).fetchone()
        first = connection.execute(
            "SELECT seq FROM state WHERE device = ? AND stream = ? AND seq > ? ORDER BY seq LIMIT 1",
            (device, stream, timed[0] if timed else 0),
        ).fetchone()
        if first:
            yield device, stream, first[0]
