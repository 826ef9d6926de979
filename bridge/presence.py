"""What Home Assistant is told of the bridge itself: whether it is there, and whether all data have arrived."""

import queue
from collections.abc import Callable, Iterator
from contextlib import suppress

from readings.announcer import Announcer
from readings.discovery import Component, Discovery, DiscoveryTopics
from readings.message import Delivery
from readings.program_discovery import describe_program, latest, only, total
from readings.settings import HomeAssistantSettings
from readings.topics import Program, ProgramLeaf, Topics

MOST_UNREAD = 100
"""Home Assistant says one word when it starts, and one message of ours lies at the broker."""


def describe_bridge(name: str, topics: DiscoveryTopics, *, sends: bool = True) -> Discovery:
    """The bridge as a device.

    Args:
        name: The bridge's name.
        topics: Where Home Assistant listens.
        sends: Whether it has a receiver; without one there is nothing to say of it.

    >>> topics = DiscoveryTopics("homeassistant", Topics("heating"))
    >>> describe_bridge("bridge", topics).components["data_complete"].name
    'Data complete'
    """
    sending = {
        "last_sent": Component(
            platform="sensor",
            name="Last sent",
            device_class="timestamp",
            value_template=latest("bridge_last_sent_timestamp_seconds"),
        ),
    }
    return describe_program(
        Program.BRIDGE,
        name,
        topics,
        {
            "data_complete": Component(
                platform="binary_sensor",
                name="Data complete",
                payload_on="1",
                payload_off="0",
                value_template=only("bridge_data_complete"),
            ),
            "states_waiting": Component(
                platform="sensor",
                name="Readings waiting",
                state_class="measurement",
                suggested_display_precision=0,
                value_template=total("bridge_states_waiting"),
            ),
        }
        | (sending if sends else {}),
    )


class Presence:
    """Announces the bridge to Home Assistant; `hear` is called from the network's thread, the rest from one other.

    Args:
        name: The bridge's name.
        topics: The topic scheme.
        settings: Whether and where Home Assistant listens.
        sends: Whether it has a receiver.
        jitter: A random number from 0 to 1.

    Attributes:
        subscriptions: What the bridge must hear for it.
    """

    def __init__(
        self,
        name: str,
        topics: Topics,
        settings: HomeAssistantSettings,
        *,
        sends: bool = True,
        jitter: Callable[[], float],
    ) -> None:
        discovery = DiscoveryTopics(settings.prefix, topics)
        self.subscriptions = (discovery.config(Program.BRIDGE, name), discovery.status)
        self._announcer = Announcer(
            discovery,
            topics.program(Program.BRIDGE, name, ProgramLeaf.AVAILABILITY),
            is_wanted=settings.discovery,
            jitter=jitter,
        )
        self._announcer.announce(Program.BRIDGE, name, describe_bridge(name, discovery, sends=sends))
        self._heard: queue.Queue[Delivery] = queue.Queue(MOST_UNREAD)
        self._connection = 0

    def hear(self, delivery: Delivery) -> bool:
        """Take a message that came on one of the `subscriptions`; say whether it is one."""
        if delivery.topic not in self.subscriptions:
            return False
        with suppress(queue.Full):
            self._heard.put_nowait(delivery)
        return True

    def listen(self, connection: int, now: float) -> bool:
        """Look at what was heard on this connection.

        Returns:
            Whether Home Assistant has just started: availability and health are to be said again, before `take`.
        """
        if connection != self._connection:
            self._connection = connection
            self._announcer.connect(now)
        while not self._heard.empty():
            delivery = self._heard.get_nowait()
            if delivery.connection == connection:
                self._announcer.hear(delivery.topic, delivery.payload, now, retained=delivery.retained)
        return self._announcer.is_born(now)

    def take(self, now: float) -> Iterator[tuple[str, bytes]]:
        """What is to be said now, retained: topics and payloads."""
        return self._announcer.take(now)
