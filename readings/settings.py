"""The one configuration file, read strictly.

Every program reads the same TOML file and takes the tables that concern it;
environment variables override its keys (`readings.environment`).
"""

import re
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from readings.environment import override
from readings.errors import SettingsError, TopicError
from readings.topics import Topics
from readings.validation import describe, find_unusable

_T = TypeVar("_T", bound=msgspec.Struct)

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class MqttSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[mqtt]` table: the broker, and the root that both sides of the bus share.

    Attributes:
        password_file: A file with the password, relative to the configuration file. It is read at every
            connection, so that it may change, and a poller does not wait for it.
        ca: A file with the certificate authority to trust, relative to the configuration file;
            TLS is on when it is given or `tls` is true.
        keepalive: Seconds of silence after which the client asks the broker for a sign of life; the broker gives up
            a client that was silent for one and a half times as long.
    """

    host: Annotated[str, msgspec.Meta(min_length=1)] = "localhost"
    port: Port = 1883
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    root: str = "heating"
    tls: bool = False
    ca: str | None = None
    keepalive: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30

    def __post_init__(self) -> None:
        try:
            Topics(self.root)
        except TopicError as error:
            raise ValueError(str(error)) from error
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file: expected either this or password")
        if self.username is None:
            for name in ("password", "password_file"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: expected a username beside it")


class HomeAssistantSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[homeassistant]` table.

    Attributes:
        discovery: Whether Home Assistant finds the devices by itself; when not, what it found is taken back.
        prefix: The topic below which it listens for them.
    """

    discovery: bool = True
    prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        try:
            Topics(self.prefix)
        except TopicError as error:
            raise ValueError(str(error).replace("root", "prefix", 1)) from error


def load(
    path: Path, form: type[_T], environ: Mapping[str, str], changes: Mapping[str, Any] | None = None
) -> _T:
    """Read the configuration file into `form`.

    Args:
        path: The TOML file.
        form: A struct with one attribute per table of the file.
        environ: The environment, whose `HEATING_…` variables override keys.
        changes: What to take instead of what stands in a place ("bus[0].connect"); `None` leaves it out.

    Raises:
        SettingsError: One line that names file (or variable), key and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from error
    override(tables, form, environ)
    apply_changes(tables, changes or {})
    if mistake := next(find_unusable(tables), None):
        raise SettingsError(f"{path}: {mistake}")
    try:
        return msgspec.convert(tables, form)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {describe(error)}") from error


def find_files(mqtt: MqttSettings, folder: Path) -> MqttSettings:
    """The same settings, with the files that they name where they are.

    Args:
        mqtt: What the configuration says, its files relative to its folder.
        folder: That folder.

    Raises:
        SettingsError: There is no certificate authority. The password is looked for when it is needed.
    """
    password_file = None if mqtt.password_file is None else str(folder / mqtt.password_file)
    return msgspec.structs.replace(mqtt, ca=find_ca(mqtt.ca, folder, "mqtt.ca"), password_file=password_file)


def parse_listen(text: str, place: str) -> tuple[str, int]:
    """Where to listen.

    Args:
        text: ADDRESS:PORT; an IPv6 address stands in brackets.
        place: The key that says it.

    Raises:
        SettingsError: It is no such thing.

    >>> parse_listen("127.0.0.1:9100", "bridge.listen"), parse_listen("[::]:502", "bus[0].proxy.listen")
    (('127.0.0.1', 9100), ('::', 502))
    """
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if host is None or port is None or url.netloc != text:
        raise SettingsError(f"{place}: expected ADDRESS:PORT, got {text!r}")
    return host, port


def is_http_url(text: str) -> bool:
    """Whether this is an address that http.client can ask: http or https and a host, all of it fit for a request.

    >>> [is_http_url(text) for text in ("http://prometheus:9090/api/v1/write", "prometheus:9090", "http://a..b/")]
    [True, False, False]
    """
    try:
        url = urlsplit(text)
        has_host, port = bool((url.hostname or "").encode("idna")), url.port
    except ValueError:  # UnicodeError is one: a name that no name server could have
        return False
    is_clean = text.isprintable() and " " not in text and (url.path + url.query).isascii()
    return is_clean and url.scheme in {"http", "https"} and has_host and port != 0


def find_ca(name: str | None, folder: Path, place: str) -> str | None:
    """Where a file with a certificate authority is.

    Args:
        name: What the configuration says, relative to its folder.
        folder: That folder.
        place: The key that says it.

    Raises:
        SettingsError: There is no such file, or no certificate in it.
    """
    if name is None:
        return None
    try:
        ssl.create_default_context(cafile=folder / name)
    except OSError as error:
        raise SettingsError(f"{place}: expected a file with certificates, got {name!r}") from error
    return str(folder / name)


def apply_changes(tables: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put other values in some places; places that are not there are passed over.

    Entries of a list are left out at the end, so that every place is counted as in the file.

    >>> tables = {"bus": [{"name": "a"}, {"name": "b", "baud": 0}]}
    >>> apply_changes(tables, {"bus[0]": None, "bus[1].baud": None, "bus[1].name": "c"})
    >>> tables
    {'bus': [{'name': 'c'}]}
    """
    entries: list[tuple[list[Any], int]] = []
    for place, value in changes.items():
        *steps, last = [int(one) if one.isdigit() else one for one in re.findall(r"[^.\[\]]+", place)]
        target: Any = tables
        try:
            for step in steps:
                target = target[step]
            if value is not None:
                target[last] = value
            elif isinstance(target, list) and isinstance(last, int):
                entries.append((target, last))
            else:
                del target[last]
        except (KeyError, IndexError, TypeError):
            continue
    for target, number in sorted(entries, key=lambda one: -one[1]):
        del target[number : number + 1]
