"""`[report]` in the configuration file, and which Prometheus is asked."""

import datetime
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from bridge.config import read_config as read_bridge_config
from bridge.remote_write.connection import ReceiverSettings
from heating.errors import CommandError
from heating.report.figures import Rules
from heating.report.tariff import Price
from heating.zone import find_zone
from poller.sources.fetch import is_page_url
from readings.environment import only
from readings.errors import SettingsError
from readings.settings import find_ca, load

OURS = ("HEATING_REPORT__",)
WRITE_PATH = "/api/v1/write"
LOCAL_PROMETHEUS = "http://localhost:9090"

_Finite = Annotated[float, msgspec.Meta(gt=-1000, lt=1000)]


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[report.price]]`.

    Attributes:
        since: The first day of this price; the key is `from`.
        per_kwh: In the currency of the table `[report]`.
    """

    since: datetime.date = msgspec.field(name="from", default=datetime.date(1970, 1, 1))
    per_kwh: _Finite


class ReportTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[report]`.

    Attributes:
        timezone: Whose days are counted, an IANA name; without it the machine's own.
        meter: The device whose energy is counted; needed where there are several.
        heatpump: The device whose heat is counted; the same.
        outdoor: The sensor with the outdoor temperature, by its name; without it the sensor `temp_outdoor`
            or the heat pump's own.
        base: A day whose mean is colder counts as a heating day, °C.
        indoor: Up to where its degree days are counted, °C.
        currency: What stands behind an amount.
        prometheus: Where the readings are; without it where the bridge writes to.
        username: For Prometheus at `prometheus`.
        password_file: A file with the password, relative to the configuration file.
        ca: A file with the certificate authority to trust.
    """

    timezone: str | None = None
    meter: str | None = None
    heatpump: str | None = None
    outdoor: str | None = None
    base: _Finite = 15.0
    indoor: _Finite = 20.0
    currency: str = "EUR"
    price: tuple[PriceTable, ...] = ()
    prometheus: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca: str | None = None

    def __post_init__(self) -> None:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file: expected a username beside it")


class ReportFile(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file as the report reads it; the other tables are other programs'."""

    report: ReportTable = ReportTable()
    remote_write: Any = None


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Everything that the report was told.

    Attributes:
        server: Its `url` is that of Prometheus, without a path of its API.
    """

    server: ReceiverSettings
    zone: zoneinfo.ZoneInfo
    rules: Rules
    table: ReportTable


def read_settings(path: Path, environ: Mapping[str, str], *, prometheus: str | None = None) -> ReportSettings:
    """Read the configuration file; where the command line names a Prometheus, it need not exist.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    is_there = path.exists() or prometheus is None
    table = read_table(path, environ) if is_there else ReportTable()
    try:
        return ReportSettings(
            server=_server(path, environ, table, prometheus),
            zone=find_zone(table.timezone),
            rules=Rules(
                base_celsius=table.base,
                indoor_celsius=table.indoor,
                prices=tuple(Price(one.since, one.per_kwh) for one in table.price),
            ),
            table=table,
        )
    except SettingsError as error:
        text = str(error)
        raise SettingsError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from error


def read_table(
    path: Path, environ: Mapping[str, str], changes: Mapping[str, Any] | None = None
) -> ReportTable:
    """What the configuration file says of the report, with a zone and addresses that are some.

    Args:
        path: The file.
        environ: The environment, whose `HEATING_REPORT__…` variables override keys.
        changes: What to take instead of what stands in a place, as `load` has it.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    table = load(path, ReportFile, only(environ, OURS), changes).report
    try:
        find_zone(table.timezone)
        find_ca(table.ca, path.parent, "report.ca")
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    if table.prometheus is not None and not is_page_url(table.prometheus):
        raise SettingsError(f"{path}: report.prometheus: expected http://HOST:PORT, got {table.prometheus!r}")
    return table


def _server(
    path: Path, environ: Mapping[str, str], table: ReportTable, prometheus: str | None
) -> ReceiverSettings:
    if prometheus is None and table.prometheus is None:
        receiver = read_bridge_config(path, environ).receiver
        if receiver is None:
            return ReceiverSettings(LOCAL_PROMETHEUS)
        if not urlsplit(receiver.url).path.endswith(WRITE_PATH):
            raise SettingsError(
                f"report.prometheus: expected the address of a Prometheus, for {receiver.shown} is none to be asked"
            )
        url = urlsplit(receiver.url)
        return replace(receiver, url=url._replace(path=url.path.removesuffix(WRITE_PATH)).geturl())
    if prometheus is not None and not is_page_url(prometheus):
        raise CommandError(f"--prometheus: expected http://HOST:PORT, got {prometheus!r}")
    chosen = prometheus if prometheus is not None else table.prometheus or ""
    return ReceiverSettings(
        url=chosen.rstrip("/"),
        username=table.username,
        password_file=None if table.password_file is None else path.parent / table.password_file,
        ca=find_ca(table.ca, path.parent, "report.ca"),
    )
