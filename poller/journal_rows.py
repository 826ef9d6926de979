"""The journal's rows as SQL: devices, ranges, states. Every query finds its rows by the primary key."""

import sqlite3
from typing import Any

import msgspec

from readings.database_file import DamagedError
from readings.errors import TopicError
from readings.payload import MAX_LISTED, StreamRange, format_time
from readings.reading import DeviceKey, DeviceState, Kind


def find_device(connection: sqlite3.Connection, key: DeviceKey) -> int | None:
    """The device's row id; `None` when it has no rows."""
    found = connection.execute(
        "SELECT id FROM device WHERE kind = ? AND name = ?", (key.kind.value, key.name)
    ).fetchone()
    return int(found[0]) if found else None


def make_device(connection: sqlite3.Connection, key: DeviceKey) -> int:
    """The device's row id; a new one when it had none."""
    found = find_device(connection, key)
    if found is None:
        made = connection.execute("INSERT INTO device (kind, name) VALUES (?, ?)", (key.kind.value, key.name))
        found = int(made.lastrowid or 0)
    return found


def device_keys(connection: sqlite3.Connection) -> dict[int, DeviceKey]:
    """The devices by row id, without those that only a later version knows: their rows wait for it."""
    rows = connection.execute("SELECT id, kind, name FROM device")
    try:
        return {device: DeviceKey(Kind(kind), name) for device, kind, name in rows if kind in set(Kind)}
    except (TopicError, TypeError) as error:
        raise DamagedError(f"device: {error}") from error


def make_stream(connection: sqlite3.Connection, name: str, boot: str) -> int:
    """The row id of a run's stream; it is written with its first state, so that a start alone writes nothing."""
    connection.execute("INSERT OR IGNORE INTO stream (name, boot) VALUES (?, ?)", (name, boot))
    (found,) = connection.execute("SELECT id FROM stream WHERE name = ?", (name,)).fetchone()
    return int(found)


def taken_times(connection: sqlite3.Connection, device: int, since_ms: int) -> set[int]:
    """The times from one on that states of a device have."""
    rows = connection.execute(
        "SELECT time_ms FROM state WHERE device = ? AND time_ms >= ?", (device, since_ms)
    )
    return {time_ms for (time_ms,) in rows}


def next_free(time_ms: int, taken: set[int]) -> int:
    """The first time from one on that is not taken.

    >>> next_free(5, {4, 5, 6, 9})
    7
    """
    while time_ms in taken:
        time_ms += 1
    return time_ms


def insert_state(
    connection: sqlite3.Connection,
    key: DeviceKey,
    state: DeviceState,
    *,
    stream: int,
    taken: float,
    newest_ms: int | None,
) -> None:
    """Write a state's row in the stream with this row id; its time is `None` as long as it waits for one.

    `newest_ms` is what it says of the newest time that the clock has given.
    """
    device = make_device(connection, key)
    payload = msgspec.json.encode({**state.values, "held": sorted(state.held)}).decode()
    connection.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
        (device, stream, state.seq, taken, state.time_ms, payload),
    )
    connection.execute(
        "UPDATE device SET newest_ms = max(newest_ms, coalesce(?, 0)) WHERE id = ?", (newest_ms, device)
    )


def ranges(connection: sqlite3.Connection, key: DeviceKey) -> tuple[StreamRange, ...]:
    """The rows with a time, oldest stream first, of the newest streams."""
    rows = connection.execute(
        """
        SELECT name, first, last FROM (
            SELECT stream.id, stream.name,
                (SELECT seq FROM state WHERE device = :device AND stream = stream.id
                    AND time_ms IS NOT NULL ORDER BY seq LIMIT 1) AS first,
                (SELECT seq FROM state WHERE device = :device AND stream = stream.id
                    AND time_ms IS NOT NULL ORDER BY seq DESC LIMIT 1) AS last
            FROM stream)
        WHERE first IS NOT NULL ORDER BY id DESC LIMIT :limit
        """,
        {"device": find_device(connection, key), "limit": MAX_LISTED},
    )
    return tuple(StreamRange(*row) for row in rows)[::-1]


def states(
    connection: sqlite3.Connection, key: DeviceKey, stream: str, first: int, last: int
) -> tuple[DeviceState, ...]:
    """The states `first` to `last` of a stream, as far as they have a time."""
    rows = connection.execute(
        """
        SELECT seq, time_ms, payload FROM state
        WHERE device = ? AND stream = (SELECT id FROM stream WHERE name = ?)
            AND seq BETWEEN ? AND ? AND time_ms IS NOT NULL ORDER BY seq
        """,
        (find_device(connection, key), stream, first, last),
    )
    return tuple(_read_state(stream, *row) for row in rows)


def remember(connection: sqlite3.Connection, source: str, content: bytes | None) -> None:
    """Write down what a source knows; `None` takes it out."""
    if content is None:
        connection.execute("DELETE FROM memory WHERE source = ?", (source,))
    else:
        connection.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (source, content))


def keep_info(connection: sqlite3.Connection, key: DeviceKey, info: bytes) -> None:
    """Write down what was announced of a device."""
    connection.execute("INSERT OR REPLACE INTO info VALUES (?, ?)", (make_device(connection, key), info))


def infos(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """The row ids of the devices that have rows, each with what was announced of it; empty where that is not known."""
    return connection.execute(
        "SELECT id, CASE WHEN typeof(content) = 'blob' THEN content ELSE x'' END"
        " FROM device LEFT JOIN info ON info.device = device.id"
        " WHERE EXISTS (SELECT 1 FROM state WHERE state.device = device.id)"
    ).fetchall()


def count(connection: sqlite3.Connection) -> int:
    """How many states there are; a device's seqs of one stream have no gaps."""
    (found,) = connection.execute(
        """
        SELECT coalesce(sum(last - first + 1), 0) FROM (
            SELECT (SELECT min(seq) FROM state WHERE device = device.id AND stream = stream.id) AS first,
                   (SELECT max(seq) FROM state WHERE device = device.id AND stream = stream.id) AS last
            FROM device, stream)
        """
    ).fetchone()
    return int(found)


def _read_state(stream: str, seq: int, time_ms: int, payload: str) -> DeviceState:
    try:
        values = msgspec.json.decode(payload, type=dict[str, Any])
        held = frozenset(values.pop("held"))
        format_time(time_ms)  # else whoever sends it finds out that it is none
        return DeviceState(time_ms, stream, seq, values, held)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"state {stream} {seq}: {error}") from error
