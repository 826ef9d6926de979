"""The proxy's listening socket: had as soon as it can be had, whoever holds the port meanwhile."""

import logging
import math
import os
import socket
from typing import Any

from poller.proxy.settings import ProxySettings
from readings.health import Tally

_log = logging.getLogger(__name__)

TRY_EVERY_S = 5.0
"""After so long it is tried again to have the port."""

SEND_BUFFER_BYTES = 8192
"""What a client does not take fills this, not the machine's memory."""


class Listener:
    """The port of one bus's proxy.

    Attributes:
        socket: Where clients come in; None while the port cannot be had.
    """

    def __init__(self, name: str, settings: ProxySettings, *, tally: Tally) -> None:
        self.socket: socket.socket | None = None
        self._name = name
        self._settings = settings
        self._tally = tally
        self._try_at = -math.inf
        self._has_failed = False

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens."""
        return self.socket.getsockname()[:2] if self.socket is not None else None

    def attend(self, now: float) -> socket.socket | None:
        """Try to have the port, if that is due; gives the socket when it was opened just now."""
        if self.socket is not None or now < self._try_at:
            return None
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        try:
            self.socket = socket.create_server(
                (self._settings.host, self._settings.port),
                family=family,
                dualstack_ipv6=family == socket.AF_INET6 and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            self._note_failure(now, error)
            return None
        self.socket.settimeout(0)
        self._has_failed = False
        self._tally.set("poller_proxy_listening", 1, bus=self._name)
        _log.info("bus %s: Modbus proxy on %s", self._name, self._settings)
        return self.socket

    def accept(self) -> tuple[socket.socket, Any]:
        """The next client, and its address.

        Raises:
            OSError: There is none.
        """
        if self.socket is None:
            raise BlockingIOError
        client, peer = self.socket.accept()
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return client, peer

    def give_up(self, now: float, error: OSError) -> socket.socket:
        """Nobody can be let in (no file descriptors left): close the port for a while; gives the closed socket."""
        if self.socket is None:
            raise RuntimeError("a closed port takes nobody in")
        closed, self.socket = self.socket, None
        closed.close()
        self._note_failure(now, error)
        return closed

    def close(self) -> None:
        """End it."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _note_failure(self, now: float, error: OSError) -> None:
        self._try_at = now + TRY_EVERY_S
        self._tally.set("poller_proxy_listening", 0, bus=self._name)
        if not self._has_failed:
            self._has_failed = True
            _log.warning(
                "bus %s: no Modbus proxy on %s: %s; trying again every %g s",
                self._name,
                self._settings,
                os.strerror(error.errno) if error.errno else error,
                TRY_EVERY_S,
            )
