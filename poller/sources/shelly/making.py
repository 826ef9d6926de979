"""What a Shelly's components are to us: devices, their fields, and where in its status each of them stands."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from poller.decimals import add, multiply
from poller.device import Device
from poller.errors import ProfileError
from poller.names import make_device_name
from poller.points import Field
from poller.profile import Profile
from poller.sources.shelly.components import Component, Parts, parts_of
from poller.sources.shelly.tables import MeterTable, NamedTable, SensorTable, ShellySettings
from readings.reading import DeviceKey, Value

ORIGIN = "shelly"
TEMPERATURE = "temperature_celsius"
HUMIDITY = "humidity_percent"
BATTERY = "battery_percent"
LAST_SEEN = "last_seen_timestamp"

_MAY_REST = re.compile("(switch|em|em1):[0-9]+|temperature:[1-9][0-9]{2}")
"""Components that tell only what has changed, of devices that are never asleep; a sensor add-on counts from 100."""

WITHOUT_ID = frozenset({"wifi", "sys"})
"""Components of which a device has one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in a component's status, and how it is corrected: value x scale + offset."""

    component: str
    path: tuple[str, ...]
    scale: float | int = 1
    offset: float = 0

    def correct(self, number: Value) -> Value:
        """The value in the field's unit.

        >>> Place("emdata:0", ("total_act",), scale=0.001).correct(26289.57)
        26.28957
        """
        if number is None:
            return None
        scaled = multiply(number, self.scale)
        return add(scaled, self.offset) if self.offset else scaled


@dataclass(frozen=True, slots=True)
class Made:
    """A device of ours.

    Attributes:
        places: Where its fields stand: the first of them that has a believable value.
        constants: What the configuration says of it; it is as new as the rest.
        gateway: The prefix of the Shelly that it belongs to.
    """

    device: Device
    gateway: str
    places: Mapping[str, tuple[Place, ...]]
    constants: Mapping[str, float] = field(default_factory=dict)

    @property
    def may_rest(self) -> bool:
        """Whether something of it may say nothing for hours, and is there all the same."""
        return any(_MAY_REST.fullmatch(one.component) for where in self.places.values() for one in where)


@dataclass(frozen=True, slots=True)
class Profiles:
    """The device models behind it."""

    bluetooth: Profile
    wired: Profile
    thermostat: Profile
    pump: Profile
    three_phases: Profile
    one_phase: Profile


def name_bluetooth(components: Iterable[Component], configured: Collection[str]) -> Mapping[str, str]:
    """What Bluetooth sensors that no table names are called, by address: as their owner calls them.

    Where a name is there more than once, or another device's in the configuration, the address stands behind it.

    Args:
        components: Those of all gateways: two may hear one sensor.
        configured: The names that the configuration gives.
    """
    called: dict[str, str] = {}
    for one in components:
        if one.key.startswith("bthomedevice:"):
            called.setdefault(
                one.address, make_device_name(one.name or f"blu-{one.address.replace(':', '')}")
            )
    taken = Counter(called.values()) + Counter(configured)
    return {
        address: name if taken[name] == 1 else f"{name[:40]}-{address.replace(':', '')}"
        for address, name in called.items()
    }


def bluetooth_sensors(
    settings: ShellySettings,
    components: Sequence[Component],
    named_elsewhere: frozenset[str],
    names: Mapping[str, str],
    profile: Profile,
) -> Iterator[Made]:
    """The sensors that the gateway knows, and those that the configuration describes altogether.

    Args:
        settings: What the configuration says.
        components: What the gateway has said of its components.
        named_elsewhere: Addresses of sensors that another gateway is to speak for.
        names: What the others are called, by address.
        profile: What such a sensor is.
    """
    by_key = {one.key: one.address for one in components}
    named = set(named_elsewhere)
    for table in settings.sensors:
        address = table.address or by_key.get(f"bthomedevice:{table.device_id}")
        if table.component is None and address is not None:
            named.add(address)
            parts = _with_ids(parts_of(components, address), table)
            if parts.sensors or parts.device:
                yield _bluetooth(settings, profile, table, address, parts)
    if not settings.unnamed:
        return
    for one in components:
        if not one.key.startswith("bthomedevice:") or one.address in named:
            continue
        parts = parts_of(components, one.address)
        if parts.sensors.keys().isdisjoint({TEMPERATURE, HUMIDITY}):
            continue
        table = SensorTable(name=names[one.address], title=one.name or f"Sensor {one.address}")
        yield _bluetooth(settings, profile, table, one.address, parts)


def wired_sensors(
    settings: ShellySettings, seen: frozenset[str], configured: Collection[str], profile: Profile
) -> Iterator[Made]:
    """Sensors in the device, or wired to it. A temperature alone may be that of the device's own inside."""
    named = {table.component: table for table in settings.sensors if table.component is not None}
    for component, table in named.items():
        yield _wired(settings, profile, table, component, seen)
    for component in sorted(seen) if settings.unnamed else ():
        kind, _, number = component.partition(":")
        if (
            kind == "temperature"
            and component not in named
            and (f"humidity:{number}" in seen or int(number) >= 100)
        ):
            name = make_device_name(settings.gateway_id)
            is_only = number == "0" and name not in configured
            table = SensorTable(name=name if is_only else f"{name}-{number}")
            yield _wired(settings, profile, table, component, seen)


def meters(
    settings: ShellySettings, seen: frozenset[str], configured: Collection[str], profiles: Profiles
) -> Iterator[Made]:
    """Its meters, all three phases or single clamps."""
    named = {table.component: table for table in settings.meters}
    for component, table in named.items():
        yield _meter(settings, profiles, table, component)
    for component in sorted(seen) if settings.unnamed else ():
        if component not in named and re.fullmatch("em1?:[0-9]+", component):
            name = make_device_name(settings.gateway_id)
            number = component.partition(":")[2]
            is_only = component == "em:0" and name not in configured
            table = MeterTable(name=name if is_only else f"{name}-{number}")
            yield _meter(settings, profiles, table, component)


def switches(settings: ShellySettings, profiles: Profiles) -> Iterator[Made]:
    """Its switches, where the configuration says what they are; by which sensor they switch is joined later."""
    for one in settings.thermostats:
        places = {"switch_state": (Place(f"switch:{one.switch}", ("output",)),)}
        constants = {}
        if isinstance(one.target, str):
            places["target_temperature_celsius"] = (Place(one.target, ("value",)),)
        elif one.target is not None:
            constants["target_temperature_celsius"] = one.target
        fields = [*places, *constants, *(["current_temperature_celsius"] if one.current else [])]
        device = _device(profiles.thermostat, one, fields)
        yield Made(device, settings.prefix, places, constants)
    for pump in settings.pumps:
        place = Place(f"switch:{pump.switch}", ("output",))
        device = _device(profiles.pump, pump, [pump.field])
        yield Made(device, settings.prefix, {pump.field: (place,)})


def _with_ids(parts: Parts, table: SensorTable) -> Parts:
    """What the configuration says of ids, before what the gateway says."""
    ids = {TEMPERATURE: table.temperature, HUMIDITY: table.humidity, BATTERY: table.battery}
    told = {name: f"bthomesensor:{number}" for name, number in ids.items() if number is not None}
    device = parts.device if table.device_id is None else f"bthomedevice:{table.device_id}"
    return Parts(device, {**parts.sensors, **told})


def _bluetooth(
    settings: ShellySettings, profile: Profile, table: SensorTable, address: str, parts: Parts
) -> Made:
    offsets = {TEMPERATURE: table.temperature_offset, HUMIDITY: table.humidity_offset}
    places = {
        name: (Place(key, ("value",), offset=offsets.get(name, 0)),) for name, key in parts.sensors.items()
    }
    if parts.device is not None:
        places["rssi_dbm"] = (Place(parts.device, ("rssi",)),)
        places.setdefault(BATTERY, (Place(parts.device, ("battery",)),))
    device_id = (parts.device or "").partition(":")[2]
    device = _device(profile, table, [*places, LAST_SEEN], _labels(settings, table.name, device_id, address))
    return Made(device, settings.prefix, places)


def _wired(
    settings: ShellySettings, profile: Profile, table: SensorTable, component: str, seen: frozenset[str]
) -> Made:
    number = component.partition(":")[2]
    places = _places(profile, number)
    places = {
        name: where
        for name, where in places.items()
        if name == TEMPERATURE or any(one.component in seen for one in where)
    }
    if BATTERY not in places:
        places.pop("rssi_dbm", None)  # the device's own radio says nothing of a sensor that is wired to it
    offsets = {TEMPERATURE: table.temperature_offset, HUMIDITY: table.humidity_offset}
    corrected = {
        name: tuple(replace(one, offset=offsets.get(name, 0)) for one in where)
        for name, where in places.items()
    }
    labels = _labels(settings, table.name, number, _address_in(settings.prefix))
    return Made(_device(profile, table, [*places, LAST_SEEN], labels), settings.prefix, corrected)


def _meter(settings: ShellySettings, profiles: Profiles, table: MeterTable, component: str) -> Made:
    profile = profiles.three_phases if component.startswith("em:") else profiles.one_phase
    places = _places(profile, component.partition(":")[2])
    try:
        fields = [name for name in profile.choose(table.fields, table.without) if name in places]
    except ProfileError as error:
        raise ProfileError(f"shelly.meter {table.name!r}: {error}") from error
    device = _device(profile, table, fields)
    return Made(
        replace(device, aliases=table.aliases), settings.prefix, {name: places[name] for name in fields}
    )


def _places(profile: Profile, number: str) -> dict[str, tuple[Place, ...]]:
    """Where the profile's fields stand in the components of this number."""
    return {
        name: tuple(_place(path, one, number) for path in one.paths)
        for name, one in profile.fields.items()
        if one.paths
    }


def _place(path: str, one: Field, number: str) -> Place:
    kind, *keys = path.split(".")
    return Place(kind if kind in WITHOUT_ID else f"{kind}:{number}", tuple(keys), one.scale)


def _device(
    profile: Profile, table: NamedTable, fields: Iterable[str], labels: Mapping[str, str] | None = None
) -> Device:
    wanted = set(fields)
    return Device(
        key=DeviceKey(profile.kind, table.name),
        title=table.title or table.name,
        profile=profile,
        fields={key: one for key, one in profile.fields.items() if key in wanted},
        interval_s=profile.interval_s if table.silent_after is None else table.silent_after * 60 / 2,
        labels=labels or {},
        origin=ORIGIN,
    )


def _labels(settings: ShellySettings, name: str, device_id: str, address: str) -> dict[str, str]:
    """The original's four."""
    return {
        "device_id": device_id,
        "gateway_id": settings.gateway_id,
        "sensor_id": address,
        "sensor_name": name,
    }


def _address_in(prefix: str) -> str:
    """A Shelly's own address is the end of its id.

    >>> _address_in("shellyplusht-00005e005301"), _address_in("hall")
    ('00:00:5e:00:53:01', 'hall')
    """
    digits = prefix[-12:].lower()
    if not re.fullmatch("[0-9a-f]{12}", digits):
        return prefix
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))
