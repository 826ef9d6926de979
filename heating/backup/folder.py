"""The folder of backups: one at a time, room for the next one, and nothing left of one that was cut short."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from heating.backup.rotation import choose_old, find_backups
from heating.errors import CommandError

_log = logging.getLogger(__name__)

STAGE = ".heating-backup-"
UNFINISHED = ".unfinished"
SNAPSHOTS = "snapshots"
_NAME, _BEFORE = "snapshot", "snapshots-before"
"""Files of a stage: which snapshot is to be removed, and until its name is known, which there were before."""

RESERVE_BYTES = 1_000_000_000
"""What a backup leaves free: the alert DiskFilling begins there."""


def free_bytes(folder: Path) -> int:
    """How much a user may still write there."""
    return shutil.disk_usage(folder).free


@contextmanager
def stage_in(folder: Path, prometheus: Path | None) -> Iterator[Path]:
    """A place for copies beside the backup, where there is room, and not in a memory that calls itself /tmp.

    Args:
        folder: Of the backup.
        prometheus: Prometheus' folder, in which a backup that was cut short has left a snapshot.

    Raises:
        CommandError: Another backup is being written there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        _clean(folder, prometheus)
        with tempfile.TemporaryDirectory(prefix=STAGE, dir=folder) as stage:
            yield Path(stage)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CommandError(f"{folder}: another backup is being written there") from error
    except OSError as error:
        _log.debug("%s: cannot be locked: %s", folder, error)  # some network drives cannot


def _clean(folder: Path, prometheus: Path | None) -> None:
    """Take away what a loss of power or a kill left of an earlier one."""
    for stage in folder.glob(f"{STAGE}*"):
        if prometheus is not None and (name := _noted(stage, prometheus)):
            remove_snapshot(prometheus, name)
        shutil.rmtree(stage)
    for file in folder.glob(f".*{UNFINISHED}"):
        file.unlink()


def note_request(stage: Path, prometheus: Path) -> None:
    """Write down which snapshots there are before one is asked for: an answer may never come."""
    with (stage / _BEFORE).open("wb") as file:
        file.write(msgspec.json.encode(_snapshots(prometheus)))
        file.flush()
        os.fsync(file.fileno())


def note_snapshot(stage: Path, name: str) -> None:
    """Write down which snapshot is to be removed, for the backup after this one."""
    (stage / _NAME).write_bytes(msgspec.json.encode(name))


def give_up_request(stage: Path, prometheus: Path) -> None:
    """Remove what was made of a request that nobody answered, and note it for the next backup too.

    Prometheus may still be at work on it.
    """
    if name := _noted(stage, prometheus):
        remove_snapshot(prometheus, name)
        (left := stage.with_name(f"{STAGE}{name}")).mkdir()
        note_snapshot(left, name)


def _noted(stage: Path, prometheus: Path) -> str:
    """The name; of a request without an answer, the first one since: later ones are somebody else's."""
    # A loss of power may have left a file without what was in it.
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode((stage / _NAME).read_bytes(), type=str)
    with suppress(FileNotFoundError, msgspec.DecodeError):
        before = msgspec.json.decode((stage / _BEFORE).read_bytes(), type=set[str])
        return min(set(_snapshots(prometheus)) - before, default="")
    return ""


def _snapshots(prometheus: Path) -> list[str]:
    """Their names, which begin with the time."""
    with suppress(FileNotFoundError):
        return [one.name for one in (prometheus / SNAPSHOTS).iterdir()]
    return []


def remove_snapshot(prometheus: Path, name: str) -> None:
    """Its links would keep old blocks on the disk for ever."""
    folder = prometheus / SNAPSHOTS / name
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s: the snapshot cannot be removed: %s", folder, error)


def make_room(folder: Path, needed: int, free: Callable[[Path], int] = free_bytes) -> None:
    """See to it that a backup has room, and the disk some more afterwards; the oldest go for it, the newest stays.

    Args:
        folder: Of the backups.
        needed: What it takes at most, in bytes.
        free: How much is free on the disk of a folder.

    Raises:
        CommandError: There would be too little; nothing was removed then.
    """
    lacking = needed + RESERVE_BYTES - free(folder)
    backups = list(find_backups(one.name for one in folder.iterdir()))
    chosen: list[Path] = []
    for path in (folder / name for name in backups[:-1]):
        if lacking <= 0:
            break
        lacking -= path.stat().st_size
        chosen.append(path)
    if lacking > 0:
        raise CommandError(
            f"{folder}: a backup may take {needed / 1e6:.0f} MB and leaves {RESERVE_BYTES / 1e6:.0f} MB free: "
            f"{lacking / 1e6:.0f} MB are missing. Write to another disk"
        )
    for path in chosen:
        _log.warning("%s: removed, there is no room for it and another one", path)
        path.unlink()


def rotate(folder: Path) -> None:
    """Let those go that are neither of the last days nor weeks nor months."""
    for name in choose_old(one.name for one in folder.iterdir()):
        (folder / name).unlink(missing_ok=True)


def give_to_owner(file: Path) -> None:
    """Give it to whom the folder belongs: what root wrote for a person shall be theirs to copy."""
    if os.geteuid() != 0:
        return
    owner = file.parent.stat()
    try:
        os.chown(file, owner.st_uid, owner.st_gid)
    except OSError as error:
        _log.debug("%s: its owner cannot be set: %s", file, error)  # a stick has no owners
