"""The file in which the bridge keeps what it must not lose: SQLite, opened with care.

The file is in WAL mode with `synchronous=NORMAL`: a transaction survives every
death of the process and of SQLite's own, and a power cut leaves the file whole
but may take the last seconds of transactions. That is right here, for what it
takes with it is the knowledge of having those states, so they are asked for
again from the poller's journal; and waiting for the disk at each transaction
would wear an SD card for nothing.
"""

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock

from bridge.errors import StoreError
from readings.database_file import (
    DamagedError,
    LaterVersionError,
    find_cut,
    is_damage,
    read_version,
    set_aside,
)

Sql = sqlite3.Connection
"""What a transaction's statements go through."""

_log = logging.getLogger(__name__)

VERSION = 2
"""Of the tables below, kept as SQLite's `user_version`."""

_TABLES = """
CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    newest_ms INTEGER,                -- the latest time that was sent
    before_stream INTEGER,            -- the last row in order that was removed, for the one after it to be judged against
    before_seq INTEGER,
    before_payload BLOB,
    UNIQUE (kind, name)
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device,
    name TEXT NOT NULL,
    place REAL,                       -- its place among the device's streams; NULL until the journal lists it
    info INTEGER,                     -- what it was last announced with; NULL until then
    first INTEGER,                    -- the lowest number that counts; NULL until the journal lists it
    last INTEGER NOT NULL DEFAULT 0,  -- the highest number known of
    UNIQUE (device, name)
);
CREATE TABLE info (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    contract INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE state (
    arrival INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    info INTEGER,                     -- NULL until its stream is announced
    payload BLOB NOT NULL,
    UNIQUE (stream, seq)
);
CREATE TABLE had (                    -- what is not to be stored again
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE wanted (                 -- what is known of, not had, and may still come
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE done (                   -- what of it is not to be sent (again): sent, refused or dropped
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    runs TEXT NOT NULL,               -- [[stream, first, last, stream before, seq before], ...]
    pieces TEXT NOT NULL,             -- [[begin, end], ...] of its samples that are not settled yet; [..., 1]: the receiver may have them
    settled_s REAL,                   -- on the clock that counts from the boot; NULL while it is under way
    aside INTEGER NOT NULL DEFAULT 0  -- 1 while others go before it, because the receiver fails at it
);
CREATE TABLE parked (                 -- states from the future
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,        -- when that was found
    PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL,                       -- NULL is a stale marker
    time_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    resend INTEGER NOT NULL DEFAULT 0 -- 1 once somebody wants it to be sent again
);
CREATE UNIQUE INDEX quarantined_once ON quarantine (device, stream, seq, name, labels);
CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_MIGRATIONS = {
    1: """
CREATE TABLE wanted (
    stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (stream, first)
) WITHOUT ROWID;
ALTER TABLE stream RENAME COLUMN last TO listed;
ALTER TABLE stream ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
UPDATE stream SET last = coalesce(listed, 0);
ALTER TABLE stream DROP COLUMN listed;
ALTER TABLE batch ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
CREATE TABLE parked (
    stream INTEGER NOT NULL, seq INTEGER NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
ALTER TABLE quarantine ADD COLUMN resend INTEGER NOT NULL DEFAULT 0;
DELETE FROM quarantine WHERE id NOT IN (SELECT max(id) FROM quarantine GROUP BY device, stream, seq, name, labels);
CREATE UNIQUE INDEX quarantined_once ON quarantine (device, stream, seq, name, labels);
""",
}
"""What turns the tables of a version into those of the next."""

_PAGE_BYTES = 1024
"""A transaction writes whole pages and changes little in each: small ones write a third of what SQLite's usual 4096 do."""

_LOG_BYTES = 2_000_000
"""What a large transaction leaves of SQLite's log: on a full disk the rest is room. The log comes to half of it anyway."""


class Database:
    """One open file, used by several threads in turns.

    A file that is damaged is set aside under another name and a new one
    begins, as soon as the disk allows it. `generation` counts how often it was
    opened again, for who remembers numbers of the old one.

    Raises:
        StoreError: The file cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = RLock()
        self.generation = 0
        # None while a damaged file could not be set aside, or no new one be made.
        self._connection: Sql | None = self._open()

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Sql]:
        """All or nothing of what is done within; one at a time. Who finds nonsense within raises DamagedError.

        Raises:
            StoreError: The disk refused it, and nothing happened. Where the
                file was damaged, the next transaction finds a new one, or
                tries again to begin it.
        """
        with self._lock:
            sql = self._connection if self._connection is not None else self._reopen()
            try:
                sql.execute("BEGIN IMMEDIATE")
                try:
                    yield sql
                except BaseException:
                    _roll_back(sql)
                    raise
                try:
                    sql.execute("COMMIT")
                except sqlite3.Error:
                    _roll_back(sql)
                    raise
            except (sqlite3.DatabaseError, UnicodeDecodeError, DamagedError) as error:
                if is_damage(error):
                    self._begin_anew(error)
                raise StoreError(f"{self._path}: {error}") from error

    def bytes_on_disk(self) -> int:
        """The size of the file and its log."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def free_bytes(self) -> int:
        """What is free on its disk for a program that is not root's; OSError when the disk is not there."""
        return shutil.disk_usage(self._path.parent).free

    def _open(self) -> Sql:
        """Open the file, or a new one where it is damaged.

        Raises:
            StoreError: The disk does not let it, or it is a later release's.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._connect()
            except (sqlite3.DatabaseError, DamagedError, UnicodeDecodeError) as error:
                if not is_damage(error):
                    raise
                self._set_aside(error)
                return self._connect()
        except LaterVersionError as error:
            raise StoreError(f"{self._path}: {error}") from error
        except (OSError, sqlite3.Error, DamagedError, UnicodeDecodeError) as error:
            raise StoreError(f"{self._path}: cannot be opened: {error}") from error

    def _reopen(self) -> Sql:
        connection = self._connection = self._open()
        self.generation += 1
        return connection

    def _connect(self) -> Sql:
        if cut := find_cut(self._path):
            raise DamagedError(cut)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Sql) -> None:
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise DamagedError(verdict)
        version = read_version(connection, VERSION)
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={VERSION}; COMMIT;")
        else:
            for old in range(version, VERSION):
                connection.executescript(f"BEGIN; {_MIGRATIONS[old]} PRAGMA user_version={old + 1}; COMMIT;")

    def _begin_anew(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        try:
            self._set_aside(error)
        except OSError as trouble:
            raise StoreError(
                f"{self._path}: damaged ({error}), but kept in its place: {trouble}"
            ) from trouble
        self._reopen()

    def _set_aside(self, error: Exception) -> None:
        aside = set_aside(self._path)
        _log.error("%s is damaged (%s); it is kept as %s and a new one begins", self._path, error, aside.name)


def _roll_back(sql: Sql) -> None:
    if sql.in_transaction:  # SQLite itself ends the transaction on some errors
        sql.execute("ROLLBACK")


@contextmanager
def visit(path: Path) -> Iterator[Callable[[], AbstractContextManager[Sql]]]:
    """Use a file that the bridge may have open: it is neither made, mended nor brought up to date.

    Returns:
        How to begin a transaction.

    Raises:
        StoreError: There is no such file, or it is not of this release.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no store yet; the bridge makes it at its first start")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error

    @contextmanager
    def transaction() -> Iterator[Sql]:
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except (sqlite3.Error, DamagedError, LaterVersionError) as error:
            raise StoreError(f"{path}: {error}") from error

    try:
        with transaction() as sql:
            version = read_version(sql, VERSION)
        if version != VERSION:
            raise StoreError(
                f"{path}: expected tables of version {VERSION}, it has {version}: start the bridge once"
            )
        yield transaction
    finally:
        connection.close()
