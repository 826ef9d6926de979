"""What the poller says on the bus, and when.

Everything here runs in the journal's thread, so that what a list names was
handed over before it, and nothing of an old connection comes after the
greeting of a new one. What cannot be handed over is forgotten: whoever needs
a state asks for it, the rest is said again on the next connection.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from poller.device import Device, describe_device
from poller.errors import JournalError
from readings.broker import Message
from readings.health import Health, Tally, encode_health
from readings.payload import OFFLINE, ONLINE, StreamRange, encode_info, encode_journal, encode_state
from readings.reading import DeviceKey, DeviceState
from readings.release import VERSION
from readings.topics import Leaf, Program, ProgramLeaf, Topics

LIST_EVERY_S = 60.0
HEALTH_EVERY_S = 30.0

Ranges = Callable[[DeviceKey], Sequence[StreamRange]]
"""What the journal holds of a device; JournalError when it cannot say."""


class Broker(Protocol):
    """The part of `readings.broker.Session` that publishing needs."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""

    @property
    def connection(self) -> int:
        """The number of the current connection, or of the last one."""

    def publish(self, message: Message) -> bool:
        """Hand a message over; False when it is gone."""


def will(topics: Topics, name: str) -> Message:
    """What the broker says when the poller dies."""
    return Message(topics.program(Program.POLLER, name, ProgramLeaf.AVAILABILITY), OFFLINE, retain=True)


class Publisher:
    """The poller's side of the contract, as long as the poller runs.

    Args:
        broker: Where to publish.
        topics: The topic scheme.
        name: The poller's name.
        devices: All devices of this poller.
        stream: This run's stream.
        ranges: What the journal holds of a device.
        tally: The poller's counters, reported as its health.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        name: str,
        devices: Iterable[Device],
        *,
        stream: str,
        ranges: Ranges,
        tally: Tally,
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._name = name
        self._ranges = ranges
        self._tally = tally
        self._infos = {one.key: encode_info(describe_device(one, name, stream)) for one in devices}
        self._online = dict.fromkeys(self._infos, False)
        self._newest: dict[DeviceKey, bytes] = {}
        self._to_list: set[DeviceKey] = set()
        self._begun: set[DeviceKey] = set()
        self._greeted = 0
        self._lists_due = self._health_due = 0.0

    def attend(self, now: float) -> None:
        """Greet a new connection, and send lists and health when they are due; call it often."""
        if self._broker.is_connected and self._broker.connection != self._greeted:
            self._greeted = self._broker.connection
            self._tally.count("poller_broker_connects_total")
            self._greet()
            self._lists_due, self._health_due = now + LIST_EVERY_S, now
        if not self._is_up():
            return
        if now >= self._lists_due:
            self._to_list |= self._infos.keys()
            self._lists_due = now + LIST_EVERY_S
        for key in sorted(self._to_list):
            self._list(key)
        self._to_list.clear()
        if now >= self._health_due:
            self._health_due = now + HEALTH_EVERY_S
            report = Health(name=self._name, version=VERSION, metrics=self._tally.samples())
            self._say(self._own_topic(ProgramLeaf.HEALTH), encode_health(report))

    def set_online(self, key: DeviceKey, *, online: bool) -> None:
        """Whether the device can be read; said when it changes."""
        self._tally.set("poller_device_up", online, device=key.name)
        if self._online[key] is not online:
            self._online[key] = online
            self._say_online(key)

    def send(self, key: DeviceKey, state: DeviceState) -> None:
        """A device's newest state; the first of its stream is listed at once.

        Whoever stores states waits for the list to know the stream's place.
        """
        if state.seq is not None and key not in self._begun:
            self._begun.add(key)
            self._to_list.add(key)
        self._newest[key] = encode_state(state)
        if self._say_newest(key):
            self._tally.count("poller_states_published_total", device=key.name)

    def list_soon(self, keys: Iterable[DeviceKey]) -> None:
        """The journal no longer holds all that the last list of these devices named."""
        self._to_list |= self._infos.keys() & set(keys)

    def farewell(self) -> tuple[Message, ...]:
        """The last words of a poller that ends in order."""
        topics = [self._topics.device(key, Leaf.AVAILABILITY) for key in self._infos]
        return tuple(
            Message(topic, OFFLINE, retain=True)
            for topic in (*topics, self._own_topic(ProgramLeaf.AVAILABILITY))
        )

    def _greet(self) -> None:
        """Say everything that is retained: the broker may have forgotten it all."""
        self._say(self._own_topic(ProgramLeaf.AVAILABILITY), ONLINE)
        for key, info in self._infos.items():
            self._say_online(key)
            self._say(self._topics.device(key, Leaf.INFO), info)
            self._list(key)
            self._say_newest(key)
        self._to_list.clear()

    def _list(self, key: DeviceKey) -> None:
        try:
            ranges = self._ranges(key)
        except JournalError:
            # Whoever writes the journal reports its state; the next list is due in a minute.
            return
        self._say(self._topics.device(key, Leaf.JOURNAL), encode_journal(ranges))

    def _say_online(self, key: DeviceKey) -> None:
        payload = ONLINE if self._online[key] else OFFLINE
        self._say(self._topics.device(key, Leaf.AVAILABILITY), payload)

    def _say_newest(self, key: DeviceKey) -> bool:
        payload = self._newest.get(key)
        return payload is not None and self._say(self._topics.device(key, Leaf.STATE), payload)

    def _say(self, topic: str, payload: bytes) -> bool:
        return self._is_up() and self._broker.publish(Message(topic, payload, retain=True))

    def _is_up(self) -> bool:
        """Whether the connection that was greeted is still there."""
        return self._broker.is_connected and self._broker.connection == self._greeted

    def _own_topic(self, leaf: ProgramLeaf) -> str:
        return self._topics.program(Program.POLLER, self._name, leaf)
