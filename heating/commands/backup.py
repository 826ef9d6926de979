"""`heating backup` and `heating restore`: everything that cannot be had again, in one file."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from heating.backup.restore import restore_backup
from heating.backup.settings import read_settings
from heating.backup.take import take_backup
from heating.commands import Commands, add_config
from heating.progress import Progress
from heating.report.prometheus import Prometheus
from heating.report.settings import read_settings as read_report_settings


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
    add_config(restore)
    restore.set_defaults(do=_restore)


def _backup(options: argparse.Namespace) -> int:
    """Take one, and say what is in it."""
    settings = read_settings(options.config, os.environ)

    def snapshot() -> str:
        with Prometheus(read_report_settings(options.config, os.environ).server) as prometheus:
            return prometheus.snapshot()

    with Progress() as progress:
        path, parts = take_backup(
            settings, options.output, datetime.now(UTC), snapshot, lambda part: progress.show(-1, 1, part)
        )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, checked: {', '.join(parts)}")
    if "prometheus" not in parts:
        print("Prometheus is not in it: prometheus_data in [backup] names its folder")
    return 0


def _restore(options: argparse.Namespace) -> int:
    """Put one back, and say where."""
    with Progress() as progress:
        restored = restore_backup(
            options.file,
            options.config,
            os.environ,
            force=options.force,
            tell=lambda part: progress.show(-1, 1, part),
        )
    print("\n".join(f"restored {path}" for path in restored))
    return 0
