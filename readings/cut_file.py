"""Finds out whether an SQLite file was cut; journal and store are both to notice it before they write.

SQLite reads what is missing at a file's end as zeros, and some zeros are valid
rows; in a file without a header it begins anew, and deletes the log beside it.
A kill within a checkpoint leaves a short file too; then all that is missing is
still in the write-ahead log.
"""

import struct
from pathlib import Path

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"


def find_cut(path: Path) -> str:
    """What is missing of a file that is not open; empty when it is whole, or not there yet.

    Raises:
        OSError: It cannot be read.
    """
    log = path.with_name(path.name + "-wal")
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
