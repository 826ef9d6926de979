"""The journal's file: opening it, seeing that it is damaged, setting it aside.

A damaged file is renamed, never deleted: what can be read of it is still the
owner's data.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path

from readings.cut_file import find_cut

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

_MEMORY = "CREATE TABLE IF NOT EXISTS memory (source TEXT PRIMARY KEY, content BLOB NOT NULL)"
"""What sources know of what they found; a version that does not know it leaves it alone."""

_COLUMNS = {
    "device": "id, kind, name, newest_ms, kept, kept_boot",
    "stream": "id, name, boot",
    "state": "device, stream, seq, taken, time_ms, payload",
    "timeless": "device, stream, seq, boot, taken, payload",
    "memory": "source, content",
}

_PAGE_BYTES = 1024
"""Every commit writes whole pages, and a group is one or two states: measured 6 kB written per state
instead of the 14 kB of SQLite's own 4096. An SD card lives longer on it."""

_BUSY_S = 2.0
_WAL_LIMIT = 4_000_000


class DamagedError(Exception):
    """The file is not a journal that can be gone on with."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open the journal's file, or begin a new one.

    Raises:
        DamagedError: What is there cannot be gone on with.
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


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is damaged; not that the disk is full or away.

    >>> is_damage(sqlite3.OperationalError("disk I/O error"))
    False
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return (
        isinstance(error, DamagedError | UnicodeDecodeError)
        or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        # Python's own words for a text that is none; they come without a code.
        or (isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error))
    )


def set_aside(path: Path) -> Path:
    """Rename the file, with what belongs to it, to a name that is free; say which.

    Raises:
        OSError: It cannot be renamed.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for ending in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version not in {0, VERSION} or (version == 0 and tables):
        raise DamagedError(f"expected a journal of version {VERSION}, got version {version}")
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    if version == 0:
        connection.executescript(_SCHEMA)
    connection.execute(_MEMORY)
    for table, columns in _COLUMNS.items():
        try:
            connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608  # our own names
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise DamagedError(str(error)) from error
            raise
