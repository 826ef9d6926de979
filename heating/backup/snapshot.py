"""A consistent copy of what programs write while it is taken."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from heating.errors import CommandError

PAGES = 4096
"""How many pages of a database are copied before its program has its turn."""


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one moment, and check the copy.

    Raises:
        CommandError: It cannot be read, or is damaged.
    """
    try:
        reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            writing = sqlite3.connect(target)
            try:
                reading.backup(writing, pages=PAGES)
                # One file then: nothing of it is in a log beside it.
                writing.execute("PRAGMA journal_mode=DELETE")
            finally:
                writing.close()
        finally:
            reading.close()
        check_database(target)
    except sqlite3.Error as error:
        raise CommandError(f"{source}: cannot be backed up: {error}") from error


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
        for file in sorted(block.rglob("*")):
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file
