"""The connections to the broker, which may end."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from readings.broker import Delivery, Message, Session
from readings.settings import MqttSettings
from readings.topics import Topics
from tests.model.machine import Fuse

TOPICS = Topics("heating")
SETTINGS = MqttSettings()


@dataclass
class Client:
    """What paho's client is to a session: it takes messages and acknowledgements, and dies with its connection."""

    fuse: Fuse
    hear_ack: Callable[[int], None]
    up: deque[Message] = field(default_factory=deque)
    rc: int = 0

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> "Client":
        self.fuse.burn()
        self.up.append(Message(topic, payload, retain, qos))
        return self

    def ack(self, packet: int, qos: int) -> None:
        self.fuse.burn()
        self.hear_ack(packet)


class Wire(Session):
    """The real session on connections that are made up; one may be cut, and then what it carried is gone."""

    def __init__(self, fuse: Fuse, hear_ack: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(SETTINGS, client_id="", clean=False, jitter=lambda: 0.0)
        self._fuse = fuse
        self._hear_ack = hear_ack

    @property
    def up(self) -> deque[Message]:
        return deque() if self._client is None else self._client.up

    def accept(self) -> None:
        self._connection += 1
        self._client = Client(self._fuse, self._hear_ack)
        self._arrived.clear()
        self._safe.clear()

    def receive(self, delivery: Delivery) -> None:
        self._arrived.append(delivery.packet)

    def cut(self) -> None:
        self._client = None
