"""The SQLite file that journal and store each are: whether it is whole and ours, and what becomes of one that is not.

A cut is to be noticed before anything is written. SQLite reads what is missing
at a file's end as zeros, and some zeros are valid rows; in a file without a
header it begins anew, and deletes the log beside it. A kill within a
checkpoint leaves a short file too; then all that is missing is still in the
write-ahead log.

A damaged file is renamed, never deleted: what can be read of it is still the
owner's data. One of a later release is whole, and left alone.
"""

import sqlite3
import struct
from contextlib import suppress
from pathlib import Path

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FILES = ("", "-wal", "-shm")


class DamagedError(Exception):
    """The file cannot be gone on with."""


class LaterVersionError(Exception):
    """The file is that of a later release, which knows what to do with it."""


def find_cut(path: Path) -> str:
    """What is missing of a file that is not open; empty when it is whole, or not there yet.

    Raises:
        OSError: It cannot be read.
    """
    log = _beside(path, "-wal")
    size = path.stat().st_size if path.exists() else 0
    if size == 0 and not log.exists():
        return ""
    if size < _HEADER_BYTES:
        return "the file ends in its header"
    with path.open("rb") as file:
        magic, page_bytes, pages = struct.unpack(">16sH10xI", file.read(32))
    if magic != _MAGIC:
        return "it is no SQLite file"
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    missing = range(size // max(page_bytes, 1) + 1, pages + 1)
    logged = _pages_in_log(log, page_bytes) if missing else set()
    if all(page in logged for page in missing):
        return ""
    return f"the file ends after {size} of {pages * page_bytes} bytes"


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is damaged; not that the disk is full or away.

    >>> is_damage(sqlite3.OperationalError("disk I/O error"))
    False
    """
    return (
        isinstance(error, DamagedError | UnicodeDecodeError)
        # The low byte is what happened, the rest says where.
        or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
        # Python's own words for a text that is none; they come without a code.
        or (isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error))
    )


def set_aside(path: Path) -> Path:
    """Rename a file, with what belongs to it, to a name that is free; say which.

    The file goes first: after a kill in between, its log is seen to have lost
    it, while a file without its log would pass for an older one that is whole.

    Raises:
        OSError: It cannot be renamed.
    """
    number = 1
    while any(
        _beside(aside := path.with_name(f"{path.name}.damaged-{number}"), one).exists() for one in _FILES
    ):
        number += 1
    for ending in _FILES:
        with suppress(FileNotFoundError):
            _beside(path, ending).rename(_beside(aside, ending))
    return aside


def read_version(connection: sqlite3.Connection, newest: int) -> int:
    """The version of the tables; 0 where there are none yet.

    Args:
        connection: The open file.
        newest: The newest version that this release knows.

    Raises:
        LaterVersionError: It is a later one.
        DamagedError: It is none that ever was.
        sqlite3.Error: It cannot be read.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version < 0 or (version == 0 and tables):
        raise DamagedError(f"it has {tables} tables and the version {version}")
    if version > newest:
        raise LaterVersionError(
            f"expected tables of version {newest}, it has {version}: "
            "start the release that made it, or name another folder"
        )
    return version


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of the file that hold something; what was freed is used again.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    pages, free, size = (
        connection.execute(f"PRAGMA {what}").fetchone()[0]
        for what in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _pages_in_log(log: Path, page_bytes: int) -> set[int]:
    """The pages that committed transactions have in the log; a frame of an earlier round has another salt."""
    content = log.read_bytes() if log.exists() else b""
    salt = content[16:24]
    committed: set[int] = set()
    pending: set[int] = set()
    for start in range(32, len(content) - page_bytes - 23, 24 + page_bytes):
        page, ends_commit = struct.unpack_from(">II", content, start)
        if content[start + 8 : start + 16] != salt:
            break
        pending.add(page)
        if ends_commit:
            committed |= pending
    return committed
