"""The file of a backup: written and read as a stream, so that its size is no matter."""

import grp
import gzip
import hashlib
import io
import os
import pwd
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from heating.backup.contents import (
    HEAD,
    LIST,
    FileEntry,
    Head,
    Listing,
    Rights,
    decode_head,
    decode_listing,
    encode_head,
    encode_listing,
    split_name,
)
from heating.backup.folder import UNFINISHED, give_to_owner
from heating.errors import CommandError

CHUNK = 1 << 20
LARGEST_TEXT = 64 << 20
"""Of head and list: more is no backup."""

QUICK = 1
"""Prometheus' blocks are compressed already; a small machine should not work on them for an hour."""


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def write_archive(path: Path, head: Head, files: Iterable[tuple[str, Path]]) -> None:
    """Write a backup that only its owner can read; it appears under its name when it is whole and checked.

    Args:
        path: Where.
        head: What it says of itself.
        files: The name of each member and the file that goes into it.

    Raises:
        CommandError: It cannot be written, or cannot be read again as it was written.
    """
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            _write(raw, head, files)
            raw.flush()
            os.fsync(raw.fileno())
        read_archive(unfinished, lambda _name, source: drain(source))
        give_to_owner(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write(raw: IO[bytes], head: Head, files: Iterable[tuple[str, Path]]) -> None:
    listing: dict[str, FileEntry] = {}
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=QUICK, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        _add_text(tar, HEAD, encode_head(head))
        for name, file in files:
            with file.open("rb") as source:
                hashed = _Hashed(source)
                state = os.fstat(source.fileno())
                member = tarfile.TarInfo(name)
                member.size = state.st_size
                member.mode = 0o600
                tar.addfile(member, hashed)
                rights = _rights(state) if split_name(name, name)[0] == "config" else None
                listing[name] = FileEntry(member.size, hashed.sha256.hexdigest(), rights)
        _add_text(tar, LIST, encode_listing(listing))


def _rights(state: os.stat_result) -> Rights:
    """By name, since a user of that name may have another number on the next machine."""
    try:
        user = pwd.getpwuid(state.st_uid).pw_name
    except KeyError:
        user = str(state.st_uid)
    try:
        group = grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        group = str(state.st_gid)
    return Rights(stat.S_IMODE(state.st_mode) & 0o777, user, group)


def _add_text(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def read_archive(path: Path, take: Callable[[str, IO[bytes]], None]) -> Listing:
    """Read a backup from start to end and check all of it.

    Args:
        path: The file.
        take: Is given the name of each file, which is a safe one, and what is in it, to be read to its end.

    Raises:
        CommandError: It is none of ours, is cut off, or was changed.
    """
    place = str(path)
    found: dict[str, FileEntry] = {}
    with (
        _problems_named(place),
        _open(path, place) as raw,
        gzip.GzipFile(fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        members = _members(tar, place)
        name, source = next(members, ("", io.BytesIO()))
        if name != HEAD:
            raise CommandError(f"{place}: this is no backup of heating")
        decode_head(source.read(LARGEST_TEXT), place)
        listing: Listing | None = None
        for name, source in members:
            if listing is not None:
                raise CommandError(f"{place}: something was added to it: nothing was restored")
            if name == LIST:
                listing = decode_listing(source.read(LARGEST_TEXT), place)
                continue
            split_name(name, place)
            hashed = _Hashed(source)
            take(name, hashed)  # type: ignore[arg-type]  # it only reads
            if name in found:
                raise CommandError(f"{place}: holds {name} twice: nothing was restored")
            found[name] = FileEntry(source.tell(), hashed.sha256.hexdigest())
        while packed.read(CHUNK):
            pass
    if listing is None:
        raise CommandError(f"{place}: it is cut off: nothing was restored")
    promised = {name: msgspec.structs.replace(one, rights=None) for name, one in listing.items()}
    if found != promised:
        wrong = min(name for name, _ in set(found.items()) ^ set(promised.items()))
        raise CommandError(
            f"{place}: {wrong} is not as it was when the backup was made: nothing was restored"
        )
    return listing


def _open(path: Path, place: str) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise CommandError(f"{place}: cannot be read: {error.strerror}") from error


def _members(tar: tarfile.TarFile, place: str) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        source = tar.extractfile(member) if member.isreg() else None
        if source is None:
            raise CommandError(f"{place}: {member.name!r} is no file: nothing was restored")
        yield member.name, source


@contextmanager
def _problems_named(place: str) -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile as error:
        raise CommandError(f"{place}: this is no backup of heating, or it was changed ({error})") from error
    except (EOFError, tarfile.TarError, zlib.error) as error:
        raise CommandError(
            f"{place}: it is cut off or was changed ({error}): nothing was restored"
        ) from error


def drain(source: IO[bytes]) -> None:
    """Read it to its end, for nothing."""
    while source.read(CHUNK):
        pass
