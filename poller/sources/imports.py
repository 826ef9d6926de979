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
from poller.sources.exporter import ImportSettings
from poller.sources.fetch import is_page_url
from readings.errors import SettingsError
from readings.reading import Kind

LG_CONTROL_HOST = "lg_r290_service"
LG_CONTROL_PORT = 8002
"""Where lg-r290-control's page is: in its network of containers, and on their host."""

DEFAULT_PROFILES = ("lg-r290-control", "iot-api", "thermostat")

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]+$")]


class ImportTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[import]]`: the /metrics page of another program, whose readings are taken over.

    Attributes:
        interval: Seconds between two reads.
        silence: Seconds after which a sensor that was not seen again is offline.
        profiles: Which kinds of device to take, one profile each.
        names: Device names by what the page calls them: `heatpump`, `thermostat`, a sensor's `sensor_name`.
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
        page=urlsplit(table.url).netloc,
        interval_s=table.interval,
        silence_s=table.silence,
        profiles=tuple(profiles.values()),
        names=table.names,
        titles=table.titles,
    )


def keep_one_reader(
    imports: Sequence[ImportSettings], devices: Sequence[Device]
) -> tuple[ImportSettings, ...]:
    """One heat pump has one reader: two programs on its gateway take each other's answers.

    An import that would bring the heat pump that a bus has already is refused where
    its address says whose page it is, else when its page shows a heat pump.

    Raises:
        SettingsError: The text says what to choose between.
    """
    polled = next((one for one in devices if one.key.kind is Kind.HEATPUMP and one.bus is not None), None)
    if polled is None:
        return tuple(imports)
    judged = []
    for number, one in enumerate(imports):
        # An import that gives its heat pump a name of its own means another one.
        if one.names.get(Kind.HEATPUMP.value, polled.key.name) != polled.key.name:
            judged.append(one)
            continue
        url = urlsplit(one.url)
        is_lg_control = url.hostname == LG_CONTROL_HOST or url.port == LG_CONTROL_PORT
        if is_lg_control and any(profile.kind is Kind.HEATPUMP for profile in one.profiles):
            raise SettingsError(f"import[{number}].url: {_explain(polled)}")
        judged.append(replace(one, no_heat_pump=_explain(polled)))
    return tuple(judged)


def _explain(polled: Device) -> str:
    return (
        f"device {polled.key.name!r} reads the heat pump itself, and a gateway has one owner: keep lg-r290-control as"
        " it is and remove that [[device]], or remove this [[import]] and let lg-r290-control use the poller's proxy"
        ' (docs/existing-system.md); another heat pump needs names = { heatpump = "ITS-NAME" }'
    )
