"""Where a gateway is, without letting a name server hold up the bus."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to connect to, as the socket functions want it."""

    family: int
    address: tuple[Any, ...]


class Resolver:
    """Turns host and port into endpoints; used by one thread.

    The system's look-up of a name has no time limit that we could set: with
    a dead name server it takes a minute or more. So it has a thread of its
    own, one at a time, and once a name was known nobody waits for it again:
    what it finds counts from the next attempt on. An IP address needs none of that.

    Args:
        host: A name or an IP address.
        port: The port.
        look_up: Finds the endpoints of a name, however long it takes.
    """

    def __init__(
        self, host: str, port: int, look_up: Callable[[str, int], tuple[Endpoint, ...]] | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._look_up = look_up or _look_up
        self._is_name = False
        self._known: tuple[Endpoint, ...] = ()
        self._answer: Future[tuple[Endpoint, ...]] | None = None
        try:
            self._known = _endpoints(host, port, socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            self._is_name = True

    def endpoints(self, within_s: float) -> tuple[Endpoint, ...]:
        """Where to connect to, the best first; the last that was found while nothing newer is.

        Raises:
            OSError: The name is not known, or not within this time.
        """
        if not self._is_name:
            return self._known
        answer = self._answer or self._begin()
        try:
            found = answer.result(0 if self._known else within_s)
        except OSError as error:
            if answer.done():
                self._answer = None
            if self._known:
                return self._known
            raise OSError(str(error) or f"no answer from the name server within {within_s:g} s") from error
        self._answer = None
        if set(found) != set(self._known):
            self._known = found
        return self._known

    def has_failed(self, endpoint: Endpoint) -> None:
        """Nobody is there: the others come first from now on."""
        if endpoint in self._known:
            self._known = (*(one for one in self._known if one != endpoint), endpoint)

    def _begin(self) -> Future[tuple[Endpoint, ...]]:
        answer = self._answer = Future()
        threading.Thread(target=self._ask, args=(answer,), name=f"resolve {self._host}", daemon=True).start()
        return answer

    def _ask(self, answer: Future[tuple[Endpoint, ...]]) -> None:
        try:
            found = self._look_up(self._host, self._port)
        except (OSError, UnicodeError) as error:  # unicode: no name can be like this
            # "[Errno -2]" says less than the words behind it.
            answer.set_exception(OSError(getattr(error, "strerror", None) or str(error)))
        else:
            answer.set_result(found)


def _look_up(host: str, port: int) -> tuple[Endpoint, ...]:
    return _endpoints(host, port, 0)


def _endpoints(host: str, port: int, flags: int) -> tuple[Endpoint, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return tuple(dict.fromkeys(Endpoint(family, address) for family, _, _, _, address in found))
