"""Taking a backup while everything goes on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from heating.backup.archive import write_archive
from heating.backup.contents import FORMAT, PARTS, WHOLE_FOLDERS, Head
from heating.backup.folder import (
    SNAPSHOTS,
    free_bytes,
    give_up_request,
    make_room,
    note_request,
    note_snapshot,
    remove_snapshot,
    rotate,
    stage_in,
)
from heating.backup.rotation import name_backup
from heating.backup.settings import BackupSettings
from heating.backup.snapshot import block_files, copy_database, files_in
from heating.errors import CommandError
from readings.release import VERSION

CONFIG = "config.toml"
DATABASES = frozenset({"store", "journal", "grafana"})


def take_backup(
    settings: BackupSettings,
    output: Path | None,
    now: datetime,
    snapshot: Callable[[], str],
    *,
    tell: Callable[[str], None] = lambda _part: None,
    free: Callable[[Path], int] = free_bytes,
) -> tuple[Path, list[str]]:
    """Write a backup.

    Args:
        settings: Where everything is.
        output: The file; without it one more in the folder of backups, and the oldest go.
        now: The time.
        snapshot: Has Prometheus make a snapshot and gives its name.
        tell: Is told which part has its turn.
        free: How much is free on the disk of a folder, in bytes.

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
        if output is None:
            _see_folder(settings)
        with stage_in(path.parent, settings.places.get("prometheus")) as stage, ExitStack() as held:
            if output is None:
                make_room(settings.folder, _most_bytes(settings), free)
            files = list(_gather(settings, stage, held, snapshot, tell))
            tell("writing")
            write_archive(path, head, files)
        if output is None:
            rotate(settings.folder)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error}") from error
    taken = {name.partition("/")[0] for name, _ in files}
    return path, [part for part in PARTS if part in taken]


def _see_folder(settings: BackupSettings) -> None:
    """Make the folder, or see that one which somebody named is the right one.

    Where its disk is not mounted there is no folder, or an empty one. What is written there is lost with the disk below,
    and hidden once the right one is mounted.
    """
    folder = settings.folder
    if settings.makes_folder:
        folder.mkdir(exist_ok=True)
    elif not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder: is its disk mounted?")
    elif not any(folder.iterdir()):
        raise CommandError(
            f"{folder}: is empty: is its disk mounted? If this is the right folder, put any file into it first"
        )


def _gather(
    settings: BackupSettings,
    stage: Path,
    held: ExitStack,
    snapshot: Callable[[], str],
    tell: Callable[[str], None],
) -> Iterator[tuple[str, Path]]:
    yield f"config/{CONFIG}", settings.config
    for file in _of_the_configuration(settings):
        yield f"config/{file.relative_to(settings.beside).as_posix()}", file
    for part in PARTS:
        if part not in settings.places:
            continue
        place = settings.places[part]
        tell(part)
        if part == "prometheus":
            folder = held.enter_context(_snapshot_of(place, snapshot, stage))
            yield from ((f"{part}/{name}", file) for name, file in block_files(folder))
        elif not place.exists():
            # Not there yet: a poller alone has no store, a new one no journal. What was named must be there.
            if part not in {"store", "journal"}:
                raise CommandError(f"{place}: there is no such file, and [backup] names it as {part}")
        elif part in WHOLE_FOLDERS:
            yield from ((f"{part}/{file.relative_to(place).as_posix()}", file) for file in files_in(place))
        elif part in DATABASES:
            copy = stage / place.name
            copy_database(place, copy)
            yield f"{part}/{place.name}", copy
        else:
            # mosquitto writes a new file and renames it, so an open one stays as it is.
            copy = stage / place.name
            copy.write_bytes(place.read_bytes())
            yield f"{part}/{place.name}", copy


def _of_the_configuration(settings: BackupSettings) -> list[Path]:
    """What belongs to it beside config.toml itself."""
    found: dict[Path, None] = {}
    for name in (*settings.also, *settings.perhaps):
        beside = settings.beside / name
        if beside.exists():
            found.update(dict.fromkeys(files_in(beside) if beside.is_dir() else [beside]))
        elif name in settings.also:
            raise CommandError(f"{beside}: there is no such file, and [backup] also names it")
    return list(found)


def _most_bytes(settings: BackupSettings) -> int:
    """What a backup takes at most: everything as it is, and a copy of each database meanwhile."""
    total = 0
    for part, place in settings.places.items():
        if part in WHOLE_FOLDERS:
            total += sum(_size(one) for one in place.rglob("*") if place / SNAPSHOTS not in one.parents)
        else:
            total += 2 * (_size(place) + _size(place.with_name(f"{place.name}-wal")))
    return total


def _size(file: Path) -> int:
    """0 where there is none: Prometheus removes files whenever it likes."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:
        return 0


@contextmanager
def _snapshot_of(data: Path, snapshot: Callable[[], str], stage: Path) -> Iterator[Path]:
    """Prometheus' snapshot, which is removed at the end."""
    note_request(stage, data)
    try:
        name = snapshot()
    except BaseException:  # also when it is told to end
        give_up_request(stage, data)
        raise
    folder = data / SNAPSHOTS / name
    if not name or "/" in name or not folder.is_dir():
        raise CommandError(
            f"{folder}: Prometheus made a snapshot, but not there: is backup.prometheus_data its folder?"
        )
    note_snapshot(stage, name)
    try:
        yield folder
    finally:
        remove_snapshot(data, name)
