"""The poller's part of the configuration file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from poller.address import Address, Framing, SerialAddress, parse_address
from poller.device import Device
from poller.errors import AddressError, ProfileError, RefusedDeviceError
from poller.plan import plan_device
from poller.profile import Field, load_profile
from poller.proxy.settings import ProxySettings, ProxyTable, read_proxy
from poller.roster import MOST_SERIES, Roster
from poller.sources.exporter import ImportSettings
from poller.sources.imports import ImportTable, keep_one_reader, read_import
from poller.sources.rule_file import read_rule
from poller.sources.rule_tables import RuleTable
from poller.sources.rules import Rule
from poller.sources.shelly.loading import load_shelly
from poller.sources.shelly.tables import ShellySettings, ShellyTable, read_shelly
from readings.errors import ReadingsError, SettingsError
from readings.payload import MetricName, Name
from readings.reading import DeviceKey
from readings.settings import HomeAssistantSettings, MqttSettings, find_files, load

KEEP_ALIVE_S = 15
"""The longest interval of a device that stops when nobody asks it; the LG waits 20 s and more."""


class PollerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[poller]`.

    Attributes:
        data: The folder of the journal, relative to the configuration file.
        journal_days: How long a reading stays in the journal.
        journal_mb: How large the journal may become.
        max_series: How many series all devices together may make, those included that sources find.
        profiles: A folder with profiles of the user's own, relative to the configuration file.
    """

    name: Name = "poller"
    data: str = "data"
    journal_days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 7
    journal_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 500
    max_series: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = MOST_SERIES
    profiles: str | None = None


class BusTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[bus]]`: one line on which one thing is said at a time.

    Attributes:
        connect: `tcp://HOST:PORT` for Modbus TCP, `rtu+tcp://HOST:PORT` for RTU frames over TCP,
            `serial:///dev/ttyUSB0?baud=9600&parity=N` for a port of this machine.
        baud: The serial speed behind a gateway; 0 for a device that is itself on the network.
        turnaround_ms: How long a device thinks before it answers.
        proxy: Where other programs share the bus; nowhere without it.
    """

    name: Name
    connect: str
    baud: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    turnaround_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 30
    proxy: ProxyTable | None = None


class DeviceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[device]]`: one device on a bus.

    Attributes:
        fields: Fields of the profile to read beside its default ones.
        without: Default fields not to read.
        intervals: Seconds between two reads of a field, or of all of a kind, that are read more seldom.
    """

    name: Name
    bus: Name
    profile: str
    unit: Annotated[int, msgspec.Meta(ge=1, le=247)] = 1
    title: str = ""
    interval: Annotated[float, msgspec.Meta(ge=1, le=3600)] | None = None
    aliases: tuple[MetricName, ...] = ()
    fields: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    intervals: dict[str, float] = {}


class PollerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration file as the poller reads it; the other tables are other programs'."""

    mqtt: MqttSettings = MqttSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    poller: PollerTable = PollerTable()
    bus: tuple[BusTable, ...] = ()
    device: tuple[DeviceTable, ...] = ()
    imports: tuple[ImportTable, ...] = msgspec.field(name="import", default=())
    rule: tuple[RuleTable, ...] = ()
    shelly: tuple[ShellyTable, ...] = ()
    bridge: Any = None
    remote_write: Any = None
    report: Any = None
    backup: Any = None


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Where a bus is and what is known of its line.

    Attributes:
        baud: Bits per second of the serial line; 0 when there is none.
        turnaround_s: How long a device thinks before it answers.
    """

    name: str
    address: Address
    baud: int
    turnaround_s: float
    proxy: ProxySettings | None = None

    @property
    def framing(self) -> Framing:
        """How requests travel there."""
        return self.address.framing


@dataclass(frozen=True, slots=True)
class PollerSettings:
    """Everything that the poller was told."""

    mqtt: MqttSettings
    name: str
    journal: Path
    journal_age_s: float
    journal_bytes: int
    buses: tuple[BusSettings, ...]
    devices: tuple[Device, ...]
    max_series: int = MOST_SERIES
    shelly: tuple[ShellySettings, ...] = ()
    profiles: Path | None = None
    imports: tuple[ImportSettings, ...] = ()
    rules: tuple[Rule, ...] = ()
    homeassistant: HomeAssistantSettings = field(default_factory=HomeAssistantSettings)


def read_config(
    path: Path, environ: Mapping[str, str], changes: Mapping[str, Any] | None = None
) -> PollerSettings:
    """Read the configuration file.

    Args:
        path: The file.
        environ: The environment, whose `HEATING_…` variables override keys.
        changes: What to take instead of what stands in a place, as `load` has it.

    Raises:
        SettingsError: One line that names file, key and what was expected.
    """
    file = load(path, PollerFile, environ, changes)
    try:
        buses = tuple(_bus(one, f"bus[{place}]") for place, one in enumerate(file.bus))
        _refuse_twins("bus", "name", [one.name for one in file.bus])
        _refuse_twins("bus", "connect", [_place(one.address) for one in buses])
        _refuse_twins("bus", "proxy.listen", [str(one.proxy or f"no proxy of {one.name}") for one in buses])
        folder = _find_profiles(file.poller.profiles, path.parent)
        devices = tuple(
            _device(one, f"device[{place}]", buses, folder) for place, one in enumerate(file.device)
        )
        _refuse_twins("device", "name", [one.name for one in file.device])
        # People and Home Assistant tell devices apart by what they are called.
        _refuse_twins("device", "title", [one.title or one.name for one in file.device])
        _refuse_twins("device", "unit", [f"unit {one.unit} on bus {one.bus}" for one in file.device])
        imports = tuple(
            read_import(one, f"import[{place}]", folder) for place, one in enumerate(file.imports)
        )
        _refuse_twins("import", "url", [one.page for one in imports])
        imports = keep_one_reader(imports, devices)
        rules = tuple(read_rule(one, f"rule[{place}]", folder) for place, one in enumerate(file.rule))
        _refuse_twins("rule", "name", [one.name for one in rules])
        shelly = read_shelly(file.shelly)
        found = load_shelly(shelly, poller=file.poller.name, folder=folder)
        refuse_conflicts([*devices, *(one for source in found for one in source.devices)])
        mqtt = find_files(file.mqtt, path.parent)
    except (ReadingsError, ProfileError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return PollerSettings(
        mqtt=mqtt,
        homeassistant=file.homeassistant,
        name=file.poller.name,
        journal=path.parent / file.poller.data / "journal.sqlite",
        journal_age_s=file.poller.journal_days * 86400,
        journal_bytes=file.poller.journal_mb * 1_000_000,
        profiles=folder,
        buses=buses,
        devices=devices,
        max_series=file.poller.max_series,
        imports=imports,
        rules=rules,
        shelly=shelly,
    )


def _bus(table: BusTable, place: str) -> BusSettings:
    try:
        address = parse_address(table.connect)
    except AddressError as error:
        raise SettingsError(f"{place}.connect: {error}") from error
    if isinstance(address, SerialAddress) and table.baud not in {0, address.baud}:
        raise SettingsError(f"{place}.baud: expected the speed in connect alone, as ?baud={table.baud}")
    return BusSettings(
        name=table.name,
        address=address,
        baud=address.baud if isinstance(address, SerialAddress) else table.baud,
        turnaround_s=table.turnaround_ms / 1000,
        proxy=read_proxy(table.proxy, f"{place}.proxy") if table.proxy else None,
    )


def _place(address: Address) -> str:
    """What only one bus may be at, however it is spoken to there."""
    return address.path if isinstance(address, SerialAddress) else f"{address.host}:{address.port}"


def find_profiles(path: Path, environ: Mapping[str, str]) -> Path | None:
    """The folder of the user's own profiles that a configuration file names, if it does.

    Nothing else of the file needs to be right yet: a profile comes before the device that has it.

    Raises:
        SettingsError: The file is no such file, or there is no such folder.
    """
    if not path.exists():
        return None
    try:
        return _find_profiles(load(path, PollerFile, environ).poller.profiles, path.parent)
    except SettingsError as error:
        raise SettingsError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _find_profiles(name: str | None, beside: Path) -> Path | None:
    folder = None if name is None else beside / name
    if folder is not None and not folder.is_dir():
        raise SettingsError(f"poller.profiles: expected a folder with profiles, there is none at {folder}")
    return folder


def _device(table: DeviceTable, place: str, buses: tuple[BusSettings, ...], folder: Path | None) -> Device:
    bus = next((one for one in buses if one.name == table.bus), None)
    if bus is None:
        names = ", ".join(one.name for one in buses) or "a [[bus]] first"
        raise SettingsError(f"{place}.bus: expected {names}, got {table.bus!r}")
    try:
        profile = load_profile(table.profile, folder)
    except ProfileError as error:
        raise SettingsError(f"{place}.profile: {error}") from error
    if profile.transport != "modbus":
        raise SettingsError(f"{place}.profile: expected a Modbus device, {profile.name} reports by itself")
    try:
        fields = profile.choose(table.fields, table.without)
    except ProfileError as error:
        raise SettingsError(f"{place}.fields: {error}") from error
    if not fields:
        raise SettingsError(f"{place}.without: expected to leave a field to read")
    fields = _slow(fields, table.intervals, f"{place}.intervals")
    if len({profile.kind, *table.aliases}) <= len(table.aliases):
        raise SettingsError(f"{place}.aliases: expected each once, and {profile.kind} not at all")
    interval_s = table.interval or profile.interval_s
    if profile.keep_alive and interval_s > KEEP_ALIVE_S:
        raise SettingsError(
            f"{place}.interval: expected at most {KEEP_ALIVE_S} s, a {profile.title} stops when nobody asks it"
        )
    device = Device(
        key=DeviceKey(profile.kind, table.name),
        title=table.title or table.name,
        profile=profile,
        fields=fields,
        interval_s=interval_s,
        bus=table.bus,
        unit=table.unit,
        aliases=table.aliases,
    )
    try:
        # What the bus could not poll is found here, so that a check finds it before the start does.
        plan_device(device, baud=bus.baud, turnaround_s=bus.turnaround_s, distinct=bus.framing == "rtu")
    except ProfileError as error:
        raise SettingsError(f"{place}.profile: {error}") from error
    return device


def _slow(fields: Mapping[str, Field], intervals: Mapping[str, float], place: str) -> Mapping[str, Field]:
    """The fields with the intervals that the configuration gives them: a name counts before a kind."""
    read = {name: one for name, one in fields.items() if one.point is not None}
    known = read.keys() | {one.quantity.kind for one in read.values()}
    for name, seconds in intervals.items():
        if name not in known:
            raise SettingsError(
                f"{place}.{name}: expected a field that is read, or their kind: {', '.join(sorted(known))}"
            )
        if not 1 <= seconds <= 3600:
            raise SettingsError(f"{place}.{name}: expected 1 to 3600 s, got {seconds:g}")
    return {
        name: replace(one, interval_s=intervals.get(name, intervals.get(one.quantity.kind, one.interval_s)))
        if name in read
        else one
        for name, one in fields.items()
    }


def _refuse_twins(table: str, key: str, values: Sequence[str]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise SettingsError(
                f"{table}[{place}].{key}: expected one of its own, {value!r} is {table}[{values.index(value)}]"
            )


def refuse_conflicts(devices: Sequence[Device]) -> None:
    """Two sources of one series would write over each other, two devices of one name share their counters.

    Raises:
        SettingsError: Names both devices.
    """
    try:
        Roster(devices)
    except RefusedDeviceError as error:
        raise SettingsError(f"device: {error}") from error
