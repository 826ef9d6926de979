"""The metrics of another program's page become devices and their reports.

Chosen is by name: `heatpump_flow_temperature_celsius` is the field
`flow_temperature_celsius` of a heat pump when its profile has that field; all else
on the page is passed over. A meter's names begin with `wago_`. What has no labels is one
meter, one heat pump or one thermostat; sensors differ by their labels, of which `sensor_id` and `sensor_name` say which
one it is.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.errors import MessageError, MessageTrouble, PageError, PageTrouble
from poller.names import make_device_name
from poller.points import Field
from poller.profile import Profile
from poller.sources.exposition import PageSample
from readings.reading import DeviceKey, Kind, Value
from readings.release import RELEASED_MS

LAST_SEEN = "last_seen_timestamp"
"""The field with the time of a sensor's other fields, seconds since 1970 UTC."""

_TITLES = {Kind.METER: "Meter", Kind.HEATPUMP: "Heat pump", Kind.THERMOSTAT: "Thermostat"}

WAGO = "wago"
"""The prefix of the original exporter's metrics, which a meter from its page keeps beside its kind's."""

DAY_MS = 86_400_000
FORGOTTEN_DAYS = 30
MOST_DEVICES = 1000
"""More are no house's: a page whose labels change from read to read."""

_LATEST_S = 253_402_300_799
"""The end of the year 9999: what is later is no time."""

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

_Labels = tuple[tuple[str, str], ...]
_Who = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """`[[import]]`: a page that is read at an interval.

    Attributes:
        profiles: The kinds of device to look for, one profile each.
        silence_s: How long a sensor may be silent; the page's own failures count by the interval.
        names: Device names by what the page says: a sensor's `sensor_name`, else the kind.
        titles: What people call them, by the same.
        refused: Kinds that the page may not bring, because somebody else does; with the reason.
    """

    url: str
    page: str
    interval_s: float
    silence_s: float
    profiles: tuple[Profile, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[Kind, str] = field(default_factory=dict)


class _Memory(msgspec.Struct, frozen=True, array_like=True):
    """A device for the next run.

    Attributes:
        who: A sensor's id and name; else the kind.
        labels: Its newest labels.
        day: When a sensor was last seen, days since 1970; 0 for what has no time.
    """

    kind: str
    who: tuple[str, str]
    labels: dict[str, str]
    day: int


class Exporter:
    """What is known of the devices on one page."""

    def __init__(self, settings: ImportSettings) -> None:
        self._settings = settings
        self._devices: dict[_Who, Device] = {}
        self._memories: dict[_Who, _Memory] = {}

    @property
    def devices(self) -> Sequence[Device]:
        """Those that were on the page so far, also in earlier runs."""
        return tuple(self._devices.values())

    def restore(self, memory: bytes) -> None:
        """Know the devices of an earlier run; a sensor that was silent for a month before the others is forgotten.

        Raises:
            MessageError: The memory cannot be read.
        """
        try:
            memories = msgspec.json.decode(memory, type=list[_Memory])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError(str(error), MessageTrouble.MEMORY) from error
        profiles = {profile.kind.value: profile for profile in self._settings.profiles}
        newest = max((one.day for one in memories), default=0)
        for one in memories[:MOST_DEVICES]:
            profile = profiles.get(one.kind)
            is_old = 0 < one.day < newest - FORGOTTEN_DAYS
            if profile is not None and profile.kind not in self._settings.refused and not is_old:
                self._memories.setdefault(one.who, one)
                if profile.kind is Kind.SENSOR:
                    self._sensor(profile, one.who, one.labels)
                else:
                    self._only(profile)

    def keep(self) -> bytes | None:
        """The devices for the next run; `None` while there is none."""
        return msgspec.json.encode(list(self._memories.values())) if self._memories else None

    def read(self, samples: Iterable[PageSample]) -> Sequence[tuple[Device, Report]]:
        """The devices of a page with what it says of them; a device that it has no news of is left out.

        An exporter that has just started shows 0 for everything that it has not
        read yet, and a sensor whose time is unknown may have been silent for a year:
        neither makes a report.

        Raises:
            PageError: It says nothing, or shows what somebody else reads.
        """
        samples = tuple(samples)
        found: list[tuple[Device, Report]] = []
        for profile in self._settings.profiles:
            groups = _group(samples, profile)
            if profile.kind is Kind.SENSOR:
                found += self._sensors(profile, groups)
            elif profile.kind in self._settings.refused and () in groups:
                raise PageError(PageTrouble.TWO_READERS, self._settings.refused[profile.kind])
            elif any(one.value != 0 for one in groups.get((), {}).values()):
                device = self._only(profile)
                found.append((device, _report(device, groups[()], None)))
        if not found:
            raise PageError(PageTrouble.NOTHING_KNOWN, "it has no value under a name that is looked for")
        return found

    def _sensors(
        self, profile: Profile, groups: Mapping[_Labels, Mapping[str, PageSample]]
    ) -> Iterator[tuple[Device, Report]]:
        """One device per sensor; of two sets of labels for one sensor, the one that was seen last is it."""
        newest: dict[_Who, tuple[float, _Labels]] = {}
        for labels, fields in groups.items():
            named = dict(labels)
            who = named.get("sensor_id", ""), named.get("sensor_name", "")
            seen = _seen_ms(fields)
            order = math.inf if seen is None else seen
            if who not in newest or order > newest[who][0]:
                newest[who] = order, labels
        for who, (order, labels) in sorted(newest.items()):
            if order >= RELEASED_MS:
                device = self._sensor(profile, who, dict(labels))
                seen = _seen_ms(groups[labels])
                self._memories[who] = _Memory(profile.kind.value, who, dict(labels), (seen or 0) // DAY_MS)
                yield device, _report(device, groups[labels], seen)

    def _sensor(self, profile: Profile, who: _Who, labels: Mapping[str, str]) -> Device:
        """A second sensor of one name has its id behind it: their values must not mix."""
        if who not in self._devices:
            if len(self._devices) >= MOST_DEVICES:
                raise PageError(PageTrouble.TOO_MANY, f"it has shown more than {MOST_DEVICES} devices")
            sensor_id, sensor_name = who
            called = sensor_name or sensor_id or profile.kind.value
            name = self._settings.names.get(called) or make_device_name(called)
            if any(one.key.name == name for one in self._devices.values()):
                name = make_device_name(f"{called} {sensor_id}")
            self._add(who, profile, name, called, labels)
        return self._devices[who]

    def _only(self, profile: Profile) -> Device:
        kind = profile.kind.value
        who = kind, ""
        if who not in self._devices:
            self._add(who, profile, self._settings.names.get(kind, kind), kind, {})
            self._memories[who] = _Memory(kind, who, {}, 0)
        return self._devices[who]

    def _add(self, who: _Who, profile: Profile, name: str, called: str, labels: Mapping[str, str]) -> None:
        is_sensor = profile.kind is Kind.SENSOR
        self._devices[who] = Device(
            key=DeviceKey(profile.kind, name),
            title=self._settings.titles.get(called) or _TITLES.get(profile.kind, called),
            profile=profile,
            fields=profile.choose(),
            interval_s=self._settings.silence_s / 2 if is_sensor else self._settings.interval_s,
            aliases=(WAGO,) if profile.kind is Kind.METER else (),
            labels=labels,
            origin=f"import {self._settings.page}",
        )


def _group(samples: Iterable[PageSample], profile: Profile) -> Mapping[_Labels, Mapping[str, PageSample]]:
    """The samples that are fields of this profile, by their labels; two that contradict each other are none."""
    groups: dict[_Labels, dict[str, PageSample]] = {}
    torn: set[tuple[_Labels, str]] = set()
    prefix = f"{_prefix(profile.kind)}_"
    for one in samples:
        field_name = one.name.removeprefix(prefix)
        if (
            one.name == field_name
            or field_name not in profile.fields
            or not all(map(_LABEL.fullmatch, one.labels))
        ):
            continue
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if value))
        fields = groups.setdefault(labels, {})
        if field_name in fields and fields[field_name].value != one.value:
            torn.add((labels, field_name))
        fields[field_name] = one
    for labels, field_name in torn:
        del groups[labels][field_name]
    return groups


def _prefix(kind: Kind) -> str:
    return WAGO if kind is Kind.METER else kind.value


def _seen_ms(fields: Mapping[str, PageSample]) -> int | None:
    """When a sensor was last seen; `None` where the page does not say, 0 where what it says is no time."""
    if LAST_SEEN not in fields:
        return None
    value = fields[LAST_SEEN].value
    return round(value * 1000) if 0 <= value <= _LATEST_S else 0


def _report(device: Device, fields: Mapping[str, PageSample], seen_ms: int | None) -> Report:
    return Report(
        {
            name: _stamped(
                _whole(device.fields[name], one.value), seen_ms if one.time_ms is None else one.time_ms
            )
            for name, one in fields.items()
        }
    )


def _whole(of: Field, value: float) -> int | float:
    """A page's numbers are all floats; what can only be whole is, as far as floats count in ones."""
    is_whole = of.quantity.decimals == 0 and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def _stamped(value: int | float, time_ms: int | None) -> Value | Stamped:
    return value if time_ms is None else Stamped(value, time_ms)
