"""The session with the MQTT broker; the only module that imports paho.

paho keeps what it could not deliver and sends it again on the next
connection. Both programs want the opposite: what matters lies in a journal or
a store, and a message that outlives its connection would arrive late and out
of order. So every connection has a paho client of its own, and what that
client still holds when the connection ends goes with it. An acknowledgement
for a message of an earlier connection goes nowhere, as it must: on the new
one the same number is another message.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from readings.errors import SettingsError
from readings.message import Delivery, Message
from readings.settings import MqttSettings

__all__ = ["Delivery", "Message", "Session", "waits"]

_log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 15.0
HOLDS_S = 10.0
"""Only after a connection has held for so long the waits begin anew: two programs of one name, which
throw each other out, would connect several times a second for ever."""

CONNECT_TIMEOUT_S = 5.0
CLOSE_S = 1.5
"""How long to wait for a connection's end; an attempt to make one may go on after it, and is harmless."""

MAX_QUEUED = 5000
"""Messages that may wait for the socket; more are refused rather than kept."""


def waits(first_s: float, longest_s: float, jitter: Callable[[], float]) -> Iterator[float]:
    """How long to wait before each new attempt: doubling, with up to a quarter off by chance.

    >>> from itertools import islice
    >>> list(islice(waits(0.25, 1.5, lambda: 0.0), 5))
    [0.25, 0.5, 1.0, 1.5, 1.5]
    """
    wait = first_s
    while True:
        yield min(wait, longest_s) * (1 - jitter() / 4)
        wait = min(wait * 2, longest_s)


def _password(settings: MqttSettings) -> str | None:
    """The password of this moment: whoever makes or changes it need not start us again.

    Raises:
        SettingsError: Its file cannot be read.
    """
    if settings.password_file is None:
        return settings.password
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"mqtt.password_file: cannot be read: {error}") from error


class Session:
    """Keeps one connection to the broker alive, for as long as it runs.

    Callbacks come from the network thread, one at a time; what they do delays
    the next message. Everything else may be called from any thread.

    Args:
        settings: Where the broker is.
        client_id: The name of this program at the broker.
        clean: Whether the broker forgets the subscriptions when the connection ends.
        subscriptions: Topic filters with their QoS, asked for on every connection.
        unsubscriptions: Topic filters that a session which the broker kept may still have, and shall not.
        first_words: Called with the connection's number: what to publish once the subscriptions are asked for.
        will: What the broker publishes when this program dies.
        on_connect: Called with the connection's number, before any message of it.
        on_message: Called with each message; QoS 1 needs `acknowledge` afterwards.
        on_disconnect: Called when a connection that was made has ended.
        jitter: A random number from 0 to 1.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        client_id: str,
        clean: bool,
        subscriptions: Iterable[tuple[str, int]] = (),
        unsubscriptions: Iterable[str] = (),
        first_words: Callable[[int], Iterable[Message]] = lambda _: (),
        will: Message | None = None,
        on_connect: Callable[[int], None] = lambda _: None,
        on_message: Callable[[Delivery], None] = lambda _: None,
        on_disconnect: Callable[[], None] = lambda: None,
        jitter: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._clean = clean
        self._subscriptions = tuple(subscriptions)
        self._unsubscriptions = tuple(unsubscriptions)
        self._first_words = first_words
        self._will = will
        self._on_connect = on_connect
        self._on_message = on_message
        self._on_disconnect = on_disconnect
        self._jitter = jitter
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mqtt {client_id}", daemon=True)
        self._client: mqtt.Client | None = None
        self._connection = 0
        self._arrived: deque[int] = deque()
        self._safe: set[int] = set()
        self._acknowledging = threading.Lock()
        self._trouble = "not connected yet"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._client is not None

    @property
    def connection(self) -> int:
        """How many connections the broker has accepted so far; the current one's number."""
        return self._connection

    @property
    def trouble(self) -> str:
        """Why there is no connection, for people; empty while there is one."""
        return self._trouble

    def start(self) -> None:
        """Connect, and keep connecting, in the background."""
        self._thread.start()

    def stop(self, farewell: Iterable[Message] = (), within_s: float = 2.0) -> None:
        """Say the last words, where somebody listens, and end the connection.

        A broker that does not answer costs `within_s` and `CLOSE_S`, however much there is to say.
        """
        client = self._client
        if client is not None:
            deadline = time.monotonic() + within_s
            sent = [client.publish(one.topic, one.payload, one.qos, one.retain) for one in farewell]
            for info in sent:
                if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                    info.wait_for_publish(max(0.0, deadline - time.monotonic()))
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def publish(self, message: Message) -> bool:
        """Hand a message to the current connection.

        Returns:
            False when there is none, or when too much waits on it already:
            the message is gone then, and the caller still has it.
        """
        client = self._client
        if client is None:
            return False
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, delivery: Delivery) -> None:
        """Tell the broker that a QoS 1 message is safe; nothing happens when its connection is gone.

        The broker is told in the order in which the messages came, so one waits for those before it: MQTT
        demands it (3.1.1, 4.6), and there are brokers that end the connection of whoever does otherwise.
        """
        client = self._client
        with self._acknowledging:
            if client is None or delivery.qos == 0 or delivery.connection != self._connection:
                return
            self._safe.add(delivery.packet)
            while self._arrived and self._arrived[0] in self._safe:
                packet = self._arrived.popleft()
                self._safe.discard(packet)
                client.ack(packet, 1)

    def _run(self) -> None:
        pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                is_accepted = self._connect_once()
            except Exception as error:  # noqa: BLE001  # the thread's outermost loop: nobody else would connect again
                is_accepted = False
                self._note(f"a mistake in this program: {error!r}", error)
            if is_accepted and time.monotonic() - began >= HOLDS_S:
                pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
            self._stopping.wait(next(pauses))

    def _connect_once(self) -> bool:
        """Hold one connection until it ends; say whether the broker accepted it."""
        ended = threading.Event()
        accepted = threading.Event()
        refused = threading.Event()
        try:
            client = self._make_client(accepted, refused, ended)
            client.connect(self._settings.host, self._settings.port, self._settings.keepalive)
        except SettingsError as error:
            self._note(str(error))
            return False
        except (OSError, ValueError) as error:
            self._note(f"cannot reach {self._settings.host}:{self._settings.port}: {error}")
            return False
        try:
            client.loop_start()
            while not (ended.wait(0.2) or self._stopping.is_set()):
                pass
            if self._stopping.is_set():
                client.disconnect()
                ended.wait(1.0)
        finally:
            self._client = None
            client.loop_stop()
        if accepted.is_set():
            self._on_disconnect()
            if not self._stopping.is_set():
                self._note("the connection ended")
        elif not (refused.is_set() or self._stopping.is_set()):
            where = f"{self._settings.host}:{self._settings.port}"
            self._note(f"{where} closes the connection without an answer; it may expect TLS")
        return accepted.is_set()

    def _make_client(
        self, accepted: threading.Event, refused: threading.Event, ended: threading.Event
    ) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=self._clean,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(MAX_QUEUED)
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, _password(self._settings))
        if self._settings.tls or self._settings.ca is not None:
            client.tls_set(ca_certs=self._settings.ca)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)

        @contextmanager
        def ending_on_error() -> Iterator[None]:
            """Paho's thread dies of an error in a callback and tells nobody: the connection would seem to live."""
            try:
                yield
            except BaseException:
                ended.set()
                raise

        # Whoever calls it hands the client over: one that it held itself would be a ring, and its sockets open until
        # somebody collects it.
        def connected(
            client: mqtt.Client,
            _data: object,
            _flags: mqtt.ConnectFlags,
            code: ReasonCode,
            _: Properties | None,
        ) -> None:
            if code.is_failure:
                self._note(f"{self._settings.host}:{self._settings.port} refuses the connection: {code}")
                refused.set()
                ended.set()
                return
            with self._acknowledging:
                self._connection += 1
                self._client = client
                self._arrived.clear()
                self._safe.clear()
            self._note("")
            accepted.set()
            with ending_on_error():
                self._on_connect(self._connection)
                self._introduce(client)

        def message(_client: mqtt.Client, _data: object, got: mqtt.MQTTMessage) -> None:
            if got.qos:
                with self._acknowledging:
                    self._arrived.append(got.mid)
            with ending_on_error():
                self._on_message(
                    Delivery(got.topic, bytes(got.payload), got.retain, self._connection, got.mid, got.qos)
                )

        def disconnected(*_: object) -> None:
            ended.set()

        client.on_connect = connected
        client.on_message = message
        client.on_disconnect = disconnected
        return client

    def _introduce(self, client: mqtt.Client) -> None:
        """Ask for what is to be heard; what is said first is said after that."""
        if self._unsubscriptions:
            client.unsubscribe(list(self._unsubscriptions))
        if self._subscriptions:
            client.subscribe(list(self._subscriptions))
        for one in self._first_words(self._connection):
            client.publish(one.topic, one.payload, one.qos, one.retain)

    def _note(self, trouble: str, error: Exception | None = None) -> None:
        """Log a change of state once; of a mistake where it is too."""
        if trouble == self._trouble:
            return
        if trouble:
            _log.log(logging.ERROR if error else logging.WARNING, "broker: %s", trouble, exc_info=error)
        else:
            _log.info("broker: connected to %s:%s", self._settings.host, self._settings.port)
        self._trouble = trouble
