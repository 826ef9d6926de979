"""`[backup]` in the configuration file: what goes into a backup and where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bridge.config import BridgeTable
from heating.backup.table import BackupTable
from poller.config import PollerTable
from readings.environment import only
from readings.errors import SettingsError
from readings.settings import load

OURS = ("HEATING_BACKUP__", "HEATING_BRIDGE__", "HEATING_POLLER__")
STORE, JOURNAL = "store.sqlite", "journal.sqlite"

ADDED = (
    ".env",
    "alertmanager",
    "compose.override.yaml",
    "mosquitto/own",
    "profiles",
    "prometheus/own",
    "secrets",
)
"""What a person may add to the stack of containers; it belongs to the configuration."""


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file as backup and restore read it.

    Not as the programs do: a file that it names, a certificate for instance, may be missing on an empty host.
    """

    backup: BackupTable = BackupTable()
    bridge: BridgeTable = BridgeTable()
    poller: PollerTable = PollerTable()


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Where everything is.

    Attributes:
        folder: Where backups are written.
        makes_folder: Whether that folder is made when it is not there.
        beside: The folder of what `also` and `perhaps` name.
        also: Files and folders that belong to the configuration.
        perhaps: The same, where they are there.
        places: The file or folder of each part but the configuration.
    """

    config: Path
    folder: Path
    makes_folder: bool
    beside: Path
    also: tuple[str, ...]
    perhaps: tuple[str, ...]
    places: Mapping[str, Path]


def read_file(path: Path, environ: Mapping[str, str], changes: Mapping[str, Any] | None = None) -> BackupFile:
    """Read what concerns a backup; `changes` are what to take instead of what stands in a place, as `load` has it.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    return load(path, BackupFile, only(environ, OURS), changes)


def read_settings(path: Path, environ: Mapping[str, str]) -> BackupSettings:
    """Read the configuration file.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    file = read_file(path, environ)
    table = file.backup
    places = {
        "store": path.parent / file.bridge.data / STORE,
        "journal": path.parent / file.poller.data / JOURNAL,
    }
    for part, place in (
        ("secrets", table.secrets),
        ("prometheus", table.prometheus_data),
        ("mosquitto", table.mosquitto),
        ("grafana", table.grafana),
    ):
        if place is not None:
            places[part] = path.parent / place
    if len(set(places.values())) < len(places):
        raise SettingsError(f"{path}: backup: expected a place of its own for each part")
    return BackupSettings(
        config=path,
        folder=table.place(path),
        makes_folder=table.folder is None,
        beside=path.parent if table.stack is None else path.parent / table.stack,
        also=table.also,
        perhaps=() if table.stack is None else ADDED,
        places=places,
    )
