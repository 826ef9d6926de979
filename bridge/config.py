"""The bridge's part of the configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from bridge.remote_write.connection import ReceiverSettings
from bridge.remote_write.credentials import Secret
from readings.errors import SettingsError
from readings.payload import LabelName, Name
from readings.settings import (
    HomeAssistantSettings,
    MqttSettings,
    find_ca,
    find_files,
    is_http_url,
    load,
    parse_listen,
)


class BridgeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[bridge]`.

    Attributes:
        data: The folder of the store, relative to the configuration file.
        listen: Where the page and /metrics are.
        store_days: How long a reading waits for the receiver.
        store_mb: How large the store may become.
    """

    name: Name = "bridge"
    data: str = "data"
    listen: str = "0.0.0.0:9100"
    store_days: Annotated[float, msgspec.Meta(gt=0)] = 6
    store_mb: Annotated[int, msgspec.Meta(ge=1)] = 500


class RemoteWriteTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[remote_write]]`: where the samples go.

    Attributes:
        labels: Constant labels for every series.
        password_file: A file with the password, which may change while the bridge runs.
        bearer_token_file: The same for the token.
        ca: A file with the certificate authority to trust instead of the system's.
        metadata: Whether to tell the receiver what the metrics are, once a minute.
    """

    url: str
    labels: dict[LabelName, str] = {}
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    bearer_token: str | None = None
    bearer_token_file: str | None = None
    ca: str | None = None
    metadata: bool = True


class BridgeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration file as the bridge reads it; the other tables are other programs'."""

    mqtt: MqttSettings = MqttSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    bridge: BridgeTable = BridgeTable()
    remote_write: tuple[RemoteWriteTable, ...] = ()
    poller: Any = None
    bus: Any = None
    device: Any = None
    imports: Any = msgspec.field(name="import", default=None)
    rule: Any = None
    shelly: Any = None
    report: Any = None
    backup: Any = None


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """Everything that the bridge was told.

    Attributes:
        receiver: None when nothing is to be written anywhere.
    """

    mqtt: MqttSettings
    name: str
    store: Path
    store_age_s: float
    store_bytes: int
    listen: tuple[str, int]
    receiver: ReceiverSettings | None
    homeassistant: HomeAssistantSettings = field(default_factory=HomeAssistantSettings)


def read_config(
    path: Path, environ: Mapping[str, str], changes: Mapping[str, Any] | None = None
) -> BridgeSettings:
    """Read the configuration file.

    Args:
        path: The file.
        environ: The environment, whose `HEATING_…` variables override keys.
        changes: What to take instead of what stands in a place, as `load` has it.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    file = load(path, BridgeFile, environ, changes)
    try:
        return BridgeSettings(
            mqtt=find_files(file.mqtt, path.parent),
            homeassistant=file.homeassistant,
            name=file.bridge.name,
            store=path.parent / file.bridge.data / "store.sqlite",
            store_age_s=file.bridge.store_days * 86400,
            store_bytes=file.bridge.store_mb * 1_000_000,
            listen=parse_listen(file.bridge.listen, "bridge.listen"),
            receiver=_receiver(file.remote_write, path.parent),
        )
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _receiver(tables: tuple[RemoteWriteTable, ...], folder: Path) -> ReceiverSettings | None:
    if not tables:
        return None
    if len(tables) > 1:
        raise SettingsError("remote_write[1]: expected one [[remote_write]] at most")
    table, place = tables[0], "remote_write[0]"
    if not is_http_url(table.url):
        raise SettingsError(f"{place}.url: expected http://HOST:PORT/PATH or https://…, got {table.url!r}")
    if "@" in urlsplit(table.url).netloc:
        raise SettingsError(f"{place}.url: expected username and password as keys of their own")
    for one in ("password", "bearer_token"):
        if getattr(table, one) is not None and getattr(table, f"{one}_file") is not None:
            raise SettingsError(f"{place}.{one}_file: expected either this or {one}")
    if table.bearer_token is not None and not table.bearer_token.isprintable():
        raise SettingsError(f"{place}.bearer_token: expected one line of text")
    has_token = table.bearer_token is not None or table.bearer_token_file is not None
    if has_token and table.username is not None:
        raise SettingsError(f"{place}.bearer_token: expected either a token or a username")
    if (table.password is not None or table.password_file is not None) and table.username is None:
        raise SettingsError(f"{place}.username: expected one, there is a password")
    return ReceiverSettings(
        url=table.url,
        labels=table.labels,
        username=table.username,
        password=table.password,
        password_file=_secret_file(table.password_file, folder, f"{place}.password_file"),
        bearer_token=table.bearer_token,
        bearer_token_file=_secret_file(table.bearer_token_file, folder, f"{place}.bearer_token_file"),
        ca=find_ca(table.ca, folder, f"{place}.ca"),
        metadata=table.metadata,
    )


def _secret_file(name: str | None, folder: Path, place: str) -> Path | None:
    if name is None:
        return None
    try:
        Secret(folder / name)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from error
    return folder / name
