"""The bridge, put together: broker, store, receiver, page, and a thread for each that waits."""

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bridge.asker import Asker
from bridge.config import BridgeSettings
from bridge.database import Database
from bridge.errors import StoreError
from bridge.explainer import Explainer
from bridge.inbox import Inbox
from bridge.latest import Latest
from bridge.outbox import Outbox
from bridge.presence import Presence
from bridge.pruning import Limits, Pruning
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.report import EVERY_S, Report
from bridge.sender import Sender
from bridge.status import BridgeStatus
from bridge.store import Store
from bridge.subscribe import Subscriber, subscriptions
from bridge.web import Web
from readings.broker import Delivery, Message, Session
from readings.health import BRIDGE_HEALTH, Tally
from readings.release import VERSION
from readings.rivals import Rivals, name_instance
from readings.topics import Program, ProgramLeaf, Topics

_log = logging.getLogger(__name__)

GAUGES_EVERY_S = 2.0
STOP_WITHIN_S = 3.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def wall_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def boot_id() -> str:
    """Which start of this host it is; the same for ever where the host does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Bridge:
    """The whole bridge: `start` it, and `stop` it within a few seconds.

    Without a receiver nothing is stored: there is nobody to keep it for, and
    the day one is configured the poller's journal still has the last days.

    Args:
        settings: What the configuration file says.
        on_failure: Called, from any thread, when a part ended that must not end.
        on_alive: Called every few seconds, unless somebody has the store and does not let go.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        on_failure: Callable[[], None] = lambda: None,
        on_alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._on_alive = on_alive
        self._topics = Topics(settings.mqtt.root)
        self._tally = Tally(BRIDGE_HEALTH)
        self._latest = Latest()
        self._inbox = Inbox()
        self._stopping = threading.Event()
        self._health_is_due = threading.Event()
        self._threads: list[threading.Thread] = []
        self._database: Database | None = None
        self._store: Store | None = None
        self._subscriber: Subscriber | None = None
        self._sender: Sender | None = None
        self._explainer: Explainer | None = None
        self._session: Session | None = None
        self.has_failed = False
        instance = name_instance(wall_ms(), secrets.token_hex(4))
        self._rivals = Rivals(instance)
        self._own_health = self._topics.program(Program.BRIDGE, settings.name, ProgramLeaf.HEALTH)
        self._presence = Presence(
            settings.name,
            self._topics,
            settings.homeassistant,
            sends=settings.receiver is not None,
            jitter=random.random,
        )
        self._report = Report(
            settings.name,
            topics=self._topics,
            tally=self._tally,
            status=self.status,
            wall_ms=wall_ms,
            instance=instance,
        )
        self._web = Web(
            settings.listen,
            latest=self._latest,
            status=self.status,
            tally=self._tally,
            wall_ms=wall_ms,
            monotonic=time.monotonic,
            version=VERSION,
            title="Heating",
        )

    @property
    def port(self) -> int:
        """Where the page and /metrics are."""
        return self._web.port

    def start(self) -> None:
        """Open the store, listen, and begin.

        Raises:
            BridgeError: The store cannot be opened or the address cannot be had.
        """
        with ExitStack() as undo:
            pruning = None
            if self._settings.receiver is not None:
                pruning = self._open_store(self._settings.receiver, undo)
            self._web.start()
            undo.pop_all()
        session = self._session = Session(
            self._settings.mqtt,
            client_id=f"heating-bridge-{self._settings.name}",
            clean=self._store is None,
            subscriptions=(
                *subscriptions(self._topics),
                (self._own_health, 0),
                *((topic, 0) for topic in self._presence.subscriptions),
            ),
            will=self._report.offline(),
            on_connect=self._connected,
            on_message=self._hear,
            jitter=random.random,
        )
        self._subscriber = Subscriber(
            self._inbox,
            self._store,
            pruning,
            topics=self._topics,
            audience=self._latest,
            acknowledge=session.acknowledge,
            on_stored=self._sender.wake if self._sender is not None else lambda: None,
            tally=self._tally,
            wall_ms=wall_ms,
            monotonic=time.monotonic,
            asker=None
            if self._store is None
            else Asker(self._store, session, topics=self._topics, tally=self._tally),
        )
        self._begin("store", self._subscriber.run)
        if self._sender is not None:
            self._begin("sender", self._sender.run)
        if self._explainer is not None:
            self._begin("explainer", self._explainer.run)
        self._begin("report", self._report_on)
        session.start()

    def stop(self) -> None:
        """Finish the group under way, say goodbye, and end. What is not done goes on after the next start."""
        self._stopping.set()
        self._health_is_due.set()
        self._inbox.close()
        if self._sender is not None:
            self._sender.stop()
        if self._explainer is not None:
            self._explainer.stop()
        for thread in self._threads:
            thread.join(STOP_WITHIN_S)
        if self._session is not None:
            self._session.stop(farewell=[self._report.offline()])
        self._web.stop()
        if self._database is not None:
            self._database.close()

    def status(self) -> BridgeStatus:
        """The bridge's view of itself at this moment."""
        receiver, sender, store = self._settings.receiver, self._sender, self._store
        trouble = self._subscriber.store_trouble if self._subscriber is not None else ""
        devices, size, free = {}, 0, None
        if store is not None and self._database is not None:
            try:
                devices, size = store.backlog(), self._database.bytes_on_disk()
                free = self._database.free_bytes()
            except (StoreError, OSError) as error:
                trouble = trouble or str(error)
        return BridgeStatus(
            devices=devices,
            receiver="" if receiver is None else receiver.shown,
            last_answer="" if sender is None else sender.last_answer,
            last_sent_ms=None if sender is None else sender.last_sent_ms,
            store_bytes=size,
            free_bytes=free,
            dropped=round(self._tally.total("bridge_states_dropped_total")),
            too_old=round(self._tally.value("bridge_samples_refused_total", reason="too_old")),
            broker_trouble=self._broker_trouble(),
            store_trouble=trouble,
        )

    def _broker_trouble(self) -> str:
        if self._session is None:
            return "not started"
        return "" if self._session.is_connected else self._session.trouble or "connecting"

    def _open_store(self, receiver: ReceiverSettings, undo: ExitStack) -> Pruning:
        database = self._database = Database(self._settings.store)
        undo.callback(database.close)
        self._store = Store(database)
        outbox = Outbox(database, boot=boot_id())
        self._sender = Sender(
            outbox,
            Connection(receiver, time.time),
            labels=receiver.labels,
            tally=self._tally,
            wall_ms=wall_ms,
            monotonic=time.monotonic,
            jitter=random.random,
        )
        if receiver.metadata:
            self._explainer = Explainer(
                outbox.announced,
                Connection(receiver, time.time),
                tally=self._tally,
                is_quiet=self._sender.is_quiet,
                monotonic=time.monotonic,
            )
        return Pruning(
            database,
            Limits(age_ms=round(self._settings.store_age_s * 1000), bytes=self._settings.store_bytes),
            boot=boot_id(),
        )

    def _connected(self, _: int) -> None:
        self._tally.count("bridge_broker_connects_total")
        if self._session is not None:
            self._session.publish(self._report.online())
        self._health_is_due.set()

    def _hear(self, delivery: Delivery) -> None:
        if self._presence.hear(delivery):
            return
        if delivery.topic != self._own_health:
            self._inbox.put(delivery)
        elif self._rivals.hear(delivery.payload, delivery.connection) and not self.has_failed:
            _log.critical(
                "another bridge with the name %r is at work on this broker: ending", self._settings.name
            )
            self.has_failed = True
            self._on_failure()

    def _report_on(self) -> None:
        """Keep the gauges up to date, publish them on every connection and every half minute, and be announced."""
        published_s = float("-inf")
        while not self._stopping.is_set():
            is_asked = self._health_is_due.wait(GAUGES_EVERY_S)
            self._health_is_due.clear()
            is_asked |= self._announce()
            if is_asked or time.monotonic() - published_s >= EVERY_S:
                published_s = time.monotonic()
                if self._session is not None:
                    self._session.publish(self._report.health())
            else:
                self._report.set_gauges()
            self._on_alive()

    def _announce(self) -> bool:
        """Tell Home Assistant of the bridge; whether it has just started and wants to know how the bridge is."""
        session = self._session
        if session is None or not session.is_connected:
            return False
        is_born = self._presence.listen(session.connection, time.monotonic())
        if is_born:
            session.publish(self._report.online())
        for topic, payload in self._presence.take(time.monotonic()):
            session.publish(Message(topic, payload, retain=True))
        return is_born

    def _begin(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except Exception:  # noqa: BLE001 - the thread's outermost loop: whatever it was, somebody must hear of it
                _log.exception("the bridge's %s thread ended", name)
                self.has_failed = True
                self._on_failure()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
