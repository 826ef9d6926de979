"""Which of a gateway's components is what: a Bluetooth sensor is a device and as many sensors as it measures.

The ids differ from house to house; the gateway is asked (Shelly.GetComponents),
page by page.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from poller.errors import MessageError

FIELDS: Mapping[int, str] = MappingProxyType(
    {
        1: "battery_percent",
        2: "temperature_celsius",
        69: "temperature_celsius",
        3: "humidity_percent",
        46: "humidity_percent",
    }
)
"""What BTHome's object ids are to us: battery, temperature of 0.01 and 0.1 °C, humidity of 0.01 and 1 %."""

MOST = 500
"""So many components no gateway has: ids of dynamic components go from 200 to 299."""

_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway says of one component.

    Attributes:
        key: `bthomedevice:200` or `bthomesensor:202`.
        address: The address of the Bluetooth device, small letters.
        name: What its owner called it, if at all.
        object_id: What a sensor measures, by BTHome's numbers.
        index: Which of several of the kind it is.
    """

    key: str
    address: str
    name: str = ""
    object_id: int = 0
    index: int = 0

    @property
    def field(self) -> str | None:
        """The field that a sensor's value is."""
        is_first = self.key.startswith("bthomesensor:") and self.index == 0
        return FIELDS.get(self.object_id) if is_first else None


class Memory(msgspec.Struct, frozen=True):
    """What is known of one Shelly in the next run.

    Attributes:
        components: Its Bluetooth components.
        statuses: What it has told of them; the next change is laid over it.
        seen: Which of its other components there are.
    """

    components: list[Component] = []
    statuses: dict[str, dict[str, Any]] = {}
    seen: list[str] = []


def normal_address(text: str) -> str | None:
    """A Bluetooth or network address as we write it.

    >>> normal_address("00005E005310"), normal_address("00-00-5e-00-53-10"), normal_address("hall")
    ('00:00:5e:00:53:10', '00:00:5e:00:53:10', None)
    """
    digits = re.sub("[:-]", "", text.lower())
    address = ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))
    return address if _ADDRESS.fullmatch(address) else None


@dataclass(frozen=True, slots=True)
class Parts:
    """The components of one Bluetooth device: itself, and its sensors by the field that they are."""

    device: str | None
    sensors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a gateway's components.

    Attributes:
        statuses: What it says of each of them, by key.
        next_offset: Where the next page begins; `None` after the last one.
    """

    components: tuple[Component, ...] = ()
    statuses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    next_offset: int | None = None

    def joined_by(self, other: "Page") -> "Page":
        """Both as one; what changed its place between them stands once."""
        components = {one.key: one for one in (*self.components, *other.components)}
        return Page(tuple(components.values()), {**self.statuses, **other.statuses})


class _Config(msgspec.Struct, frozen=True):
    addr: str
    name: str | None = None
    obj_id: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    idx: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class _Entry(msgspec.Struct, frozen=True):
    key: Annotated[str, msgspec.Meta(pattern=r"^bthome(device|sensor):[0-9]{1,5}\Z")]
    config: _Config
    status: dict[str, Any] = {}


class _Answer(msgspec.Struct, frozen=True):
    components: list[Any]
    offset: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    total: Annotated[int, msgspec.Meta(ge=0, le=65535)]


def read_page(result: Mapping[str, Any]) -> Page:
    """One page of the answer to Shelly.GetComponents; components that are no Bluetooth ones are passed over.

    Raises:
        MessageError: It is no such page.
    """
    try:
        answer = msgspec.convert(result, _Answer)
    except msgspec.ValidationError as error:
        raise MessageError(f"components: {error}") from error
    found: dict[str, Component] = {}
    statuses: dict[str, Mapping[str, Any]] = {}
    for one in answer.components:
        try:
            entry = msgspec.convert(one, _Entry)
        except msgspec.ValidationError:
            continue
        address = normal_address(entry.config.addr)
        if address is not None:
            name = (entry.config.name or "").strip()[:60]
            config = entry.config
            found[entry.key] = Component(
                key=entry.key, address=address, name=name, object_id=config.obj_id, index=config.idx
            )
            statuses[entry.key] = entry.status
    next_offset = answer.offset + len(answer.components)
    is_last = not answer.components or next_offset >= answer.total or next_offset > MOST
    return Page(tuple(found.values()), statuses, None if is_last else next_offset)


def parts_of(components: Iterable[Component], address: str) -> Parts:
    """What belongs to one Bluetooth device.

    >>> sensor = Component(key="bthomesensor:202", address="a", object_id=69)
    >>> parts_of([sensor, Component(key="bthomedevice:200", address="a")], "a")
    Parts(device='bthomedevice:200', sensors={'temperature_celsius': 'bthomesensor:202'})
    """
    mine = [one for one in components if one.address == address]
    device = next((one.key for one in mine if one.key.startswith("bthomedevice:")), None)
    return Parts(device, {one.field: one.key for one in reversed(mine) if one.field is not None})
