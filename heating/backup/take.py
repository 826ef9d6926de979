"""Taking a backup while everything goes on."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from heating.backup.archive import write_archive
from heating.backup.contents import FORMAT, PARTS, Head
from heating.backup.rotation import choose_old, name_backup
from heating.backup.settings import BackupSettings
from heating.backup.snapshot import block_files, copy_database
from heating.errors import CommandError
from readings.release import VERSION

_log = logging.getLogger(__name__)

CONFIG = "config.toml"
SNAPSHOTS = "snapshots"
DATABASES = frozenset({"store", "journal", "grafana"})


def take_backup(
    settings: BackupSettings,
    output: Path | None,
    now: datetime,
    snapshot: Callable[[], str],
    tell: Callable[[str], None] = lambda _part: None,
) -> tuple[Path, list[str]]:
    """Write a backup.

    Args:
        settings: Where everything is.
        output: The file; without it one more in the folder of backups, and the oldest go.
        now: The time.
        snapshot: Has Prometheus make a snapshot and gives its name.
        tell: Is told which part has its turn.

    Returns:
        The file, and the parts that are in it.

    Raises:
        CommandError: Something could not be read or written; there is no new backup then.
    """
    path = output or settings.folder / name_backup(now)
    if path.exists():
        raise CommandError(f"{path}: is there already")
    head = Head(format=FORMAT, version=VERSION, made=now.isoformat(timespec="seconds"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the backup, where there is room, and not in a memory that calls itself /tmp.
        with tempfile.TemporaryDirectory(prefix=".taking-", dir=path.parent) as stage, ExitStack() as held:
            files = list(_gather(settings, Path(stage), held, snapshot, tell))
            tell("writing")
            write_archive(path, head, files)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error}") from error
    if output is None:
        for name in choose_old(one.name for one in settings.folder.iterdir()):
            (settings.folder / name).unlink(missing_ok=True)
    taken = {name.partition("/")[0] for name, _ in files}
    return path, [part for part in PARTS if part in taken]


def _gather(
    settings: BackupSettings,
    stage: Path,
    held: ExitStack,
    snapshot: Callable[[], str],
    tell: Callable[[str], None],
) -> Iterator[tuple[str, Path]]:
    yield f"config/{CONFIG}", settings.config
    for name in settings.also:
        beside = settings.config.parent / name
        if not beside.exists():
            raise CommandError(f"{beside}: there is no such file, and [backup] also names it")
        for file in sorted(beside.rglob("*")) if beside.is_dir() else [beside]:
            if file.is_file():
                yield f"config/{file.relative_to(settings.config.parent).as_posix()}", file
    for part in PARTS:
        if part not in settings.places:
            continue
        place = settings.places[part]
        tell(part)
        if part == "prometheus":
            folder = held.enter_context(_snapshot_of(place, snapshot))
            yield from ((f"{part}/{name}", file) for name, file in block_files(folder))
        elif not place.exists():
            # Not there yet: a poller alone has no store, a new one no journal. What was named must be there.
            if part not in {"store", "journal"}:
                raise CommandError(f"{place}: there is no such file, and [backup] names it as {part}")
        elif part in DATABASES:
            copy = stage / place.name
            copy_database(place, copy)
            yield f"{part}/{place.name}", copy
        else:
            # mosquitto writes a new file and renames it, so an open one stays as it is.
            copy = stage / place.name
            copy.write_bytes(place.read_bytes())
            yield f"{part}/{place.name}", copy


@contextmanager
def _snapshot_of(data: Path, snapshot: Callable[[], str]) -> Iterator[Path]:
    """Prometheus' snapshot, which is removed at the end: its links would keep old blocks on the disk for ever."""
    name = snapshot()
    folder = data / SNAPSHOTS / name
    if "/" in name or not folder.is_dir():
        raise CommandError(
            f"{folder}: Prometheus made a snapshot, but not there: is backup.prometheus_data its folder?"
        )
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            _log.warning("%s: the snapshot cannot be removed: %s", folder, error)
