"""What the poller says on the bus, and when.

Everything but `hear` runs in the journal's thread, so that what a list names was
handed over before it, and nothing of an old connection comes after the
greeting of a new one. What cannot be handed over is forgotten: whoever needs
a state asks for it, the rest is said again on the next connection.
"""

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

from poller.device import Device, describe_device
from poller.errors import JournalError
from poller.presence import Presence
from poller.replay import Requests
from poller.states import INTERVALS
from readings.broker import Delivery, Message
from readings.errors import PayloadError, TopicError
from readings.health import Health, Tally, encode_health
from readings.payload import (
    OFFLINE,
    ONLINE,
    Replay,
    StreamRange,
    decode_replay,
    encode_info,
    encode_journal,
    encode_state,
)
from readings.reading import DeviceKey, DeviceState, Kind
from readings.release import VERSION
from readings.settings import HomeAssistantSettings
from readings.topics import DeviceTopic, Leaf, Program, ProgramLeaf, Topics

NOBODY_LISTENS = HomeAssistantSettings(discovery=False)

LIST_EVERY_S = 60.0
HEALTH_EVERY_S = 30.0

ANSWER_STATES = 100
"""States that are sent again at a time; then live states have their turn."""

MOST_UNREAD = 1000
"""Requests that may wait to be looked at; who asked for more asks again."""

Ranges = Callable[[DeviceKey], Sequence[StreamRange]]
"""What the journal holds of a device; JournalError when it cannot say."""

States = Callable[[DeviceKey, str, int, int], Sequence[DeviceState]]
"""The states of a stream from one number to another, as far as they are there; JournalError when it cannot say."""


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
        devices: The devices of the configuration.
        stream: This run's stream.
        instance: This run's name among programs of one name.
        ranges: What the journal holds of a device.
        states: The journal's states.
        tally: The poller's counters, reported as its health.
        homeassistant: Whether and where Home Assistant listens.
        jitter: A random number from 0 to 1.

    Attributes:
        is_complete: Whether the devices that earlier runs found are among `devices`; what is not
            there then has left.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        name: str,
        devices: Iterable[Device],
        *,
        stream: str,
        instance: str = "",
        ranges: Ranges,
        states: States,
        tally: Tally,
        homeassistant: HomeAssistantSettings = NOBODY_LISTENS,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._name = name
        self._instance = instance
        self._ranges = ranges
        self._states = states
        self._tally = tally
        self._stream = stream
        self._presence = Presence(name, topics, homeassistant, jitter=jitter)
        self._devices: dict[DeviceKey, Device] = {}
        self._infos: dict[DeviceKey, bytes] = {}
        self._left: Mapping[DeviceKey, bytes] = {}
        self._online: dict[DeviceKey, bool] = {}
        self._newest: dict[DeviceKey, bytes] = {}
        self._to_list: set[DeviceKey] = set()
        self._unread: queue.Queue[tuple[int, DeviceKey, Replay]] = queue.Queue(MOST_UNREAD)
        self._requests = Requests()
        self._begun: set[DeviceKey] = set()
        self._greeted = self._asked_on = 0
        self._lists_due = self._health_due = 0.0
        self.is_complete = False
        for one in devices:
            self.add(one)

    def add(self, device: Device) -> None:
        """A device that a source found, or more fields of one: announced at once, and with every greeting."""
        self._devices[device.key] = device
        self._infos[device.key] = encode_info(describe_device(device, self._name, self._stream))
        self._online.setdefault(device.key, False)
        self._presence.add(device)
        if device.key.kind is Kind.SENSOR:
            self._tally.set(
                "poller_sensor_silent_after_seconds",
                INTERVALS * device.interval_s,
                device=device.key.name,
                sensor_name=device.series_labels.get("sensor_name", ""),
            )
        self._announce(device.key)

    @property
    def devices(self) -> Mapping[DeviceKey, Device]:
        """The devices of this poller now."""
        return MappingProxyType(self._devices)

    def info(self, key: DeviceKey) -> bytes:
        """What is announced of a device."""
        return self._infos[key]

    def keep(self, infos: Mapping[DeviceKey, bytes]) -> None:
        """The devices of which the journal has rows, with the last announcement of each, empty where it is not known.

        Those that are no longer among `devices` are listed and answered for until it has none.
        """
        self._presence.keep(infos)

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for states to be sent again."""
        return bool(self._requests) or not self._unread.empty()

    def hear(self, delivery: Delivery) -> None:
        """Somebody asks for states of the journal, or says what concerns us. Called from the network's thread."""
        if not delivery.topic.endswith(f"/{Leaf.REPLAY}"):
            self._presence.hear(delivery)
            return
        try:
            place = self._topics.parse(delivery.topic)
            request = decode_replay(delivery.payload)
        except (TopicError, PayloadError):
            self._tally.count("poller_replays_refused_total")
            return
        if isinstance(place, DeviceTopic) and place.leaf is Leaf.REPLAY and place.key in self._infos:
            with suppress(queue.Full):
                self._unread.put_nowait((delivery.connection, place.key, request))

    def attend(self, now: float) -> None:
        """Greet a new connection, send lists and health when they are due, and some of what was asked for.

        Call it often.
        """
        if self._broker.is_connected and self._broker.connection != self._greeted:
            self._greeted = self._broker.connection
            self._tally.count("poller_broker_connects_total")
            self._presence.connect(now)
            self._speak_for_left(now)
            self._greet()
            self._lists_due, self._health_due = now + LIST_EVERY_S, now
        self._take_requests()
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
            report = Health(
                name=self._name, version=VERSION, instance=self._instance, metrics=self._tally.samples()
            )
            self._say(self._own_topic(ProgramLeaf.HEALTH), encode_health(report))
        self._tell_home_assistant(now)
        self._answer()

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
        if state.time_ms is not None and not state.is_lost:
            self._tally.set("poller_last_reading_timestamp_seconds", state.time_ms / 1000, device=key.name)
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
        for key in self._infos:
            self._announce(key)
        self._to_list.clear()

    def _announce(self, key: DeviceKey) -> None:
        """Everything retained of a device, in the contract's order."""
        if not self._is_up():
            return
        self._say_online(key)
        self._say(self._topics.device(key, Leaf.INFO), self._infos[key])
        self._list(key)
        self._say_newest(key)

    def _tell_home_assistant(self, now: float) -> None:
        """Tell Home Assistant what it has to know, and take back what is no longer so."""
        if self._presence.listen(self._greeted, now):
            self._say(self._own_topic(ProgramLeaf.AVAILABILITY), ONLINE)
            for key in self._infos:
                self._say_online(key)
                self._say_newest(key)
        self._speak_for_left(now)
        for topic, payload in self._presence.take(now, is_complete=self.is_complete):
            self._say(topic, payload)

    def _speak_for_left(self, now: float) -> None:
        """Begin, or end, to list and to answer for devices that are not there any more."""
        before, self._left = self._left, self._presence.spoken_for(now) if self.is_complete else {}
        for key in before.keys() - self._left.keys() - self._devices.keys():
            del self._infos[key]
        for key in self._left.keys() - before.keys():
            self._infos[key] = self._left[key]
            self._online[key] = False
            self._announce(key)
            # Nobody is to take its last state for one of now.
            self._say(self._topics.device(key, Leaf.STATE), b"")

    def _take_requests(self) -> None:
        """Look at what was asked for; who asked on a connection that has ended asks again on its next one."""
        if not self._is_up() or self._asked_on != self._greeted:
            self._requests.clear()
        self._asked_on = self._greeted
        while not self._unread.empty():
            connection, key, request = self._unread.get_nowait()
            if self._is_up() and connection == self._greeted:
                self._requests.add(key, request)

    def _answer(self) -> None:
        """Send some of what was asked for, a device at a time."""
        part = self._requests.take(ANSWER_STATES)
        if part is None:
            return
        key, request = part
        try:
            states = self._states(key, request.stream, request.first, request.last)
        except JournalError:
            # Whoever writes the journal reports its state; who asked asks again.
            return
        topic = self._topics.device(key, Leaf.HISTORY)
        for state in states:
            if not (self._is_up() and self._broker.publish(Message(topic, encode_state(state)))):
                return
            self._tally.count("poller_states_replayed_total", device=key.name)

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
