"""A consistent copy of what programs write while it is taken."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from heating.errors import CommandError

_SHARED = 0x40000002, 510
"""The bytes of an SQLite file on which everybody who reads holds a lock, and with a log (WAL) as long as it is open."""


def is_open(path: Path) -> bool:
    """Whether another program has an SQLite file open."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED[1], _SHARED[0])
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one moment, and check the copy.

    All of it is one step: the copy is begun anew when the program writes between two. Programs that keep a log
    beside the file (WAL) write on meanwhile.

    Raises:
        CommandError: It cannot be read, or is damaged.
    """
    try:
        try:
            _copy(source, target, "mode=ro")
        except sqlite3.OperationalError:
            # Whoever reads a file with a log wants an index beside it, which is not there when no program has the
            # file open, and cannot be made where nothing may be written. Then the file alone is all there is.
            if _has_log(source):
                raise
            before = source.stat()
            target.unlink(missing_ok=True)
            _copy(source, target, "mode=ro&immutable=1")
            now = source.stat()
            if _has_log(source) or (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
                raise CommandError(f"{source}: was opened while it was copied: try again") from None
        check_database(target)
    except (OSError, sqlite3.Error) as error:
        raise CommandError(f"{source}: cannot be backed up: {error}") from error


def _copy(source: Path, target: Path, how: str) -> None:
    reading = sqlite3.connect(f"{source.absolute().as_uri()}?{how}", uri=True, timeout=30)
    try:
        writing = sqlite3.connect(target)
        try:
            reading.backup(writing)
            # One file then: nothing of it is in a log beside it.
            writing.execute("PRAGMA journal_mode=DELETE")
        finally:
            writing.close()
    finally:
        reading.close()


def _has_log(source: Path) -> bool:
    return source.with_name(f"{source.name}-wal").exists()


def check_database(path: Path) -> None:
    """See that an SQLite file is whole; it raises CommandError when not."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise CommandError(f"{path}: is no whole database: {error}") from error
    if verdict != "ok":
        raise CommandError(f"{path}: is damaged: {verdict}")


def block_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a snapshot of Prometheus, each with its path within; each block is looked at.

    Raises:
        CommandError: A block lacks what every block has.
    """
    for block in sorted(folder.iterdir()):
        try:
            meta = json.loads((block / "meta.json").read_bytes())
            is_whole = meta["ulid"] == block.name and (block / "index").stat().st_size > 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{block}: is no whole block of Prometheus: {error}") from error
        if not is_whole:
            raise CommandError(f"{block}: is no whole block of Prometheus")
        for file in files_in(block):
            yield file.relative_to(folder).as_posix(), file


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, in order; `rglob` would pass over what may not be read.

    Raises:
        CommandError: One of its folders cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise CommandError(f"{error.filename}: cannot be read: {error.strerror}") from error

    found = (Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(file for file in found if file.is_file())
