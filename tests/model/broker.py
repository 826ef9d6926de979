"""The broker, which may go back to what it once was."""

from collections import deque
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from readings.broker import Delivery, Message
from tests.model.wire import Wire

if TYPE_CHECKING:
    from tests.model.world import World

QUEUE = 12
"""What the broker keeps for a bridge that is away; more overflows."""


@dataclass
class Memory:
    """What a broker keeps, and may find again older than it was."""

    retained: dict[str, bytes] = field(default_factory=dict)
    queue: deque[tuple[str, bytes, bool]] = field(default_factory=deque)
    knows_bridge: bool = False


class Broker:
    """mosquitto, as far as it matters: one persistent session, retained messages, a bounded queue."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.memory = Memory()
        self.old: list[Memory] = [Memory()]
        self.is_up = self.passes_requests = True

    def take(self, message: Message) -> None:
        """A message has arrived whole."""
        if message.retain and message.payload:
            self.memory.retained[message.topic] = message.payload
        elif message.retain:
            self.memory.retained.pop(message.topic, None)
        if message.topic.endswith("/replay"):
            if self.passes_requests:
                self._tell_poller(message.topic, message.payload, is_retained=False)
        elif "/bridge/" not in message.topic and self.memory.knows_bridge:
            bridge = self.world.bridge
            if bridge.is_connected or len(self.memory.queue) < QUEUE:
                self.memory.queue.append((message.topic, message.payload, False))

    def up_from_poller(self, wire: Wire, most: int) -> None:
        for _ in range(min(most, len(wire.up))):
            self.take(wire.up.popleft())

    def connect(self, wire: Wire) -> None:
        if self.is_up and not wire.is_connected:
            wire.accept()
            if wire is self.world.poller.wire:
                for topic, payload in self.memory.retained.items():
                    if topic.endswith("/info"):
                        self._tell_poller(topic, payload, is_retained=True)

    def restart(self, age: int | None) -> None:
        """Die, and find an older memory; `None` is that it kept everything."""
        self.world.cut_wires()
        if age is not None:
            self.memory = deepcopy(self.old[-1 - age % len(self.old)])

    def remember(self) -> None:
        """Write everything to the file that a restart may find."""
        self.old.append(deepcopy(self.memory))

    def _tell_poller(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        poller = self.world.poller
        if poller.journal is not None and poller.wire.is_connected:
            poller.publisher.hear(Delivery(topic, payload, is_retained, poller.wire.connection, 0, 0))
