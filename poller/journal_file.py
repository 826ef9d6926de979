"""The journal's file: its tables, and opening it."""

import sqlite3
from pathlib import Path

from readings.database_file import DamagedError, find_cut, read_version

VERSION = 1

_SCHEMA = f"""
BEGIN;
CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    newest_ms INTEGER NOT NULL DEFAULT 0,
    kept BLOB,
    kept_boot TEXT,
    UNIQUE (kind, name)
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    boot TEXT NOT NULL
);
CREATE TABLE state (
    device INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    taken REAL NOT NULL,
    time_ms INTEGER,
    payload TEXT NOT NULL,
    PRIMARY KEY (device, stream, seq)
);
CREATE TABLE timeless (device TEXT, stream TEXT, seq INTEGER, boot TEXT, taken REAL, payload TEXT);
PRAGMA user_version = {VERSION};
COMMIT;
"""

_LATER = (
    "CREATE TABLE IF NOT EXISTS memory (source TEXT PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS info (device INTEGER PRIMARY KEY, content BLOB NOT NULL)",
)
"""What sources know of what they found, and what was last announced of each device: it may be gone when its rows
are asked for. A version that does not know them leaves them alone."""

_COLUMNS = {
    "device": "id, kind, name, newest_ms, kept, kept_boot",
    "stream": "id, name, boot",
    "state": "device, stream, seq, taken, time_ms, payload",
    "timeless": "device, stream, seq, boot, taken, payload",
    "memory": "source, content",
    "info": "device, content",
}

_PAGE_BYTES = 1024
"""Every commit writes whole pages, and a group is one or two states: measured 6 kB written per state
instead of the 14 kB of SQLite's own 4096. An SD card lives longer on it."""

_BUSY_S = 2.0
_WAL_LIMIT = 4_000_000


def open_file(path: Path) -> sqlite3.Connection:
    """Open the journal's file, or begin a new one.

    Raises:
        DamagedError: What is there cannot be gone on with.
        LaterVersionError: It is a later release's.
        sqlite3.Error: The disk does not let it be opened.
        OSError: The same, of its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if cut := find_cut(path):
        raise DamagedError(cut)
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    version = read_version(connection, VERSION)
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    if version == 0:
        connection.executescript(_SCHEMA)
    for table in _LATER:
        connection.execute(table)
    for table, columns in _COLUMNS.items():
        try:
            connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608  # our own names
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise DamagedError(str(error)) from error
            raise
