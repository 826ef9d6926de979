"""`[[shelly]]` in the configuration file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from poller.sources.shelly.components import normal_address
from readings.errors import SettingsError
from readings.payload import MetricName, Name

Id = Annotated[int, msgspec.Meta(ge=0, le=99999)]
Minutes = Annotated[float, msgspec.Meta(ge=1, le=10080)]
Offset = Annotated[float, msgspec.Meta(ge=-50, le=50)]
Pump = Literal[
    "water_pump_running", "external_water_pump_running", "mixing_pump_running", "solar_pump_running"
]


class SensorTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[shelly.sensor]]`: what one of the device's sensors is called, and how it is corrected.

    Attributes:
        address: Of a Bluetooth sensor, as it stands on it.
        device_id: The id of its `bthomedevice`, instead of the address or where the gateway cannot be asked.
        component: A sensor that is wired to the device, or in it: `temperature:0`.
        temperature: The id of the `bthomesensor` that is its temperature, where the gateway's own word is wrong.
        humidity: The same of its humidity.
        battery: The same of its battery.
        temperature_offset: Kelvin to add.
        humidity_offset: Percent to add.
        silent_after: Minutes without news after which it is offline.
    """

    name: Name
    title: str = ""
    address: str | None = None
    device_id: Id | None = None
    component: Annotated[str, msgspec.Meta(pattern=r"^temperature:[0-9]{1,3}\Z")] | None = None
    temperature: Id | None = None
    humidity: Id | None = None
    battery: Id | None = None
    temperature_offset: Offset = 0
    humidity_offset: Offset = 0
    silent_after: Minutes | None = None


class SwitchTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[shelly.thermostat]]`: a switch of the device that turns the heating on and off.

    Attributes:
        target: The temperature that it is set to, or the component that knows it (`number:200`).
        current: The name of the sensor by which it switches.
    """

    name: Name
    title: str = ""
    switch: Id = 0
    target: (
        Annotated[float, msgspec.Meta(ge=0, le=60)]
        | Annotated[str, msgspec.Meta(pattern=r"^number:[0-9]{1,5}\Z")]
        | None
    ) = None
    current: Name | None = None
    silent_after: Minutes | None = None


class PumpTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[shelly.pump]]`: a switch of the device that is a pump's.

    Attributes:
        field: Which pump of a heat pump it is.
    """

    name: Name
    title: str = ""
    switch: Id = 0
    field: Pump = "external_water_pump_running"
    silent_after: Minutes | None = None


class MeterTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[shelly.meter]]`: what a meter of the device is called.

    Attributes:
        component: `em:0` is all three phases of a Pro 3EM, `em1:N` one clamp.
        fields: Fields of the profile to take beside its default ones.
        without: Default fields not to take.
    """

    name: Name
    title: str = ""
    component: Annotated[str, msgspec.Meta(pattern=r"^em1?:[0-9]{1,3}\Z")] = "em:0"
    aliases: tuple[MetricName, ...] = ()
    fields: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    silent_after: Minutes | None = None


NamedTable = SensorTable | SwitchTable | PumpTable | MeterTable


class ShellyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[shelly]]`: one Shelly device that publishes to the broker.

    Attributes:
        prefix: Its MQTT topic prefix, which from the factory is its device id.
        gateway_id: The label of that name in its sensors' series; without it the last level of the prefix.
        unnamed: Whether sensors and meters that no table names appear by themselves.
    """

    prefix: Annotated[str, msgspec.Meta(pattern=r"^[^+#/$\x00]([^+#\x00]*[^+#/\x00])?\Z", max_length=200)]
    gateway_id: str = ""
    unnamed: bool = True
    sensor: tuple[SensorTable, ...] = ()
    thermostat: tuple[SwitchTable, ...] = ()
    pump: tuple[PumpTable, ...] = ()
    meter: tuple[MeterTable, ...] = ()


@dataclass(frozen=True, slots=True)
class ShellySettings:
    """One table, checked; addresses are as `normal_address` gives them."""

    prefix: str
    gateway_id: str
    unnamed: bool
    sensors: tuple[SensorTable, ...]
    thermostats: tuple[SwitchTable, ...]
    pumps: tuple[PumpTable, ...]
    meters: tuple[MeterTable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it gives to devices."""
        named: tuple[NamedTable, ...] = (*self.sensors, *self.thermostats, *self.pumps, *self.meters)
        return tuple(one.name for one in named)


def read_shelly(tables: tuple[ShellyTable, ...]) -> tuple[ShellySettings, ...]:
    """What the tables mean.

    Raises:
        SettingsError: The text names the key and what was expected.
    """
    settings = tuple(_read(one, f"shelly[{place}]") for place, one in enumerate(tables))
    seen: dict[tuple[str, str], str] = {}
    for key, value, where in _unique(settings):
        if (key, value) in seen:
            raise SettingsError(f"{where}: expected one of its own, {value!r} is {seen[key, value]}")
        seen[key, value] = where
    known = {sensor.name for one in settings for sensor in one.sensors}
    for place, one in enumerate(settings):
        for nth, thermostat in enumerate(one.thermostats):
            if thermostat.current is not None and thermostat.current not in known:
                names = ", ".join(sorted(known)) or "a [[shelly.sensor]] first"
                raise SettingsError(
                    f"shelly[{place}].thermostat[{nth}].current: expected {names}, got {thermostat.current!r}"
                )
    return settings


def _unique(settings: tuple[ShellySettings, ...]) -> Iterator[tuple[str, str, str]]:
    """What no two tables may share: its key, its value and its place."""
    for place, one in enumerate(settings):
        yield "prefix", one.prefix, f"shelly[{place}].prefix"
        names = {
            "sensor": [table.name for table in one.sensors],
            "thermostat": [table.name for table in one.thermostats],
            "pump": [table.name for table in one.pumps],
            "meter": [table.name for table in one.meters],
        }
        for kind, called in names.items():
            for nth, name in enumerate(called):
                yield "name", name, f"shelly[{place}].{kind}[{nth}].name"
        for nth, sensor in enumerate(one.sensors):
            if sensor.address is not None:
                yield "address", sensor.address, f"shelly[{place}].sensor[{nth}].address"
        for nth, meter in enumerate(one.meters):
            yield "component", f"{one.prefix} {meter.component}", f"shelly[{place}].meter[{nth}].component"


def _read(table: ShellyTable, place: str) -> ShellySettings:
    sensors = tuple(_sensor(one, f"{place}.sensor[{nth}]") for nth, one in enumerate(table.sensor))
    return ShellySettings(
        prefix=table.prefix,
        gateway_id=table.gateway_id or table.prefix.rpartition("/")[2],
        unnamed=table.unnamed,
        sensors=sensors,
        thermostats=table.thermostat,
        pumps=table.pump,
        meters=table.meter,
    )


def _sensor(table: SensorTable, place: str) -> SensorTable:
    bluetooth = (table.address, table.device_id, table.temperature, table.humidity, table.battery)
    if table.component is not None and any(one is not None for one in bluetooth):
        raise SettingsError(
            f"{place}.component: expected no address and no id of a Bluetooth sensor beside it"
        )
    if table.component is None and table.address is None and table.device_id is None:
        raise SettingsError(
            f"{place}: expected an address, a device_id or a component, to say which sensor it is"
        )
    if table.address is None:
        return table
    address = normal_address(table.address)
    if address is None:
        raise SettingsError(f"{place}.address: expected 12 hexadecimal digits, got {table.address!r}")
    return msgspec.structs.replace(table, address=address)
