"""The poller, put together: buses and sources, journal, broker, and who watches them.

No part waits for another at the start: the first request goes out whether or
not there is a disk or a broker, because a heat pump may stop when nobody asks.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from poller.assemble import Report
from poller.blocks import Poll
from poller.bus import ModbusTransport
from poller.clock import MachineClock
from poller.config import BusSettings, PollerSettings, refuse_conflicts
from poller.device import Device
from poller.journal import Journal, OpenFile
from poller.journal_file import open_file
from poller.listening import Incoming, Listener
from poller.loop import BusWorker
from poller.presence import subscriptions
from poller.proxy.server import ProxyServer
from poller.publish import Publisher, will
from poller.recorder import Limits, Recorder
from poller.sources import MessageSource, Source
from poller.sources.imported import Imported
from poller.sources.rules import RuleSource
from poller.sources.shelly.loading import load_shelly
from poller.switchboard import Switchboard
from poller.trackers import Arrival, Trackers
from poller.transport import Transport
from poller.walltime import SETTLE_S
from readings.broker import Delivery, Session
from readings.health import POLLER_HEALTH, Tally
from readings.release import VERSION
from readings.rivals import Rivals, name_instance
from readings.topics import Leaf, Program, ProgramLeaf, Topics

_log = logging.getLogger(__name__)

HANGS_AFTER_S = 30.0
"""A bus thread without a sign of life for so long hangs; its longest request takes less."""

JOURNAL_HANGS_AFTER_S = 300.0
"""The same for the journal's thread, which shows life between two writes: an SD card may take a minute for one."""

WATCH_EVERY_S = 1.0
BUS_STOPS_WITHIN_S = 1.2
JOURNAL_STOPS_WITHIN_S = 1.2
FAREWELL_S = 0.5
"""With the end of the connection, everything together stays below 5 s."""

EXIT_CODE = 70
"""The exit code of a poller that ends because a part of it hangs (sysexits' EX_SOFTWARE)."""


def end_process(reason: str) -> None:
    """End at once, so that whoever started the process starts it again."""
    _log.critical("%s: ending the process", reason)
    logging.shutdown()
    os._exit(EXIT_CODE)


class Poller:
    """A whole poller, from `start` to `stop`; several programs may run in one process.

    Args:
        settings: What the configuration says.
        sources: What reports by itself, beside the configured buses.
        message_sources: What makes readings of the messages of others.
        trust_at_once: Do not wait for an unsynchronised clock to be steady (for the demo).
        on_hang: Called with the reason when a part of the poller does not go on any more.
        on_alive: Called about once a second as long as every part goes on.
        make_transport: How to reach a bus.
        open_journal: How to open the journal's file.
        clock: The machine's clocks.
        monotonic: Seconds of a clock that never jumps, for the buses and the watch over them.
        rest: How a bus's thread waits for so many seconds.
        hangs_after_s: Without a sign of life for so long a bus thread hangs.

    Raises:
        SettingsError: Two devices have one name, or would make the same series.
        ProfileError: A device cannot be polled as its profile says.
    """

    def __init__(
        self,
        settings: PollerSettings,
        *,
        sources: Sequence[Source] = (),
        message_sources: Sequence[MessageSource] = (),
        trust_at_once: bool = False,
        on_hang: Callable[[str], None] = end_process,
        on_alive: Callable[[], None] = lambda: None,
        make_transport: Callable[[BusSettings, Tally], Transport] | None = None,
        open_journal: OpenFile = open_file,
        clock: MachineClock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        rest: Callable[[float], object] | None = None,
        hangs_after_s: float = HANGS_AFTER_S,
    ) -> None:
        self.tally = Tally(POLLER_HEALTH)
        imports = [Imported(one, self.tally) for one in settings.imports]
        topics = Topics(settings.mqtt.root)
        shelly = load_shelly(settings.shelly, poller=settings.name, folder=settings.profiles)
        sources = (*sources, *imports)
        message_sources = (*message_sources, *imports, *map(RuleSource, settings.rules), *shelly)
        devices = (*settings.devices, *(device for source in sources for device in source.devices))
        refuse_conflicts([*devices, *(device for source in message_sources for device in source.devices)])
        clock = self._clock = clock or MachineClock()
        stream = secrets.token_hex(4)
        self.tally.set("poller_build_info", 1, version=VERSION)
        self._stopping = threading.Event()
        self._monotonic = monotonic
        self._rest = rest or self._stopping.wait
        self._name = settings.name
        self._on_hang = on_hang
        self._on_alive = on_alive
        self._hangs_after_s = hangs_after_s
        jitter = lambda: secrets.randbelow(1000) / 1000  # noqa: E731
        instance = name_instance(clock.read().wall_ms, stream)
        self._rivals = Rivals(instance)
        self._own_health = topics.program(Program.POLLER, settings.name, ProgramLeaf.HEALTH)
        self._session = Session(
            settings.mqtt,
            client_id=f"heating-poller-{settings.name}",
            clean=True,
            subscriptions=[
                (self._own_health, 0),
                *((topic, 0) for topic in topics.every_device(Leaf.REPLAY)),
                *((topic, 0) for topic in subscriptions(topics, settings.homeassistant)),
            ],
            will=will(topics, settings.name),
            on_message=self._hear,
            jitter=jitter,
        )
        journal = Journal(settings.journal, stream=stream, boot=clock.boot, opens=open_journal)
        self._publisher = Publisher(
            self._session,
            topics,
            settings.name,
            devices,
            stream=stream,
            instance=instance,
            ranges=journal.listed,
            states=journal.states,
            tally=self.tally,
            homeassistant=settings.homeassistant,
            jitter=jitter,
        )
        self._trackers = Trackers(devices, self.tally, most_series=settings.max_series)
        self._listener = Listener(
            settings.mqtt,
            name=settings.name,
            topics=topics,
            run=instance,
            filters=[one for source in message_sources for one in source.filters],
            take=self._on_heard,
            monotonic=lambda: clock.read().monotonic,
            jitter=jitter,
        )
        self._recorder = Recorder(
            journal,
            self._trackers,
            self._publisher,
            clock=clock,
            limits=Limits(
                age_s=settings.journal_age_s,
                size_bytes=settings.journal_bytes,
                settle_s=0 if trust_at_once else SETTLE_S,
            ),
            tally=self.tally,
            switchboard=Switchboard(message_sources, self._listener, self.tally),
        )
        self._proxies = {
            bus.name: ProxyServer(
                bus.name,
                bus.proxy,
                stopping=self._stopping,
                tally=self.tally,
                monotonic=monotonic,
            )
            for bus in settings.buses
            if bus.proxy
        }
        self._workers = {
            bus.name: self._make_worker(bus, settings.devices, make_transport)
            for bus in settings.buses
            if bus.proxy or any(one.bus == bus.name for one in settings.devices)
        }
        self._threads = (
            {
                f"bus {name}": threading.Thread(target=worker.run, name=f"bus {name}", daemon=True)
                for name, worker in self._workers.items()
            }
            | {
                f"the proxy of bus {name}": threading.Thread(
                    target=proxy.run, name=f"proxy {name}", daemon=True
                )
                for name, proxy in self._proxies.items()
            }
            | {
                f"source {number}": threading.Thread(
                    target=source.run,
                    args=(self._emit, self._stopping.wait),
                    name=f"source {number}",
                    daemon=True,
                )
                for number, source in enumerate(sources, start=1)
            }
        )
        self._watch = threading.Thread(target=self._keep_watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin in the background; the buses first."""
        for thread in self._threads.values():
            thread.start()
        self._recorder.start()
        self._session.start()
        self._watch.start()

    def stop(self) -> None:
        """End within 5 s: record what is under way, say `offline`, close."""
        self._stopping.set()
        for proxy in self._proxies.values():
            proxy.wake()
        deadline = time.monotonic() + BUS_STOPS_WITHIN_S
        for thread in (*self._threads.values(), self._watch):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._listener.close()
        self._recorder.stop(JOURNAL_STOPS_WITHIN_S)
        self._listener.stop()
        self._session.stop(self._publisher.farewell(), within_s=FAREWELL_S)

    def find_hang(self) -> str | None:
        """What does not go on any more, in words; `None` as long as everything does."""
        if not self._recorder.is_alive:
            return "the journal's thread has ended"
        silent_s = self._clock.read().monotonic - self._recorder.last_alive
        if silent_s > JOURNAL_HANGS_AFTER_S:
            return f"the journal's thread has not moved for {silent_s:.0f} s, the disk may hang"
        for name, thread in self._threads.items():
            if not thread.is_alive():
                return f"the thread of {name} has ended"
        served = [(f"bus {name}", one.last_alive) for name, one in self._workers.items()]
        served += [(f"the proxy of bus {name}", one.last_alive) for name, one in self._proxies.items()]
        for name, last_alive in served:
            silent_s = self._monotonic() - last_alive
            if silent_s > self._hangs_after_s:
                return f"the thread of {name} has not moved for {silent_s:.0f} s"
        return None

    def _keep_watch(self) -> None:
        looked = self._monotonic()
        while not self._stopping.wait(WATCH_EVERY_S):
            before, looked = looked, self._monotonic()
            if looked - before > 2 * WATCH_EVERY_S:
                # The whole process stood still (Ctrl-Z, a paused container): the others have just woken up too.
                continue
            reason = self.find_hang()
            if reason is None:
                self._on_alive()
            elif not self._stopping.is_set():
                self._on_hang(reason)
                return

    def _make_worker(
        self,
        bus: BusSettings,
        devices: Sequence[Device],
        make_transport: Callable[[BusSettings, Tally], Transport] | None,
    ) -> BusWorker:
        proxy = self._proxies.get(bus.name)
        return BusWorker(
            bus,
            [one for one in devices if one.bus == bus.name],
            transport=make_transport(bus, self.tally)
            if make_transport
            else ModbusTransport(bus, tally=self.tally, monotonic=self._monotonic),
            monotonic=self._monotonic,
            wait=proxy.desk.wait if proxy else self._wait,
            on_poll=self._on_poll,
            tally=self.tally,
            desk=proxy.desk if proxy else None,
        )

    def _wait(self, seconds: float) -> bool:
        """In the bus's thread."""
        self._rest(seconds)
        return self._stopping.is_set()

    def _on_poll(self, device: Device, poll: Poll) -> bool:
        """In the bus's thread: hand the poll over; what the filters want to know comes from the poll before."""
        self._recorder.offer(device, poll)
        return not poll.identity and self._trackers.wants_identity(device.key)

    def _on_heard(self, incoming: Incoming) -> None:
        """In the network's thread: what somebody else published."""
        self._recorder.hear(incoming)

    def _hear(self, delivery: Delivery) -> None:
        if delivery.topic != self._own_health:
            self._publisher.hear(delivery)
        elif self._rivals.hear(delivery.payload, delivery.connection):
            self._on_hang(f"another poller with the name {self._name!r} is at work on this broker")

    def _emit(self, device: Device, report: Report) -> None:
        self._recorder.offer(device, Arrival(report, self._clock.read().monotonic))
