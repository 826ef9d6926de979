"""What Home Assistant is told so that it finds the devices by itself: one retained message per device.

Home Assistant calls it device discovery. A payload is accepted by every
release from 2025.4 on when it keeps to the few keys here: an unknown key at
its root drops the whole device.

>>> topics = DiscoveryTopics("homeassistant", Topics("heating"))
>>> topics.config("meter", "wp")
'homeassistant/device/heating/meter_wp/config'
"""

import re
from dataclasses import dataclass
from typing import Literal

import msgspec

from readings.errors import PayloadError
from readings.topics import Topics

Platform = Literal["sensor", "binary_sensor"]

EPOCH_TO_ISO = "timestamp_custom('%Y-%m-%dT%H:%M:%S+00:00', false, none)"
"""A filter of Home Assistant's templates: seconds since 1970 as ISO 8601 in UTC; no number is no time."""

Entity = tuple[Platform, str]
"""What an entity is and its key: the two by which Home Assistant tells the entities of a device apart."""


class Availability(msgspec.Struct, frozen=True):
    """A topic that says `online` or `offline`."""

    topic: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which program made the payload; Home Assistant names it in its log."""

    name: str
    sw_version: str


class ShownDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device as Home Assistant lists it.

    Attributes:
        identifiers: What it is known by, whatever it is called.
        via_device: The identifier of the device that it is reached through; it must be published too.
    """

    identifiers: tuple[str, ...]
    name: str
    manufacturer: str = ""
    model: str = ""
    sw_version: str = ""
    via_device: str = ""


class Component(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entity. With nothing but its platform it tells Home Assistant to remove it.

    Attributes:
        name: What people call it beside its device's name.
        state_topic: Where its state is; the device's, unless said here.
        expire_after: Seconds without a message after which it is unavailable.
        availability: Its own availability; the device's, unless said here.

    >>> msgspec.json.encode(Component(platform="sensor"))
    b'{"platform":"sensor"}'
    """

    platform: Platform
    unique_id: str = ""
    name: str = ""
    state_topic: str = ""
    value_template: str = ""
    device_class: str = ""
    unit_of_measurement: str = ""
    state_class: Literal["", "measurement", "total_increasing"] = ""
    suggested_display_precision: int | None = None
    options: tuple[str, ...] = ()
    payload_on: str = ""
    payload_off: str = ""
    entity_category: Literal["", "diagnostic"] = ""
    enabled_by_default: bool = True
    expire_after: int = 0
    availability: tuple[Availability, ...] = ()


class Discovery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that Home Assistant is told of one device.

    Attributes:
        availability: With the mode `all`, all of these topics must say `online`.
        components: The entities by a key that never changes.
    """

    device: ShownDevice
    origin: Origin
    state_topic: str
    availability: tuple[Availability, ...] = ()
    availability_mode: Literal["", "all"] = ""
    components: dict[str, Component]


@dataclass(frozen=True, slots=True)
class DiscoveryTopics:
    """Where Home Assistant listens.

    The root is a level of its own, so that one subscription brings all
    devices of one installation and nothing of another program.

    Args:
        prefix: `homeassistant` unless Home Assistant was told otherwise.
        topics: The topic scheme of the devices.
    """

    prefix: str
    topics: Topics

    @property
    def status(self) -> str:
        """Where Home Assistant says `online` when it is ready to listen."""
        return f"{self.prefix}/status"

    @property
    def every_config(self) -> str:
        """A subscription to all devices of this installation."""
        return f"{self.prefix}/device/{self._node}/+/config"

    def config(self, kind: str, name: str) -> str:
        """The topic of one device's discovery: no kind holds a `_`, so no two devices share one."""
        return f"{self.prefix}/device/{self._node}/{kind}_{name}/config"

    def is_config(self, topic: str) -> bool:
        """Whether it is the discovery of a device of this installation."""
        return topic.startswith(f"{self.prefix}/device/{self._node}/") and topic.endswith("/config")

    def identify(self, kind: str, name: str) -> str:
        """What Home Assistant knows a device by, and with a field behind it an entity."""
        return f"{self.topics.root}/{kind}/{name}"

    @property
    def _node(self) -> str:
        """The root in the letters that Home Assistant allows there.

        >>> DiscoveryTopics("homeassistant", Topics("haus/wärme"))._node
        'haus_2f_w_e4_rme'
        """
        return re.sub(r"[^a-zA-Z0-9_-]", lambda found: f"_{ord(found[0]):x}_", self.topics.root)


def encode_discovery(discovery: Discovery) -> bytes:
    """The payload for the device's discovery topic."""
    return msgspec.json.encode(discovery)


class _KnownComponent(msgspec.Struct):
    platform: Platform


class _Known(msgspec.Struct):
    """The part of an earlier payload that says whose it is and which entities it made."""

    availability: tuple[Availability, ...] = ()
    components: dict[str, _KnownComponent] = {}


def decode_components(payload: bytes) -> tuple[frozenset[str], frozenset[Entity]]:
    """What a payload of ours tells Home Assistant of.

    Returns:
        The availability topics of the device, and its entities.

    Raises:
        PayloadError: It is not such a payload.
    """
    try:
        known = msgspec.json.decode(payload, type=_Known)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from error
    return (
        frozenset(one.topic for one in known.availability),
        frozenset((one.platform, key) for key, one in known.components.items()),
    )
