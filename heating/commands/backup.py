"""`heating backup` and `heating restore`: everything that cannot be had again, in one file."""

import argparse
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from bridge.config import read_config as read_bridge_config
from heating.backup.contents import PARTS
from heating.backup.figure import tell_newest
from heating.backup.restore import restore_backup
from heating.backup.settings import BackupSettings, read_settings
from heating.backup.take import take_backup
from heating.commands import Commands, add_config
from heating.progress import Progress
from heating.report.prometheus import Prometheus
from heating.report.settings import read_settings as read_report_settings
from readings.errors import SettingsError

_log = logging.getLogger(__name__)

TERMINATED = 128 + signal.SIGTERM
"""The exit code after SIGTERM, as shells have it."""


def add(commands: Commands) -> None:
    """What `heating backup` and `heating restore` take."""
    backup = commands.add_parser("backup", help="write everything that cannot be had again into one file")
    backup.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="else one more in the folder of backups"
    )
    add_config(backup)
    backup.set_defaults(do=_backup)
    restore = commands.add_parser("restore", help="put a backup back; stop the programs first")
    restore.add_argument("file", type=Path, metavar="FILE", help="the backup")
    restore.add_argument("--force", action="store_true", help="move aside what is there")
    restore.add_argument(
        "--resend", action="store_true", help="send again all that the journal of the backup holds"
    )
    add_config(restore)
    restore.set_defaults(do=_restore)


def _backup(options: argparse.Namespace) -> int:
    """Take one, and say what is in it and what is not."""
    settings = read_settings(options.config, os.environ)

    def snapshot() -> str:
        with Prometheus(read_report_settings(options.config, os.environ).server) as prometheus:
            return prometheus.snapshot()

    # What has been begun is taken away then.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        with Progress() as progress:
            path, parts = take_backup(
                settings,
                options.output,
                datetime.now(UTC),
                snapshot,
                tell=lambda part: progress.show(-1, 1, part),
            )
    finally:
        signal.signal(signal.SIGTERM, before)
        if options.output is None:
            _tell(options.config, settings)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, checked: {', '.join(parts)}")
    unnamed = [part for part in PARTS if part != "config" and part not in settings.places]
    if unnamed:
        print(f"left out, because [backup] says nothing of it: {', '.join(unnamed)}")
    if missing := [part for part in settings.places if part not in parts]:
        print(f"left out, because there is none: {', '.join(missing)}")
    return 0


def _tell(config: Path, settings: BackupSettings) -> None:
    """Tell whom the readings are sent how old the newest backup is; that it cannot be told ends nothing."""
    try:
        receiver = read_bridge_config(config, os.environ).receiver
    except SettingsError as error:
        trouble = str(error)
    else:
        if receiver is None:
            return
        names = [one.name for one in settings.folder.iterdir()] if settings.folder.is_dir() else []
        trouble = tell_newest(receiver, names, datetime.now(UTC))
    if trouble:
        _log.warning("how old the newest backup is cannot be told: %s", trouble)


def _restore(options: argparse.Namespace) -> int:
    """Put one back, and say where."""
    with Progress() as progress:
        restored = restore_backup(
            options.file,
            options.config,
            os.environ,
            force=options.force,
            resend=options.resend,
            tell=lambda part: progress.show(-1, 1, part),
        )
    print("\n".join(f"restored {path}" for path in restored))
    return 0
