"""Putting a backup back: all of it is checked before anything is touched, and what is there is never deleted."""

import filecmp
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from heating.backup.archive import CHUNK, drain, read_archive
from heating.backup.contents import WHOLE_FOLDERS, Listing, Rights, split_name
from heating.backup.settings import read_settings
from heating.backup.snapshot import check_database, is_open
from heating.backup.take import CONFIG, DATABASES
from heating.errors import CommandError

_log = logging.getLogger(__name__)

RESTORING = ".restoring"
BEFORE = "before-restore"


def restore_backup(
    path: Path,
    config: Path,
    environ: Mapping[str, str],
    *,
    force: bool,
    resend: bool = False,
    tell: Callable[[str], None] = lambda _part: None,
) -> list[Path]:
    """Put a backup back to where its configuration says.

    Args:
        path: The backup.
        config: Where the configuration file is to be; the rest follows from what it says.
        environ: The environment, whose `HEATING_…` variables override keys.
        force: Whether what is there may be moved aside.
        resend: Whether the bridge's store is left out: it knows what Prometheus had, which may be more than
            what the backup of Prometheus has. The bridge then asks for all that the journal holds.
        tell: Is told which part has its turn.

    Returns:
        What was put back.

    Raises:
        CommandError: The backup is none, is damaged, or something is in the way. Nothing was changed then.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="heating-restore-") as read_first:
            tell("checking")
            found = _read_config(path, Path(read_first))
            targets = _targets(Path(read_first), config, found, environ)
            for name in [
                name for name, target in targets.items() if _is_the_same(Path(read_first), name, target)
            ]:
                del targets[name]
        in_the_way = [target for target in targets.values() if _is_there(target)]
        for part in DATABASES & targets.keys():
            if is_open(targets[part]):
                raise CommandError(f"{targets[part]}: a program has it open; stop the programs first")
        unwanted = targets.pop("store", None) if resend else None
        if in_the_way and not force:
            names = ", ".join(map(str, in_the_way))
            raise CommandError(
                f"{names}: there already; nothing was restored. --force moves what is there aside"
            )
        if unwanted is not None:
            _set_aside(unwanted)
        return _put_back(path, targets, found, tell)
    except OSError as error:
        raise CommandError(f"{path}: cannot be put back: {error}") from error


def _read_config(path: Path, folder: Path) -> Listing:
    """Check everything, and read the configuration, which says where the rest belongs."""

    def take(name: str, source: IO[bytes]) -> None:
        part, rest = split_name(name, str(path))
        if part == "config":
            _write(folder / rest, source)
        else:
            drain(source)

    found = read_archive(path, take)
    if f"config/{CONFIG}" not in found:
        raise CommandError(f"{path}: holds no configuration")
    return found


def _targets(read_first: Path, config: Path, found: Listing, environ: Mapping[str, str]) -> dict[str, Path]:
    """Where each file of the configuration and each other part goes, by its name in the backup."""
    settings = read_settings(read_first / CONFIG, environ)
    targets: dict[str, Path] = {}
    for name in found:
        part, rest = split_name(name, str(config))
        if part == "config":
            targets[name] = config if rest == CONFIG else _at_home(settings.beside / rest, read_first, config)
        elif part not in settings.places:
            raise CommandError(f"{config}: [backup] names no place for {part}, which is in the backup")
        else:
            targets[part] = _at_home(settings.places[part], read_first, config)
    return targets


def _at_home(place: Path, read_first: Path, config: Path) -> Path:
    """A place beside the configuration that was read, beside where that is to be."""
    is_beside = place.is_relative_to(read_first)
    return config.parent / place.relative_to(read_first) if is_beside else place


def _is_the_same(read_first: Path, name: str, target: Path) -> bool:
    """Whether a file of the configuration is there already, as it is in the backup."""
    part, _, rest = name.partition("/")
    return part == "config" and target.is_file() and filecmp.cmp(read_first / rest, target, shallow=False)


def _is_there(target: Path) -> bool:
    """Whether something would be overwritten; an empty folder is nothing."""
    return any(one.name != RESTORING for one in target.iterdir()) if target.is_dir() else target.exists()


def _put_back(
    path: Path, targets: Mapping[str, Path], found: Listing, tell: Callable[[str], None]
) -> list[Path]:
    stages = {name: _stage(target, name) for name, target in targets.items()}

    def take(name: str, source: IO[bytes]) -> None:
        part, rest = split_name(name, str(path))
        tell(part)
        stage = stages.get(name if part == "config" else part)
        if stage is None:
            drain(source)  # it is there already as it should be, or is not wanted
        else:
            _write(stage / rest if part in WHOLE_FOLDERS - {"config"} else stage, source)

    try:
        _remove(stages.values())
        read_archive(path, take)
        for part in DATABASES & stages.keys():
            check_database(stages[part])
        for name, target in targets.items():
            rights = found[name].rights if name in found else None
            if rights is not None:
                stages[name].chmod(rights.mode & 0o777)
            _exchange(stages[name], target, is_folder=name in WHOLE_FOLDERS)
            if rights is not None:
                _give_as_it_was(target, rights)
    finally:
        _remove(stages.values())
    return list(targets.values())


def _remove(stages: Iterable[Path]) -> None:
    """Also what a restore left that was cut short."""
    for stage in stages:
        if stage.is_dir():
            shutil.rmtree(stage)
        else:
            stage.unlink(missing_ok=True)


def _stage(target: Path, name: str) -> Path:
    """Where it is put first: on the same disk. A folder may be where a disk is mounted, so it is within it."""
    return target / RESTORING if name in WHOLE_FOLDERS else target.with_name(f".{target.name}{RESTORING}")


def _exchange(stage: Path, target: Path, *, is_folder: bool) -> None:
    if is_folder:
        old = [one for one in target.iterdir() if one != stage and not one.name.startswith(BEFORE)]
        if old:
            aside = _free(target / BEFORE)
            aside.mkdir()
            for one in old:
                one.rename(aside / one.name)
        for one in stage.iterdir():
            one.rename(target / one.name)
        _give(target, target)
        return
    _set_aside(target)
    stage.rename(target)
    _give(target, target.parent)


def _set_aside(target: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        # The log of another database beside this one would damage it.
        old_file = target.with_name(target.name + ending)
        if old_file.exists():
            old_file.rename(_free(old_file.with_name(f"{old_file.name}.{BEFORE}")))


def _free(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return free


def _give(target: Path, like: Path) -> None:
    """To the user whose folder it is in: root puts back what a service shall use."""
    if os.geteuid() != 0:
        return
    owner = like.stat()
    for one in [target, *target.rglob("*")] if target.is_dir() else [target]:
        os.chown(one, owner.st_uid, owner.st_gid)


def _give_as_it_was(target: Path, rights: Rights) -> None:
    """A file of the configuration: other users than its folder's owner may have to read it."""
    if os.geteuid() != 0:
        return
    user, group = (int(one) if one.isdecimal() else one for one in (rights.user, rights.group))
    try:
        shutil.chown(target, user, group)
    except (LookupError, OSError) as error:
        _log.warning("%s: belongs to whom its folder belongs: %s", target, error)


def _make_folder(folder: Path) -> None:
    """With those above it; what root makes for a person or a service belongs to whom the folder above belongs."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir()
        _give(folder, folder.parent)


def _write(target: Path, source: IO[bytes]) -> None:
    _make_folder(target.parent)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())
