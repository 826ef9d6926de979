"""Room on the disk that is kept for sending.

A store that fills its disk to the last byte could not even write down what it
sends, nor remove what it sent: it would stay full for ever. So it takes no
more states while there is still room for that.
"""

import shutil
from collections.abc import Callable

from bridge.database import Sql
from bridge.errors import StoreError

SPARE_BYTES = 3_000_000
"""Three times SQLite's log, which holds what is changed until it is in the file."""


def bytes_free(file: str) -> int:
    """What the disk of a file has left.

    Raises:
        StoreError: There is no such file.
    """
    try:
        return shutil.disk_usage(file).free
    except OSError as error:
        raise StoreError(f"{file}: {error}") from error


def has_room(sql: Sql, on_disk: Callable[[str], int] = bytes_free) -> bool:
    """Whether states may come in; what was removed from the store is room within its file.

    Raises:
        StoreError: The file is gone.
    """
    (_, _, file) = sql.execute("PRAGMA database_list").fetchone()
    free = on_disk(file)
    if free >= SPARE_BYTES:
        return True
    (pages,) = sql.execute("PRAGMA freelist_count").fetchone()
    (size,) = sql.execute("PRAGMA page_size").fetchone()
    return bool(free + pages * size >= SPARE_BYTES)
