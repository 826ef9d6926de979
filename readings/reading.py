"""What a reading is.

A device's readings of one poll travel together as a `DeviceState`. Its
identity is (device, stream, seq): a stream is one run of the poller, and an
identity has one content for ever.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from readings.errors import TopicError

Value = int | float | None
"""A field's value; `None` is 'no value', never a number that stands for it."""

RESERVED = frozenset({"time", "stream", "seq", "held"})
"""Keys of a state that no field may have as its name."""

_NAME = re.compile(r"[a-z0-9_-]+")


class Kind(StrEnum):
    """What a device is; the second level of its topics."""

    METER = "meter"
    HEATPUMP = "heatpump"
    SENSOR = "sensor"
    THERMOSTAT = "thermostat"


def is_device_name(text: str) -> bool:
    """Whether the text may be a device's id: it stands in topics, labels and Home Assistant's ids.

    >>> is_device_name("heat-pump_2"), is_device_name("Wärmepumpe")
    (True, False)
    """
    return _NAME.fullmatch(text) is not None


def is_field_name(text: str) -> bool:
    """Whether the text may name a field: with a prefix before it, it is a metric's name.

    >>> is_field_name("power_L1_kw"), is_field_name("seq"), is_field_name("a-b")
    (True, False, False)
    """
    # In ASCII, a metric's name without colons is what Python calls an identifier; a pattern takes twice as long.
    return text.isascii() and text.isidentifier() and text not in RESERVED


def are_field_names(names: Collection[str]) -> bool:
    """Whether all of these may name fields; a state's are looked at together, for states come by the thousand.

    >>> are_field_names({"power_L1_kw", "tariff"}), are_field_names({"tariff", "seq"})
    (True, False)
    """
    return RESERVED.isdisjoint(names) and "".join(names).isascii() and all(map(str.isidentifier, names))


class DeviceKey(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One device on the bus.

    >>> str(DeviceKey(Kind.METER, "heating"))
    'meter/heating'
    """

    kind: Kind
    name: str

    def __post_init__(self) -> None:
        if not is_device_name(self.name):
            raise TopicError(f"device name {self.name!r}: expected small letters, digits, '_' and '-'")

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class DeviceState:
    """All fields of one device after one poll.

    Attributes:
        time_ms: When the reading was taken beside the device, in milliseconds
            since 1970 UTC; `None` while the poller's clock is not trusted.
        stream: The run of the poller that took it.
        seq: Its place in the stream, from 1; `None` when there is no journal
            row, and then nobody stores it.
        values: Every field of the device. A held field carries its last good
            value, a field without one `None`.
        held: Fields that were not measured in this poll. They make no sample.
    """

    time_ms: int | None
    stream: str
    seq: int | None
    values: Mapping[str, Value]
    held: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.stream:
            raise ValueError("stream: expected a name")
        if self.seq is not None and self.seq < 1:
            raise ValueError(f"seq: expected 1 or more, got {self.seq}")
        if not are_field_names(self.values.keys()):
            wrong = next(name for name in self.values if not is_field_name(name))
            raise ValueError(f"{wrong!r} cannot be a field's name")
        for name, value in self.values.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, got {value}")
        if unknown := self.held - self.values.keys():
            raise ValueError(f"held: {sorted(unknown)} are not fields of this state")

    @property
    def fresh(self) -> dict[str, int | float]:
        """The fields that were measured in this poll, with their values."""
        return {
            name: value for name, value in self.values.items() if value is not None and name not in self.held
        }

    @property
    def is_lost(self) -> bool:
        """Whether this state says that the device is lost: no field has a value."""
        return all(value is None for value in self.values.values())
