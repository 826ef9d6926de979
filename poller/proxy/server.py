"""The proxy's port: one thread, many clients, none of which can hold up another one or the bus."""

import contextlib
import itertools
import logging
import selectors
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

from poller.blocks import RegisterBlock
from poller.errands import PATIENCE_S, Errand, Outcome, Result, too_late
from poller.frames import FramingError
from poller.proxy.clerk import handle
from poller.proxy.conversation import Conversation
from poller.proxy.desk import Desk
from poller.proxy.frames import Query
from poller.proxy.listener import Listener
from poller.proxy.rules import plain_address
from poller.proxy.settings import ProxySettings
from poller.request import (
    MAX_WRITTEN,
    READING,
    WRITE_COIL,
    WRITE_REGISTER,
    IllegalRequestError,
    parse_request,
)
from readings.health import Tally

_log = logging.getLogger(__name__)

MAX_CLIENTS = 16
MAKES_WAY_AFTER_S = 10.0
"""When all places are taken, who has been idle for so long makes way for a new client."""

LOOK_EVERY_S = 0.5
SOON_S = 0.02
WARN_EVERY_S = 60.0

KNOWN_FUNCTIONS = frozenset({*READING.values(), WRITE_COIL, WRITE_REGISTER, *MAX_WRITTEN})


class ProxyServer:
    """Takes the requests of other programs to a bus.

    Args:
        name: The bus.
        settings: Where to listen and what may be written.
        stopping: Set when it is to end; `wake` afterwards.
        tally: Where requests and clients are counted.
        monotonic: Seconds of a clock that never jumps, the bus's too.

    Attributes:
        desk: Where its bus's thread finds what there is to do.
        last_alive: When its thread was last seen at work, by `monotonic`.
    """

    def __init__(
        self,
        name: str,
        settings: ProxySettings,
        *,
        stopping: threading.Event,
        tally: Tally,
        monotonic: Callable[[], float],
    ) -> None:
        self._name = name
        self._settings = settings
        self.desk = Desk(stopping)
        self._stopping = stopping
        self._tally = tally
        self._monotonic = monotonic
        self._listener = Listener(name, settings, tally=tally)
        self._selector = selectors.DefaultSelector()
        self._ear, self._waker = socket.socketpair()
        self._clients: dict[socket.socket, Conversation] = {}
        self._waiting: dict[int, tuple[socket.socket, Query, Errand]] = {}
        self._tickets = itertools.count(1)
        self._warn_at = monotonic()
        self._unsaid = 0
        self.last_alive = monotonic()
        for end in (self._ear, self._waker):
            end.settimeout(0)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self.desk.on_settled(self._rouse)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None while it cannot."""
        return self._listener.address

    def wake(self) -> None:
        """End the rest of both threads."""
        self.desk.wake()
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until `stopping` is set."""
        try:
            while not self._stopping.is_set():
                self.last_alive = now = self._monotonic()
                if (opened := self._listener.attend(now)) is not None:
                    self._selector.register(opened, selectors.EVENT_READ)
                for key, events in self._selector.select(self._rest_s(now)):
                    self._look(key.fileobj, events)
                for errand, outcome in self.desk.take_settled():
                    self._deliver(errand, outcome)
                self._give_up(self._monotonic())
                self._part_with_the_faulty(self._monotonic())
        finally:
            for client in list(self._clients):
                self._close(client)
            self._listener.close()
            self._selector.close()
            self._ear.close()
            self._waker.close()

    def _look(self, where: object, events: int) -> None:
        if where is self._ear:
            self._ear.recv(4096)
        elif where is self._listener.socket:
            self._accept()
        elif isinstance(where, socket.socket) and where in self._clients:
            self._guard(where, lambda: self._attend(where, events))

    def _guard(self, client: socket.socket, act: Callable[[], None]) -> None:
        """Do something for one client, and end with it if it fails."""
        try:
            act()
        except FramingError as error:
            _log.debug("bus %s: proxy: %s: %s", self._name, self._clients[client].source, error)
            self._close(client, "garbage")
        except OSError:
            self._close(client)
        except Exception:  # noqa: BLE001  # a mistake here must not end the process that keeps a heat pump going
            _log.exception("bus %s: proxy: a client is let go", self._name)
            self._close(client, "error")

    def _accept(self) -> None:
        now = self._monotonic()
        try:
            client, peer = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._selector.unregister(self._listener.give_up(now, error))
            return
        if len(self._clients) >= MAX_CLIENTS:
            idle = [one for one, talk in self._clients.items() if talk.is_idle(now, MAKES_WAY_AFTER_S)]
            longest = min(idle, key=lambda one: self._clients[one].heard_at, default=client)
            self._close(longest, "full")
            if longest is client:
                return
        self._clients[client] = Conversation(plain_address(ip_address(peer[0].partition("%")[0])), now)
        self._selector.register(client, selectors.EVENT_READ)
        self._tally.set("poller_proxy_clients", len(self._clients), bus=self._name)

    def _attend(self, client: socket.socket, events: int) -> None:
        talk = self._clients[client]
        if events & selectors.EVENT_READ:
            data = client.recv(talk.room)
            if not data:
                raise ConnectionResetError("closed by the client")
            talk.receive(data, self._monotonic())
        self._serve(client, talk)

    def _serve(self, client: socket.socket, talk: Conversation) -> None:
        """Send what is owed, and take up what was asked, as far as it goes now."""
        self._flush(client, talk)
        while (query := talk.take_query()) is not None:
            now = self._monotonic()
            found = handle(query, talk.source, self._settings.rules, self._recall)
            if isinstance(found, Outcome):
                self._count(query, found.result)
                if found.result is Result.FORBIDDEN:
                    self._warn(query, talk, now)
                talk.answer(found.pdu, now)
                self._flush(client, talk)
            else:
                talk.ticket = next(self._tickets)
                errand = Errand(talk.ticket, found, now)
                self._waiting[talk.ticket] = client, query, errand
                self.desk.hand_in(errand)
        self._watch(client, talk)

    def _recall(self, unit: int, block: RegisterBlock) -> tuple[int, ...] | None:
        return self.desk.recall(unit, block, self._monotonic())

    def _deliver(self, errand: Errand, outcome: Outcome) -> None:
        if errand.ticket not in self._waiting:
            return
        client, query, _ = self._waiting.pop(errand.ticket)
        self._count(query, outcome.result)
        talk = self._clients[client]
        talk.answer(outcome.pdu, self._monotonic())
        self._guard(client, lambda: self._serve(client, talk))

    def _rest_s(self, now: float) -> float:
        """How long nothing needs to be looked at, unless somebody moves."""
        # The first that waits has waited longest.
        oldest = next(iter(self._waiting.values()), None)
        return (
            LOOK_EVERY_S if oldest is None else min(LOOK_EVERY_S, max(SOON_S, _give_up_at(oldest[2]) - now))
        )

    def _give_up(self, now: float) -> None:
        """Say of what has waited too long, however busy the bus's thread is, that it was not sent."""
        for ticket, (_, _, errand) in list(self._waiting.items()):
            if now < _give_up_at(errand):
                return
            if self.desk.withdraw(ticket):
                self._deliver(errand, too_late(errand.request))

    def _flush(self, client: socket.socket, talk: Conversation) -> None:
        if talk.outbox:
            with contextlib.suppress(BlockingIOError):
                del talk.outbox[: client.send(talk.outbox)]

    def _watch(self, client: socket.socket, talk: Conversation) -> None:
        """Wait for what this client can do next; while it waits for an answer, also for its end."""
        wanted = (selectors.EVENT_READ if talk.room else 0) | (selectors.EVENT_WRITE if talk.outbox else 0)
        known = self._selector.get_map().get(client)
        if known is not None and known.events != wanted:
            self._selector.unregister(client)
            known = None
        if known is None and wanted:
            self._selector.register(client, wanted)

    def _part_with_the_faulty(self, now: float) -> None:
        for client, talk in list(self._clients.items()):
            if (fault := talk.find_fault(now)) is not None:
                self._close(client, fault)

    def _close(self, client: socket.socket, reason: str | None = None) -> None:
        talk = self._clients.pop(client, None)
        if talk is not None and talk.ticket is not None:
            self._waiting.pop(talk.ticket, None)
            self.desk.withdraw(talk.ticket)
        if client in self._selector.get_map():
            self._selector.unregister(client)
        if reason is not None:
            self._tally.count("poller_proxy_clients_dropped_total", bus=self._name, reason=reason)
        self._tally.set("poller_proxy_clients", len(self._clients), bus=self._name)
        client.close()

    def _count(self, query: Query, result: Result) -> None:
        function = str(query.pdu[0]) if query.pdu[0] in KNOWN_FUNCTIONS else "other"
        self._tally.count(
            "poller_proxy_requests_total", bus=self._name, function=function, result=result.value
        )

    def _warn(self, query: Query, talk: Conversation, now: float) -> None:
        """Say that a write was refused, at most once a minute."""
        if now < self._warn_at:
            self._unsaid += 1
            return
        with contextlib.suppress(IllegalRequestError):
            _log.warning(
                "bus %s: proxy: unit %d: %s refused for %s, [bus.proxy] does not allow it%s",
                self._name,
                query.unit,
                parse_request(query.unit, query.pdu),
                talk.source,
                f"; {self._unsaid} more since the last such line" if self._unsaid else "",
            )
        self._unsaid = 0
        self._warn_at = now + WARN_EVERY_S


def _give_up_at(errand: Errand) -> float:
    return errand.asked_at + PATIENCE_S
