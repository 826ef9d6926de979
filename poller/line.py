"""The connection to a bus: connecting with back-off, and bytes with a deadline."""

import logging
import math
from collections.abc import Callable
from typing import Protocol

from poller.address import SerialAddress
from poller.advice import explain_no_connection
from poller.blocks import FailureReason
from poller.config import BusSettings
from poller.network import NetworkConnector
from poller.resolver import Resolver
from poller.serial_port import SerialConnector
from poller.transport import CONNECT_TIMEOUT_S, ReadError
from readings.health import Tally

_log = logging.getLogger(__name__)

FIRST_BACK_OFF_S = 0.25
MAX_BACK_OFF_S = 1.0
"""A heat pump's gap stays under 20 s also when the gateway refuses sockets for a while."""

MAX_UNREAD_BYTES = 65536


class Connection(Protocol):
    """A socket or a serial port; each of the calls may raise OSError when it is lost."""

    def send(self, data: bytes, within_s: float) -> None:
        """Send all of it."""

    def receive(self, within_s: float) -> bytes:
        """What has come, or comes within this time; nothing is `b""`."""

    def close(self) -> None:
        """End it."""


class Line:
    """One connection at a time, and the bytes that came over it.

    Args:
        settings: Where the bus is.
        tally: Where connections and failures are counted.
        monotonic: Seconds of a clock that never jumps.
        connector: Opens a connection within so many seconds.

    Attributes:
        buffer: What has come and nobody has taken yet.
    """

    def __init__(
        self,
        settings: BusSettings,
        *,
        tally: Tally,
        monotonic: Callable[[], float],
        connector: Callable[[float], Connection] | None = None,
    ) -> None:
        self.buffer = bytearray()
        self._name = settings.name
        self._address = settings.address
        # A gateway keeps the silence between two frames by itself; on our own port that is our business.
        self._silence_s = self._address.silence_s if isinstance(self._address, SerialAddress) else 0.0
        self._connector = connector or _find_connector(settings, monotonic)
        self._tally = tally
        self._monotonic = monotonic
        self._connection: Connection | None = None
        self._connect_at = -math.inf
        self._refusals = 0
        self._is_announced = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def connect(self) -> None:
        """Have a connection, within `CONNECT_TIMEOUT_S` in all; after a failure the next attempt waits.

        Raises:
            ReadError: There is none (`UNREACHABLE`).
        """
        if self._connection is not None:
            return
        if (left_s := self._connect_at - self._monotonic()) > 0:
            raise ReadError(FailureReason.UNREACHABLE, f"{self._address}: next attempt in {left_s:.1f} s")
        try:
            self._connection = self._connector(CONNECT_TIMEOUT_S)
        except OSError as error:
            self._connect_at = self._monotonic() + min(FIRST_BACK_OFF_S * 2**self._refusals, MAX_BACK_OFF_S)
            self._refusals += 1
            self._tally.count("poller_connect_failures_total", bus=self._name)
            advice = explain_no_connection(self._address, error)
            if self._refusals == 1:
                _log.warning("bus %s: no connection to %s: %s", self._name, self._address, advice)
            raise ReadError(FailureReason.UNREACHABLE, f"{self._address}: {advice}") from error
        self._tally.count("poller_connects_total", bus=self._name)
        if self._refusals or not self._is_announced:
            _log.info("bus %s: connected to %s", self._name, self._address)
        self._refusals = 0
        self._is_announced = True

    def close(self) -> None:
        """Let the connection go, and what came over it."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.buffer.clear()

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it, on a serial line after the silence that ends the frame before.

        Raises:
            OSError: The connection is lost.
        """
        give_up = self._monotonic() + timeout_s
        while self._silence_s and self.fill(min(self._monotonic() + self._silence_s, give_up)):
            continue
        self._open_connection().send(data, timeout_s)

    def fill(self, deadline: float) -> bool:
        """Wait for more bytes; False when the deadline passes first.

        Raises:
            OSError: The connection is lost.
        """
        left_s = deadline - self._monotonic()
        if left_s <= 0 or len(self.buffer) >= MAX_UNREAD_BYTES:
            return False
        data = self._open_connection().receive(left_s)
        self.buffer += data
        return bool(data)

    def take_waiting(self) -> None:
        """Take what has come already, without waiting.

        Raises:
            OSError: The connection is lost.
        """
        while len(self.buffer) < MAX_UNREAD_BYTES:
            data = self._open_connection().receive(0)
            if not data:
                return
            self.buffer += data

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise ConnectionResetError("not connected")
        return self._connection


def _find_connector(settings: BusSettings, monotonic: Callable[[], float]) -> Callable[[float], Connection]:
    address = settings.address
    if isinstance(address, SerialAddress):
        return SerialConnector(address)
    return NetworkConnector(Resolver(address.host, address.port), monotonic)
