"""A gateway without sockets, on a clock that only its reader moves."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from poller.blocks import FailureReason
from poller.line import MAX_BACK_OFF_S
from poller.transport import CONNECT_TIMEOUT_S, ReadError
from simulator.bus import Bus, Exchange
from simulator.faults import FaultPlan


@dataclass
class Clock:
    """Seconds of a monotonic clock.

    `asked_at` is when the last request reached its device. Where requests wait
    for the bus that is later than `now`; the house lives in this time.
    """

    now: float = 1000.0
    asked_at: float = 1000.0


@dataclass
class LineInMemory:
    """Stands for `poller.line.Line`: bytes go to a simulated bus and come back in their time.

    As with a real gateway requests wait for the bus, answers come in pieces,
    and without transactions a late one goes to whoever is connected then.
    """

    bus: Bus
    faults: FaultPlan
    clock: Clock
    chance: Random
    watch: Callable[[Exchange], None] = lambda exchange: None
    is_connected: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    exchanges: deque[Exchange] = field(default_factory=lambda: deque(maxlen=100))
    _coming: deque[tuple[float, bytes]] = field(default_factory=deque)
    _free_at: float = 0.0
    _refused_until: float = 0.0
    _connect_at: float = 0.0

    def connect(self) -> None:
        if self.is_connected:
            return
        if self.clock.now < self._connect_at:
            raise ReadError(FailureReason.UNREACHABLE, "not yet")
        if self.clock.now < self._refused_until:
            self.clock.now += CONNECT_TIMEOUT_S
            self._connect_at = self.clock.now + MAX_BACK_OFF_S
            raise ReadError(FailureReason.UNREACHABLE, "refused")
        self.is_connected = True

    def close(self) -> None:
        self.is_connected = False
        self.buffer.clear()
        if not self.bus.framing.has_checksum:
            self._coming.clear()

    def refuse(self, seconds: float) -> None:
        """End the connection, and let nobody connect for so long."""
        self._coming.appendleft((self.clock.now, b""))
        self._refused_until = self.clock.now + seconds

    def send(self, data: bytes, timeout_s: float) -> None:
        request = self.bus.framing.take(bytearray(data))
        assert request is not None, "a request goes out whole"
        self.clock.asked_at = max(self.clock.now, self._free_at) + self.bus.request_seconds(request)
        fault = self.faults.take(request.unit, self.bus.fields(request))
        reply = self.bus.reply(request, fault, self.clock.asked_at)
        self._free_at = self.clock.asked_at + reply.after_s
        self.exchanges.append(reply.exchange)
        self.watch(reply.exchange)
        sent = reply.exchange.sent
        cut = self.chance.randrange(len(sent) + 1) if self.chance.random() < 0.3 else 0
        self._coming.extend((self._free_at, piece) for piece in (sent[:cut], sent[cut:]) if piece)
        if reply.closes:
            self._coming.append((self._free_at, b""))

    def fill(self, deadline: float) -> bool:
        if not self._coming or self._coming[0][0] > deadline:
            self.clock.now = max(self.clock.now, deadline)
            return False
        at, data = self._coming.popleft()
        self.clock.now = max(self.clock.now, at)
        if not data:
            raise ConnectionResetError("closed by the gateway")
        self.buffer += data
        return True

    def take_waiting(self) -> None:
        while self._coming and self._coming[0][0] <= self.clock.now:
            self.fill(self.clock.now)
