"""Connections to a gateway: a TCP socket, and bytes within a time."""

import socket
from collections.abc import Callable

from poller.resolver import Resolver


class NetworkConnection:
    """An open connection."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    def send(self, data: bytes, within_s: float) -> None:
        """Send all of it.

        Raises:
            OSError: The connection is lost.
        """
        self._socket.settimeout(within_s)
        self._socket.sendall(data)

    def receive(self, within_s: float) -> bytes:
        """What has come, or comes within this time; 0 does not wait. Nothing is `b""`.

        Raises:
            OSError: The connection is lost.
        """
        self._socket.settimeout(within_s)
        try:
            data = self._socket.recv(4096)
        except (TimeoutError, BlockingIOError):
            return b""
        if not data:
            raise ConnectionResetError("closed by the gateway")
        return data

    def close(self) -> None:
        """End it."""
        self._socket.close()


class NetworkConnector:
    """Opens connections to a gateway, whose name may have several addresses.

    Args:
        resolver: Finds the gateway's addresses.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(self, resolver: Resolver, monotonic: Callable[[], float]) -> None:
        self._resolver = resolver
        self._monotonic = monotonic

    def __call__(self, within_s: float) -> NetworkConnection:
        """Try the gateway's addresses in turn; the time that one costs the next one does not have.

        Raises:
            OSError: None of them can be connected to in time.
        """
        deadline = self._monotonic() + within_s
        failure: OSError = TimeoutError("timed out")
        for endpoint in self._resolver.endpoints(within_s):
            if (left_s := deadline - self._monotonic()) <= 0:
                break
            opened = socket.socket(endpoint.family, socket.SOCK_STREAM)
            try:
                opened.settimeout(left_s)
                opened.connect(endpoint.address)
            except OSError as error:
                opened.close()
                self._resolver.has_failed(endpoint)
                failure = error
            else:
                return NetworkConnection(opened)
        raise failure
