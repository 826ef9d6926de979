"""A Modbus gateway: TCP connections in front of one half-duplex bus.

All connections share the bus: one thread answers one request at a time, and
the line's time passes for each. So a slow device delays everybody, as it does
on a real gateway.
"""

import contextlib
import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from types import TracebackType
from typing import Self

from simulator.bus import Bus, Exchange
from simulator.errors import FramingError
from simulator.faults import FaultPlan
from simulator.wire import Request

_log = logging.getLogger(__name__)


class Gateway:
    """A gateway on a TCP port, from `start` to `stop`.

    Args:
        bus: The line behind it, which also says how the clients speak.
        host: Where it listens.
        port: 0 takes a free one; `address` says which.
        seed: What the faults' probabilities are drawn with.
        remembers: How many exchanges it keeps for `exchanges`.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        remembers: int = 100_000,
    ) -> None:
        self.bus = bus
        self.faults = FaultPlan(Random(seed).random)  # noqa: S311  # chances that can be repeated, no secret
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._refused_until = 0.0
        self._requests: queue.SimpleQueue[tuple[socket.socket, Request] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._exchanges: deque[Exchange] = deque(maxlen=remembers)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        return self._address

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The requests so far, oldest first. One is here before its answer is sent."""
        with self._lock:
            return tuple(self._exchanges)

    def start(self) -> None:
        """Listen and answer.

        Raises:
            OSError: The port is taken.
        """
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        self._run("accept", partial(self._accept, self._listener))
        self._run("bus", self._serve)

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        self._end()
        for thread in tuple(self._threads):
            thread.join(5)

    def refuse(self, seconds: float) -> None:
        """For so long nobody can connect; open connections stay."""
        self._refused_until = time.monotonic() + seconds
        self._close_listener()

    def close_connections(self) -> None:
        """Close every open connection."""
        with self._lock:
            for connection in self._connections:
                _close(connection)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self) -> None:
        self._stopped.set()
        self._requests.put(None)
        self._close_listener()
        self.close_connections()

    def _close_listener(self) -> None:
        if self._listener is not None:
            _close(self._listener)

    def _run(self, name: str, target: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                target()
            except Exception:  # noqa: BLE001  # the thread's outermost call: half a gateway would look like a dead bus
                _log.exception("the gateway stops: its %s thread has ended", name)
                self._end()

        thread = threading.Thread(target=guarded, name=f"gateway {name}", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:  # closed, by `refuse` or by `stop`
                while (left_s := self._refused_until - time.monotonic()) > 0:
                    if self._stopped.wait(left_s):
                        return
                listener = self._listener = socket.create_server(self._address)
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.append(connection)
            self._run("connection", partial(self._receive, connection))
        # What came between the two lines of `stop`.
        _close(listener)
        self.close_connections()

    def _receive(self, connection: socket.socket) -> None:
        """Hand one connection's requests to the bus, until it ends."""
        buffer = bytearray()
        with contextlib.suppress(OSError):  # closed while we wait for more
            while received := connection.recv(4096):
                buffer += received
                try:
                    while request := self.bus.framing.take(buffer):
                        self._requests.put((connection, request))
                except FramingError as error:
                    _log.warning("connection closed: %s", error)
                    break
        with self._lock:
            self._connections.remove(connection)
        _close(connection)

    def _serve(self) -> None:
        """The bus: one request after the other, each with its time on the line."""
        while (one := self._requests.get()) is not None:
            connection, request = one
            if self._stopped.wait(self.bus.request_seconds(request)):
                return
            fault = self.faults.take(request.unit, self.bus.fields(request))
            reply = self.bus.reply(request, fault, time.monotonic())
            if self._stopped.wait(reply.after_s):
                return
            with self._lock:
                self._exchanges.append(reply.exchange)
            if reply.exchange.sent:
                self._send(connection, reply.exchange.sent)
            if reply.closes:
                _close(connection)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        """Send an answer. Without transaction ids a gateway cannot know whose it is: then the newest client gets it."""
        with self._lock:
            open_ones = self._connections
            if connection not in open_ones:
                if not (open_ones and self.bus.framing.has_checksum):
                    return
                connection = open_ones[-1]
            with contextlib.suppress(OSError):  # the client has gone meanwhile
                connection.sendall(data)


def _close(one: socket.socket) -> None:
    """Close a socket that another thread may be waiting on: the shutdown is what wakes it."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
