"""`[backup]` in the configuration file; apart from what makes something of it, for who only waits for the night."""

from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

_FOLDER = "backups"
"""Where backups are written when the configuration names no folder; this one alone is made."""


class BackupTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[backup]`; paths are relative to the configuration file.

    Attributes:
        folder: Where backups are written, `backups` if it is not named. A named one must be there with something in
            it: otherwise its disk may not be mounted.
        at: When, every night, HH:MM.
        also: Files and folders beside the configuration file that belong to it: certificates, profiles.
        stack: The folder of compose.yaml; what `also` names is there, and what a person adds to the stack.
        secrets: The folder of the passwords that were made.
        prometheus_data: Prometheus' own folder; without it its data are left out.
        mosquitto: The broker's file, `mosquitto.db`.
        grafana: Grafana's database, `grafana.db`.
    """

    folder: str | None = None
    at: Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")] = "03:00"
    also: tuple[str, ...] = ()
    stack: str | None = None
    secrets: str | None = None
    prometheus_data: str | None = None
    mosquitto: str | None = None
    grafana: str | None = None

    def place(self, config: Path) -> Path:
        """The folder of the backups, for the configuration that this table stands in."""
        return config.parent / (self.folder or _FOLDER)

    def __post_init__(self) -> None:
        for name in self.also:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"also: expected paths beside the configuration file, got {name!r}")
