"""`[backup]` in the configuration file: what goes into a backup and where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from bridge.config import BridgeTable
from poller.config import PollerTable
from readings.errors import SettingsError
from readings.settings import load

OURS = ("HEATING_BACKUP__", "HEATING_BRIDGE__", "HEATING_POLLER__")
STORE, JOURNAL = "store.sqlite", "journal.sqlite"


class BackupTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[backup]`; paths are relative to the configuration file.

    Attributes:
        folder: Where backups are written.
        also: Files and folders beside the configuration file that belong to it: passwords, profiles.
        prometheus_data: Prometheus' own folder; without it its data are left out.
        mosquitto: The broker's file, `mosquitto.db`.
        grafana: Grafana's database, `grafana.db`.
    """

    folder: str = "backups"
    also: tuple[str, ...] = ()
    prometheus_data: str | None = None
    mosquitto: str | None = None
    grafana: str | None = None

    def __post_init__(self) -> None:
        for name in self.also:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"also: expected paths beside the configuration file, got {name!r}")


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
        places: The file or folder of each part but the configuration.
    """

    config: Path
    folder: Path
    also: tuple[str, ...]
    places: Mapping[str, Path]


def read_settings(path: Path, environ: Mapping[str, str]) -> BackupSettings:
    """Read the configuration file.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    file = load(path, BackupFile, {name: value for name, value in environ.items() if name.startswith(OURS)})
    table = file.backup
    places = {
        "store": path.parent / file.bridge.data / STORE,
        "journal": path.parent / file.poller.data / JOURNAL,
    }
    for part, place in (
        ("prometheus", table.prometheus_data),
        ("mosquitto", table.mosquitto),
        ("grafana", table.grafana),
    ):
        if place is not None:
            places[part] = path.parent / place
    if len(set(places.values())) < len(places):
        raise SettingsError(f"{path}: backup: expected a place of its own for each part")
    return BackupSettings(path, path.parent / table.folder, table.also, places)
