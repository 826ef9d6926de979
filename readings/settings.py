"""The one configuration file, read strictly.

Every program reads the same TOML file and takes the tables that concern it.
An environment variable `HEATING_<TABLE>__<KEY>` overrides a key
(`HEATING_MQTT__HOST`, `HEATING_BUS__0__CONNECT` for the first `[[bus]]`);
with `_FILE` at its end it names a file that holds the value, for secrets
(where the table itself has a key of that name, it sets that key). An empty
variable changes nothing, and neither does one for a `[[table]]` of which the
file has none: a deployment may set them all, and the file leaves out what it
does not want.
"""

import logging
import math
import re
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from readings.errors import SettingsError, TopicError
from readings.topics import Topics

_log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=msgspec.Struct)

PREFIX = "HEATING_"

SECRETS = frozenset({"password", "bearer_token"})
"""Keys whose value is never said."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class MqttSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[mqtt]` table: the broker, and the root that both sides of the bus share.

    Attributes:
        password_file: A file with the password, relative to the configuration file. It is read at every
            connection, so that it may change, and a poller does not wait for it.
        ca: A file with the certificate authority to trust, relative to the configuration file;
            TLS is on when it is given or `tls` is true.
        keepalive: Seconds after which a silent connection is given up.
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
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name and value:
            _override(tables, form, name, value)
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


def describe(error: msgspec.ValidationError) -> str:
    """Turn a validation error into 'key: expected …'.

    >>> describe(msgspec.ValidationError("Expected `int` <= 65535 - at `$.bus[0].port`"))
    'bus[0].port: expected `int` <= 65535'
    >>> describe(msgspec.ValidationError("Object contains unknown field `hots` - at `$.mqtt`"))
    'mqtt.hots: unknown key'
    """
    message, _, place = str(error).partition(" - at `")
    place = re.sub(r"^(key in )?\$\.?", "", place.removesuffix("`"))
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        return f"{place}{'.' if place else ''}{unknown[1]}: unknown key"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return f"{place}{'.' if place else ''}{missing[1]}: expected a value, it is missing"
    return f"{place}: {message[0].lower()}{message[1:]}" if place else message[0].lower() + message[1:]


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


def find_unusable(value: object, place: str = "") -> Iterator[str]:
    r"""What TOML allows and nothing here can do with, as 'key: expected …'.

    No name of a file or a host has a zero byte, and no quantity is infinite or no number.

    >>> list(find_unusable({"bus": [{"connect": "tcp://\0"}], "poller": {"journal_days": float("inf")}}))
    ['bus[0].connect: expected text without a zero byte', 'poller.journal_days: expected a finite number, got inf']
    """
    if isinstance(value, dict):
        for key, one in value.items():
            yield from find_unusable(one, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from find_unusable(one, f"{place}[{number}]")
    elif isinstance(value, str) and "\0" in value:
        yield f"{place}: expected text without a zero byte"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: expected a finite number, got {value}"


def _override(tables: dict[str, Any], form: type[msgspec.Struct], variable: str, value: str) -> None:
    path = variable.removeprefix(PREFIX).lower().split("__")
    is_secret = path[-1] in SECRETS
    if path[-1].endswith("_file") and not _is_key(form, path, variable):
        path[-1] = path[-1].removesuffix("_file")
        is_secret = True
        try:
            value = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}: cannot be read: {error}") from error
    kinds = _kinds(form, path, variable)
    target: Any = tables
    for step, following, kind in zip(path, [*path[1:], None], kinds, strict=True):
        if not isinstance(target, list if _is_number(step) else dict):
            raise SettingsError(f"{variable}: expected the file to have a table there, or nothing")
        key: Any = int(step) if isinstance(target, list) else step
        if isinstance(target, list) and key >= len(target):
            raise SettingsError(f"{variable}: expected an entry that is in the file, which has {len(target)}")
        if following is None:
            target[key] = _convert(value, kind, variable, is_secret=is_secret)
            if isinstance(target, dict):
                # The one says where the other is; the file's gives way to the variable.
                target.pop(f"{key}_file", None)
                if str(key).endswith("_file"):
                    target.pop(str(key).removesuffix("_file"), None)
        elif isinstance(target, list):
            target = target[key]
        elif target is tables and key not in tables and _is_number(following):
            _log.info("%s changes nothing: the file has no [[%s]]", variable, key)
            return
        else:
            target = target.setdefault(key, [] if _is_number(following) else {})


def _is_number(step: str) -> bool:
    return step.isascii() and step.isdecimal()


def _is_key(form: type[msgspec.Struct], path: list[str], variable: str) -> bool:
    """Whether the file has such a key: one that itself names a file is no way to say another one."""
    try:
        return _kinds(form, path, variable)[-1] is not Any
    except SettingsError:
        return False


def _kinds(form: type[msgspec.Struct], path: list[str], variable: str) -> list[Any]:
    """The type behind each step of an override's path."""
    kind: Any = form
    return [kind := _kind_of(kind, step, variable) for step in path]


def _kind_of(kind: Any, step: str, variable: str) -> Any:
    """The type behind one step of an override's path."""
    if get_origin(kind) in {tuple, list}:
        if _is_number(step):
            return get_args(kind)[0]
        raise SettingsError(f"{variable}: expected the number of an entry from 0, got {step!r}")
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            for one in msgspec.structs.fields(option):
                if one.encode_name == step:
                    return one.type
    if kind is Any:
        return Any
    raise SettingsError(f"{variable}: unknown key {step!r}")


def _convert(value: str, kind: Any, variable: str, *, is_secret: bool) -> Any:
    """An environment variable is text; numbers and booleans are read from it where they are expected."""
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        expected = describe(error).removesuffix(", got `str`")
        raise SettingsError(f"{variable}: {expected}{'' if is_secret else f', got {value!r}'}") from error
