"""The TCP connection to a bus: connecting with back-off, and bytes with a deadline."""

import logging
import math
import socket
from collections.abc import Callable

from poller.blocks import FailureReason
from poller.config import BusSettings
from poller.resolver import Resolver
from poller.transport import CONNECT_TIMEOUT_S, ReadError
from readings.health import Tally

_log = logging.getLogger(__name__)

FIRST_BACK_OFF_S = 0.25
MAX_BACK_OFF_S = 1.0
"""A heat pump's gap stays under 20 s also when the gateway refuses sockets for a while."""

MAX_UNREAD_BYTES = 65536


class Line:
    """One connection at a time, and the bytes that came over it.

    Args:
        settings: Where the gateway is.
        tally: Where connections and failures are counted.
        monotonic: Seconds of a clock that never jumps.
        resolver: Finds the gateway's address.

    Attributes:
        buffer: What has come and nobody has taken yet.
    """

    def __init__(
        self,
        settings: BusSettings,
        *,
        tally: Tally,
        monotonic: Callable[[], float],
        resolver: Resolver | None = None,
    ) -> None:
        self.buffer = bytearray()
        self._name = settings.name
        self._address = (settings.host, settings.port)
        self._resolver = resolver or Resolver(*self._address)
        self._tally = tally
        self._monotonic = monotonic
        self._socket: socket.socket | None = None
        self._connect_at = -math.inf
        self._refusals = 0
        self._is_announced = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    def connect(self) -> None:
        """Have a connection, within `CONNECT_TIMEOUT_S` in all; after a failure the next attempt waits.

        Raises:
            ReadError: There is none (`UNREACHABLE`).
        """
        if self._socket is not None:
            return
        host, port = self._address
        if (left_s := self._connect_at - self._monotonic()) > 0:
            raise ReadError(FailureReason.UNREACHABLE, f"{host}:{port}: next attempt in {left_s:.1f} s")
        try:
            self._socket = self._open(self._monotonic() + CONNECT_TIMEOUT_S)
        except OSError as error:
            self._connect_at = self._monotonic() + min(FIRST_BACK_OFF_S * 2**self._refusals, MAX_BACK_OFF_S)
            self._refusals += 1
            self._tally.count("poller_connect_failures_total", bus=self._name)
            if self._refusals == 1:
                _log.warning("bus %s: no connection to %s:%d: %s", self._name, host, port, error)
            raise ReadError(FailureReason.UNREACHABLE, f"{host}:{port}: {error}") from error
        self._tally.count("poller_connects_total", bus=self._name)
        if self._refusals or not self._is_announced:
            _log.info("bus %s: connected to %s:%d", self._name, host, port)
        self._refusals = 0
        self._is_announced = True

    def close(self) -> None:
        """Let the connection go, and what came over it."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self.buffer.clear()

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it.

        Raises:
            OSError: The connection is lost.
        """
        connection = self._connection()
        connection.settimeout(timeout_s)
        connection.sendall(data)

    def fill(self, deadline: float) -> bool:
        """Wait for more bytes; False when the deadline passes first.

        Raises:
            OSError: The connection is lost.
        """
        left_s = deadline - self._monotonic()
        if left_s <= 0 or len(self.buffer) >= MAX_UNREAD_BYTES:
            return False
        connection = self._connection()
        connection.settimeout(left_s)
        try:
            data = connection.recv(4096)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionResetError("closed by the gateway")
        self.buffer += data
        return True

    def take_waiting(self) -> None:
        """Take what has come already, without waiting.

        Raises:
            OSError: The connection is lost.
        """
        connection = self._connection()
        connection.settimeout(0)
        try:
            while len(self.buffer) < MAX_UNREAD_BYTES:
                data = connection.recv(4096)
                if not data:
                    raise ConnectionResetError("closed by the gateway")
                self.buffer += data
        except BlockingIOError:
            return

    def _open(self, deadline: float) -> socket.socket:
        """Try the gateway's addresses in turn; the time that one costs the next one does not have."""
        failure: OSError = TimeoutError("timed out")
        for endpoint in self._resolver.endpoints(CONNECT_TIMEOUT_S):
            if (left_s := deadline - self._monotonic()) <= 0:
                break
            connection = socket.socket(endpoint.family, socket.SOCK_STREAM)
            try:
                connection.settimeout(left_s)
                connection.connect(endpoint.address)
            except OSError as error:
                connection.close()
                self._resolver.has_failed(endpoint)
                failure = error
            else:
                return connection
        raise failure

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("not connected")
        return self._socket
