"""`[[import]]` in the configuration file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from poller.device import Device
from poller.errors import ProfileError
from poller.profile import Profile, load_profile
from poller.sources.exporter import WAGO, ImportSettings
from poller.sources.fetch import is_page_url
from readings.errors import SettingsError
from readings.payload import Name
from readings.reading import Kind

LG_CONTROL_HOST = "lg_r290_service"
LG_CONTROL_PORT = 8002
"""Where lg-r290-control's page is: in its network of containers, and on their host."""

METER_EXPORTER_HOST = "modbus_exporter"
"""Where heatpump-monitoring-dashboard's page is, in its network of containers."""

DEFAULT_PROFILES = ("wago-exporter", "lg-r290-control", "iot-api", "thermostat")


class ImportTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[import]]`: the /metrics page of another program, whose readings are taken over.

    Attributes:
        interval: Seconds between two reads.
        silence: Seconds after which a sensor that was not seen again is offline.
        profiles: Which kinds of device to take, one profile each.
        names: Device names by what the page calls them: `meter`, `heatpump`, `thermostat`, a sensor's `sensor_name`.
        titles: What people call them, by the same.
    """

    url: str
    interval: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 30
    silence: Annotated[float, msgspec.Meta(ge=60, le=604800)] = 900
    profiles: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = DEFAULT_PROFILES
    names: dict[str, Name] = {}
    titles: dict[str, str] = {}


def read_import(table: ImportTable, place: str, folder: Path | None = None) -> ImportSettings:
    """What the table means.

    Args:
        table: The table.
        place: What it is called in a message about a mistake.
        folder: The user's own profiles.

    Raises:
        SettingsError: The text names the key and what was expected.
    """
    if not is_page_url(table.url):
        raise SettingsError(f"{place}.url: expected http://HOST:PORT/metrics, got {table.url!r}")
    profiles: dict[Kind, Profile] = {}
    for name in table.profiles:
        try:
            profile = load_profile(name, folder)
        except ProfileError as error:
            raise SettingsError(f"{place}.profiles: {error}") from error
        if profile.transport != "messages":
            raise SettingsError(f"{place}.profiles: expected none for Modbus, got {name!r}")
        if profile.kind in profiles:
            raise SettingsError(
                f"{place}.profiles: expected one per kind, {name!r} is another {profile.kind}"
            )
        profiles[profile.kind] = profile
    return ImportSettings(
        url=table.url,
        page=_page(table.url),
        interval_s=table.interval,
        silence_s=table.silence,
        profiles=tuple(profiles.values()),
        names=table.names,
        titles=table.titles,
    )


def _page(url: str) -> str:
    """How a page is called in counters and in the log: by its host, where its path is the usual one."""
    parts = urlsplit(url)
    return parts.netloc + ("" if parts.path.strip("/") in {"", "metrics"} and not parts.query else parts.path)


def keep_one_reader(
    imports: Sequence[ImportSettings], devices: Sequence[Device]
) -> tuple[ImportSettings, ...]:
    """A heat pump and a meter have one reader: two programs on one gateway take each other's answers.

    An import that would bring what a bus has already is refused where its address
    says whose page it is, else when its page shows it.

    Raises:
        SettingsError: The text says what to choose between.
    """
    on_bus = [one for one in devices if one.bus is not None]
    pump = next((one for one in on_bus if one.key.kind is Kind.HEATPUMP), None)
    meter = next((one for one in on_bus if WAGO in one.aliases), None)
    judged = []
    for number, one in enumerate(imports):
        kinds = {profile.kind for profile in one.profiles}
        refused: dict[Kind, str] = {}
        if pump is not None and Kind.HEATPUMP in kinds and _is_same(one, pump):
            refused[Kind.HEATPUMP] = _explain_pump(pump)
        if meter is not None and Kind.METER in kinds and _is_same(one, meter):
            refused[Kind.METER] = _explain_meter(meter)
        url = urlsplit(one.url)
        if Kind.HEATPUMP in refused and (url.hostname == LG_CONTROL_HOST or url.port == LG_CONTROL_PORT):
            raise SettingsError(f"import[{number}].url: {refused[Kind.HEATPUMP]}")
        if Kind.METER in refused and url.hostname == METER_EXPORTER_HOST:
            raise SettingsError(f"import[{number}].url: {refused[Kind.METER]}")
        judged.append(replace(one, refused=refused))
    return tuple(judged)


def _is_same(one: ImportSettings, polled: Device) -> bool:
    """An import that gives its device a name of its own means another one."""
    return one.names.get(polled.key.kind.value, polled.key.name) == polled.key.name


def _explain_pump(polled: Device) -> str:
    return (
        f"device {polled.key.name!r} reads the heat pump itself, and a gateway has one owner: keep lg-r290-control as"
        " it is and remove that [[device]], or remove this [[import]] and let lg-r290-control use the poller's proxy"
        ' (docs/existing-system.md); another heat pump needs names = { heatpump = "ITS-NAME" }'
    )


def _explain_meter(polled: Device) -> str:
    return (
        f"device {polled.key.name!r} reads the meter itself, and a gateway has one owner: stop the original exporter and"
        " remove this [[import]], or remove that [[device]] (docs/existing-system.md); another meter needs"
        ' names = { meter = "ITS-NAME" }'
    )
