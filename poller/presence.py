"""What else lies at the broker in this poller's name: what Home Assistant is told, and what earlier runs left.

What is heard of it comes from the network's thread and waits; the rest runs
in the thread that publishes.
"""

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from poller.device import Device
from poller.discovery import describe_poller, describe_to_home_assistant
from poller.leftovers import Leftovers
from readings.announcer import Announcer
from readings.discovery import DiscoveryTopics
from readings.errors import TopicError
from readings.message import Delivery
from readings.reading import DeviceKey
from readings.settings import HomeAssistantSettings
from readings.topics import DeviceTopic, Leaf, Program, ProgramLeaf, Topics

MOST_UNREAD = 5000
"""Messages that may wait to be looked at; they come in one burst after each connect, and again after the next."""

CLEARED = (Leaf.STATE, Leaf.JOURNAL, Leaf.AVAILABILITY, Leaf.INFO)
"""What is taken back of a device, the info last: it tells the next run that something is left."""


class Presence:
    """Announces the poller and its devices to Home Assistant, and takes back what is no longer there.

    Args:
        name: The poller's name.
        topics: The topic scheme.
        settings: Whether and where Home Assistant listens.
        jitter: A random number from 0 to 1.
    """

    def __init__(
        self,
        name: str,
        topics: Topics,
        settings: HomeAssistantSettings,
        *,
        jitter: Callable[[], float],
    ) -> None:
        self._name = name
        self._topics = topics
        self._discovery = DiscoveryTopics(settings.prefix, topics)
        self._known: set[DeviceKey] = set()
        self._leftovers = Leftovers(name)
        self._announcer = Announcer(
            self._discovery,
            topics.program(Program.POLLER, name, ProgramLeaf.AVAILABILITY),
            is_wanted=settings.discovery,
            jitter=jitter,
        )
        self._announcer.announce(Program.POLLER, name, describe_poller(name, self._discovery))
        self._heard: queue.Queue[Delivery] = queue.Queue(MOST_UNREAD)

    def add(self, device: Device) -> None:
        """A device of this poller: from its start, or one that has just appeared."""
        self._known.add(device.key)
        self._announcer.announce(
            device.key.kind,
            device.key.name,
            describe_to_home_assistant(device, self._name, self._discovery),
        )

    def hear(self, delivery: Delivery) -> None:
        """Anything that came on one of the `subscriptions`."""
        with suppress(queue.Full):
            self._heard.put_nowait(delivery)

    def connect(self, now: float) -> None:
        """There is a new connection."""
        self._announcer.connect(now)
        self._leftovers.connect(now)

    def keep(self, infos: Mapping[DeviceKey, bytes]) -> None:
        """The devices of which the journal has rows, with the `info` of each."""
        self._leftovers.keep(infos)

    def spoken_for(self, now: float) -> Mapping[DeviceKey, bytes]:
        """The devices that have left and have rows in the journal: what is to be said of each on this connection."""
        return self._leftovers.spoken_for(now, self._known)

    def listen(self, connection: int, now: float) -> bool:
        """Look at what was heard on this connection.

        Returns:
            Whether Home Assistant has just started: availability and states are to be said again, before `take`.
        """
        while not self._heard.empty():
            delivery = self._heard.get_nowait()
            if delivery.connection == connection:
                self._look_at(delivery, now)
        return self._announcer.is_born(now)

    def take(self, now: float, *, is_complete: bool) -> Iterator[tuple[str, bytes]]:
        """What is to be said now, retained: topics and payloads.

        Args:
            now: Seconds of any clock that does not jump.
            is_complete: Whether what the sources found in earlier runs is known: else nothing is taken back.
        """
        yield from self._announcer.take(now, is_complete=is_complete)
        if not is_complete:
            return
        for key in self._leftovers.take(now, self._known):
            for leaf in CLEARED:
                yield self._topics.device(key, leaf), b""

    def _look_at(self, delivery: Delivery, now: float) -> None:
        topic, payload = delivery.topic, delivery.payload
        if self._announcer.hear(topic, payload, now, retained=delivery.retained):
            return
        with suppress(TopicError):
            place = self._topics.parse(topic)
            if isinstance(place, DeviceTopic) and place.leaf is Leaf.INFO:
                self._leftovers.hear(place.key, payload, now, retained=delivery.retained)


def subscriptions(topics: Topics, settings: HomeAssistantSettings) -> tuple[str, ...]:
    """What the poller must hear for it."""
    discovery = DiscoveryTopics(settings.prefix, topics)
    return discovery.every_config, discovery.status, *topics.every_device(Leaf.INFO)
