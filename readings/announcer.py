"""When Home Assistant is told what, and what it is told to forget.

Both programs announce themselves with it. It decides only: what was heard and
the time go in, messages come out. Discovery is retained, so Home Assistant is
told on every connection, whenever it has started, and when something changes;
never with each reading.

What was announced by an earlier run lies at the broker and is heard right
after each connect. A device or an entity of it that is not announced any more
is taken back; an entity by naming it for a while, because Home Assistant keeps
what is merely left out.
"""

from collections.abc import Callable, Iterator

import msgspec

from readings.discovery import (
    Component,
    Discovery,
    DiscoveryTopics,
    Entity,
    decode_components,
    encode_discovery,
)
from readings.errors import PayloadError
from readings.payload import ONLINE

LISTEN_S = 2.0
"""After a connect, so long for what lies at the broker; what is said then overwrites it."""

SPREAD_S = 3.0
"""Programs that hear of Home Assistant's start answer spread over so long."""

SETTLE_S = 5.0
"""Home Assistant wants its time between two messages about one device."""

REMOVED_S = 60.0
"""So long an entity that is gone is named: Home Assistant may be about to connect to the broker again."""


class Announcer:
    """What a program announces of its devices, from connection to connection.

    Args:
        topics: Where Home Assistant listens.
        owner: The availability topic of the program, which each of its announcements names.
        is_wanted: False when Home Assistant is to find nothing: then what was announced is taken back.
        jitter: A random number from 0 to 1.

    Attributes:
        topics: Where Home Assistant listens.
    """

    def __init__(
        self,
        topics: DiscoveryTopics,
        owner: str,
        *,
        is_wanted: bool = True,
        jitter: Callable[[], float],
    ) -> None:
        self.topics = topics
        self._owner = owner
        self._is_wanted = is_wanted
        self._jitter = jitter
        self._announced: dict[str, Discovery] = {}
        self._lying: dict[str, frozenset[Entity]] = {}
        self._gone: dict[str, tuple[frozenset[Entity], float]] = {}
        self._due: dict[str, float] = {}
        self._settled: dict[str, float] = {}
        self._birth_due: float | None = None
        self._connected_at = 0.0

    def announce(self, kind: str, name: str, discovery: Discovery) -> None:
        """Say this of a device from now on."""
        topic = self.topics.config(kind, name)
        self._announced[topic] = discovery
        self._schedule(topic, self._connected_at + LISTEN_S)

    def connect(self, now: float) -> None:
        """There is a new connection: the broker may have forgotten everything."""
        self._connected_at = now
        self._lying.clear()
        self._gone.clear()
        self._birth_due = None
        self._due.clear()
        for topic in self._announced:
            self._schedule(topic, now + LISTEN_S)

    def hear(self, topic: str, payload: bytes, now: float, *, retained: bool) -> bool:
        """Listen to what others say, and to what was said before.

        Returns:
            Whether it was a message about discovery.
        """
        if topic == self.topics.status:
            if payload == ONLINE and self._birth_due is None:
                self._birth_due = max(now, self._connected_at + LISTEN_S) + SPREAD_S * self._jitter()
            return True
        if not self.topics.is_config(topic):
            return False
        if retained:
            self._note(topic, payload)
        return True

    def is_born(self, now: float) -> bool:
        """Whether Home Assistant has started: availability and states are to be said again, then `take`."""
        if self._birth_due is None or now < self._birth_due:
            return False
        self._birth_due = None
        for topic in self._announced:
            self._schedule(topic, now)
        return True

    def take(self, now: float, *, is_complete: bool = True) -> Iterator[tuple[str, bytes]]:
        """What is to be said now, retained: topics and payloads.

        Args:
            now: Seconds of any clock that does not jump.
            is_complete: Whether everything that there is has been announced: else nothing is taken back.
        """
        if is_complete:
            yield from self._take_back(now)
        for topic, due in tuple(self._due.items()):
            if now >= due and self._is_wanted:
                del self._due[topic]
                self._settled[topic] = now + SETTLE_S
                yield topic, self._payload(topic, now)

    def _schedule(self, topic: str, at: float) -> None:
        self._due[topic] = max(at, self._settled.get(topic, at))

    def _payload(self, topic: str, now: float) -> bytes:
        """What is announced, and for a while what is gone."""
        discovery = self._announced[topic]
        gone, until = self._gone.get(topic, (frozenset(), now))
        if now >= until:
            self._gone.pop(topic, None)
            return encode_discovery(discovery)
        self._schedule(topic, until)
        removed = {key: Component(platform=platform) for platform, key in gone - _entities(discovery)}
        return encode_discovery(msgspec.structs.replace(discovery, components=discovery.components | removed))

    def _note(self, topic: str, payload: bytes) -> None:
        """What was announced before, by this program."""
        try:
            owners, entities = decode_components(payload)
        except PayloadError:
            # Not ours, or about to be written over.
            return
        if topic in self._announced or self._owner in owners:
            self._lying[topic] = entities

    def _take_back(self, now: float) -> Iterator[tuple[str, bytes]]:
        """What lies at the broker and is announced no more."""
        for topic, lying in tuple(self._lying.items()):
            announced = self._announced.get(topic)
            if announced is None or not self._is_wanted:
                del self._lying[topic]
                yield topic, b""
            elif now >= self._connected_at + LISTEN_S:
                del self._lying[topic]
                if gone := lying - _entities(announced):
                    self._gone[topic] = gone, now + REMOVED_S
                    self._schedule(topic, now)


def _entities(discovery: Discovery) -> frozenset[Entity]:
    return frozenset((one.platform, key) for key, one in discovery.components.items())
