"""Where things are on the bus.

>>> topics = Topics("heating")
>>> topics.device(DeviceKey(Kind.METER, "wp"), Leaf.STATE)
'heating/meter/wp/state'
>>> topics.parse("heating/meter/wp/state")
DeviceTopic(key=DeviceKey(kind=<Kind.METER: 'meter'>, name='wp'), leaf=<Leaf.STATE: 'state'>)
"""

from dataclasses import dataclass
from enum import StrEnum

from readings.errors import TopicError
from readings.reading import DeviceKey, Kind, is_device_name


class Leaf(StrEnum):
    """The last level of a device's topics."""

    STATE = "state"
    AVAILABILITY = "availability"
    INFO = "info"
    JOURNAL = "journal"
    HISTORY = "history"
    REPLAY = "replay"


class Program(StrEnum):
    """The programs that publish about themselves."""

    POLLER = "poller"
    BRIDGE = "bridge"


class ProgramLeaf(StrEnum):
    """The last level of a program's topics."""

    AVAILABILITY = "availability"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class DeviceTopic:
    """A topic of a device, taken apart."""

    key: DeviceKey
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class ProgramTopic:
    """A topic of a program, taken apart."""

    program: Program
    name: str
    leaf: ProgramLeaf


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic scheme below one root (`heating` unless configured)."""

    root: str

    def __post_init__(self) -> None:
        levels = self.root.split("/")
        if not all(levels) or any(char in self.root for char in "+#\0") or self.root.startswith("$"):
            raise TopicError(
                f"root {self.root!r}: expected topic levels without '+', '#', '$' and empty levels"
            )

    def device(self, key: DeviceKey, leaf: Leaf) -> str:
        """The topic of one of a device's messages."""
        return f"{self.root}/{key.kind}/{key.name}/{leaf}"

    def program(self, program: Program, name: str, leaf: ProgramLeaf) -> str:
        """The topic of one of a program's messages about itself."""
        if not is_device_name(name):
            raise TopicError(f"{program} name {name!r}: expected small letters, digits, '_' and '-'")
        return f"{self.root}/{program}/{name}/{leaf}"

    def every_device(self, *leaves: Leaf) -> tuple[str, ...]:
        """Subscriptions to these messages of every device.

        >>> Topics("heating").every_device(Leaf.STATE)
        ('heating/meter/+/state', 'heating/heatpump/+/state', 'heating/sensor/+/state', 'heating/thermostat/+/state')
        """
        return tuple(f"{self.root}/{kind}/+/{leaf}" for leaf in leaves for kind in Kind)

    def every_program(self, program: Program, *leaves: ProgramLeaf) -> tuple[str, ...]:
        """Subscriptions to these messages of every program of one sort."""
        return tuple(f"{self.root}/{program}/+/{leaf}" for leaf in leaves)

    def parse(self, topic: str) -> DeviceTopic | ProgramTopic:
        """Take a topic apart.

        Raises:
            TopicError: It is not a topic of this scheme.
        """
        levels = topic.removeprefix(self.root + "/").split("/")
        if not topic.startswith(self.root + "/") or len(levels) != 3:
            raise TopicError(f"{topic!r}: expected {self.root}/<kind>/<name>/<message>")
        first, name, last = levels
        try:
            if first in set(Program):
                if not is_device_name(name):
                    raise TopicError(f"{topic!r}: {name!r} cannot be a {first}'s name")
                return ProgramTopic(Program(first), name, ProgramLeaf(last))
            return DeviceTopic(DeviceKey(Kind(first), name), Leaf(last))
        except ValueError as error:
            raise TopicError(f"{topic!r}: {error}") from error
