"""The MQTT session for what others publish: kept by the broker while the poller is away.

What others publish cannot be asked for again. So the broker keeps this
session's messages, and each is acknowledged only when the journal has what it made:
what a killed poller had not written down comes again.

A message that waited at the broker does not say so, and not how long. After each connect
a marker is published to a topic of our own and comes back behind
everything that waited: what comes before it is not live.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from readings.broker import Delivery, Message, Session
from readings.errors import TopicError
from readings.settings import MqttSettings
from readings.topics import Program, Topics

MOST_MESSAGES = 2000
MOST_BYTES = 8_000_000
"""So much may be received and not yet be in the journal; then nothing is read from the broker, which keeps the rest."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of somebody else's.

    Attributes:
        at: When it came, seconds of the monotonic clock.
        is_live: It came when it was published.
    """

    delivery: Delivery
    at: float
    is_live: bool


def client_id(poller: str) -> str:
    """What the session is called at the broker, and what a device is told that it is asked by.

    >>> client_id("poller")
    'heating-poller-poller-sources'
    """
    return f"heating-poller-{poller}-sources"


class Listener:
    """Hears what others publish, from `start` on.

    Args:
        settings: Where the broker is.
        name: The poller's name.
        topics: The topic scheme; the poller does not listen to itself.
        run: What no other run of this poller says of itself.
        filters: What to listen to. Without any, the broker is told to forget what an earlier run listened to.
        take: Gets each message; it has room for `MOST_MESSAGES`.
        monotonic: Seconds of the clock that counts from the boot.
        jitter: A random number from 0 to 1.
        most_messages: So many may be received and not acknowledged.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        name: str,
        topics: Topics,
        run: str,
        filters: Iterable[str],
        take: Callable[[Incoming], None],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        most_messages: int = MOST_MESSAGES,
    ) -> None:
        self.filters = tuple(dict.fromkeys(filters))
        self._settings = settings
        self._client_id = client_id(name)
        self._topics = topics
        self._run = run
        self._marker = f"{topics.root}/{Program.POLLER}/{name}/sources/marker"
        self._take = take
        self._monotonic = monotonic
        self._jitter = jitter
        self._most_messages = most_messages
        self._session: Session | None = None
        self._is_live = False
        self._is_stopping = False
        self._waiting = self._bytes = 0
        self._changed = threading.Condition()

    @property
    def is_started(self) -> bool:
        """Whether it listens, or tries to."""
        return self._session is not None

    @property
    def connection(self) -> int:
        """The number of the current connection; 0 when there is none."""
        session = self._session
        return session.connection if session is not None and session.is_connected else 0

    def start(self, earlier: Iterable[str]) -> None:
        """Begin to listen; the broker forgets those of the `earlier` filters that are not wanted any more."""
        self._session = Session(
            self._settings,
            client_id=self._client_id,
            clean=not self.filters,
            subscriptions=[(one, 1) for one in (*self.filters, self._marker)] if self.filters else [],
            unsubscriptions=set(earlier) - set(self.filters),
            first_words=self._mark,
            on_connect=self._connected,
            on_message=self._hear,
            jitter=self._jitter,
        )
        self._session.start()

    def close(self) -> None:
        """Take nothing more; what was taken can still be acknowledged."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End; what was not acknowledged stays at the broker."""
        self.close()
        if self._session is not None:
            self._session.stop()

    def say(self, message: Message) -> bool:
        """Publish something; False when there is no connection."""
        return self._session is not None and self._session.publish(message)

    def acknowledge(self, incoming: Incoming) -> None:
        """What the message made is safe, or nothing can be made of it."""
        with self._changed:
            self._waiting -= 1
            self._bytes -= len(incoming.delivery.payload)
            self._changed.notify_all()
        if self._session is not None:
            self._session.acknowledge(incoming.delivery)

    def _mark(self, connection: int) -> Iterable[Message]:
        return [Message(self._marker, self._mark_of(connection))] if self.filters else []

    def _mark_of(self, connection: int) -> bytes:
        return f"{self._run} {connection}".encode()

    def _connected(self, _: int) -> None:
        self._is_live = False

    def _hear(self, delivery: Delivery) -> None:
        """In the network's thread; while there is no room, nothing is read from the broker."""
        if delivery.topic == self._marker or self._is_own(delivery.topic):
            self._is_live = self._is_live or delivery.payload == self._mark_of(delivery.connection)
            self._drop(delivery)
            return
        incoming = Incoming(delivery, self._monotonic(), self._is_live and not delivery.retained)
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or self._has_room(delivery))
            if self._is_stopping:
                return
            self._waiting += 1
            self._bytes += len(delivery.payload)
        self._take(incoming)

    def _drop(self, delivery: Delivery) -> None:
        if self._session is not None:
            self._session.acknowledge(delivery)

    def _is_own(self, topic: str) -> bool:
        """Whether it is a message of the contract: readings, not something to make readings of."""
        try:
            self._topics.parse(topic)
        except TopicError:
            return False
        return True

    def _has_room(self, delivery: Delivery) -> bool:
        return not self._waiting or (
            self._waiting < self._most_messages and self._bytes + len(delivery.payload) <= MOST_BYTES
        )
