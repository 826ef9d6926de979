"""A small world for the real poller and the real bridge: only wires, disks and clocks are made up.

The poller's recorder, publisher and journal and the bridge's subscriber, store,
asker and outbox are the ones that run in a house, on real SQLite files. What is
modelled is what lies between them and around them, with everything that it may
do to them: it kills at any instant, loses what a disk had not written, restores
a broker from an old file, and moves the clocks.
"""

import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import msgspec

from bridge.asker import Asker
from bridge.batch import Batch
from bridge.database import Database, Sql
from bridge.inbox import Inbox
from bridge.latest import Latest
from bridge.outbox import Outbox
from bridge.pruning import Limits as BridgeLimits
from bridge.pruning import Pruning
from bridge.sample import Sample, Series
from bridge.store import Store
from bridge.subscribe import Subscriber, subscriptions
from poller.assemble import Folded, Snapshot, new_tracker
from poller.blocks import Poll
from poller.device import Device
from poller.errors import JournalError
from poller.journal import Journal, Kept
from poller.profile import load_profile
from poller.publish import Publisher, will
from poller.recorder import Limits, Recorder
from poller.walltime import ClockReading, WallTime
from readings.broker import Delivery, Message
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH, Tally
from readings.reading import DeviceKey, DeviceState, Kind
from readings.release import RELEASED_MS
from readings.topics import Topics

TOPICS = Topics("heating")
PROFILE = load_profile("wago-879")
FIELD = "power_total_kw"
DEVICES = tuple(
    Device(
        DeviceKey(Kind.METER, name), name, PROFILE, {FIELD: PROFILE.fields[FIELD]}, 30, bus="rs485",
        labels={"device": name},
    )
    for name in ("a", "b", "c")
)  # fmt: skip

BEGIN_MS = RELEASED_MS + 86_400_000
QUEUE = 12
"""What the broker keeps for a bridge that is away; more overflows."""

JOURNAL_AGE_S = 3000.0
UNFLUSHED_S = 30.0
"""What a receiver took so shortly before a power cut may be gone with it."""


class Killed(BaseException):
    """SIGKILL, now."""


class BrokenPromiseError(AssertionError):
    """A promise is broken."""


class Fuse:
    """Kills a program after so many of its steps into the world outside."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


# The poller's side


class ModelJournal(Journal):
    """The real journal on a disk that may be full."""

    def __init__(
        self, path: Path, *, stream: str, boot: str, disk: "Disk", on_commit: Callable[[], None]
    ) -> None:
        super().__init__(path, stream=stream, boot=boot)
        self._disk = disk
        self._on_commit = on_commit

    def commit(self, *what: Any) -> tuple[DeviceState, ...]:
        if self._disk.is_full:
            raise JournalError("the disk is full")
        states = super().commit(*what)
        if states:
            self._on_commit()
        return states


class Readings:
    """Stands for the filters: every poll is a state with its power, and `None` for no value."""

    def restore(self, kept: Mapping[DeviceKey, Kept], now: float) -> None:
        pass

    def fold(self, device: Device, brought: Poll, clock: WallTime) -> Folded:
        value = None if brought.due < 0 else brought.due
        return Folded(
            new_tracker(device, 0.0), Snapshot(brought.ended, None, {FIELD: value}, frozenset()), online=True
        )

    def listen(self, now: float) -> Iterator[tuple[Device, Folded]]:
        return iter(())

    def keep(self, keys: Iterable[DeviceKey], now: float) -> dict[DeviceKey, bytes]:
        return dict.fromkeys(keys, b"{}")


@dataclass
class Disk:
    """A file, and what it was after each of its last commits: a power cut takes it back to one of these."""

    path: Path
    is_full: bool = False
    copies: deque[dict[str, bytes]] = field(default_factory=lambda: deque(maxlen=6))

    def note(self) -> None:
        self.copies.append(
            {
                ending: file.read_bytes()
                for ending in ("", "-wal")
                if (file := self.path.with_name(self.path.name + ending)).exists()
            }
        )

    def lose(self, commits: int) -> None:
        """Go back by so many commits, as far as they are not written back for good."""
        kept = list(self.copies)[: max(1, len(self.copies) - commits)]
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        for ending, content in kept[-1].items() if kept else ():
            self.path.with_name(self.path.name + ending).write_bytes(content)
        self.copies = deque(kept, maxlen=self.copies.maxlen)


@dataclass
class Clocks:
    """The clocks of the poller's machine, against the true time."""

    world: "World"
    booted_s: float = 0.0
    error_ms: int = 0
    synchronised: bool = True

    def read(self) -> ClockReading:
        return ClockReading(
            round(self.world.now_ms + self.error_ms), self.world.now_s - self.booted_s, self.synchronised
        )


class Wire:
    """One program's connection to the broker; it may be cut, and then what it carried is gone."""

    def __init__(self, fuse: Fuse) -> None:
        self.is_connected = False
        self.connection = 0
        self.up: deque[Message] = deque()
        self.fuse = fuse

    def publish(self, message: Message) -> bool:
        self.fuse.burn()
        if self.is_connected:
            self.up.append(message)
        return self.is_connected

    def cut(self) -> None:
        self.is_connected = False
        self.up.clear()


class PollerHost:
    """The machine that the poller runs on."""

    def __init__(self, world: "World", folder: Path) -> None:
        self.world = world
        self.disk = Disk(folder / "journal.sqlite")
        self.clocks = Clocks(world)
        self.fuse = Fuse()
        self.boot, self.runs = 1, 0
        self.wire = Wire(self.fuse)
        self.journal: ModelJournal | None = None
        self.ever: dict[tuple[str, str, int], tuple[int | None, float | None]] = {}

    def start(self) -> None:
        self.runs += 1
        self.wire = Wire(self.fuse)
        stream = self.world.name_stream(self.runs)
        self.journal = journal = ModelJournal(
            self.disk.path, stream=stream, boot=f"boot {self.boot}", disk=self.disk, on_commit=self.look
        )
        tally = Tally(POLLER_HEALTH)
        self.publisher = Publisher(
            self.wire, TOPICS, "house", DEVICES, stream=stream, ranges=journal.listed, states=journal.states,
            tally=tally,
        )  # fmt: skip
        self.recorder = Recorder(
            journal, Readings(), self.publisher, clock=self.clocks,
            limits=Limits(age_s=JOURNAL_AGE_S, size_bytes=10**9), tally=tally, group_s=0,
        )  # fmt: skip
        self.recorder.open()

    def work(self) -> None:
        """One round of the journal's thread; it may be killed in it."""
        if self.journal is None:
            return
        try:
            self.recorder.work(0.0)
        except Killed:
            self.kill()
        self.look()

    def look(self) -> None:
        """Every row that ever was, and that none changes; a power cut may take back that it got its time."""
        for (device, stream, seq), row in self.rows().items():
            before = self.ever.setdefault((device, stream, seq), row)
            is_given_twice = None not in {before[0], row[0]} and before[0] != row[0]
            if before[1] != row[1] or is_given_twice:
                raise BrokenPromiseError(f"{device} {stream} {seq} was {before} and is {row}")
            if row[0] is not None:
                self.ever[device, stream, seq] = row
        self.disk.note()

    def rows(self) -> dict[tuple[str, str, int], tuple[int | None, float | None]]:
        """What the journal holds now: time and value by identity."""
        if not self.disk.path.exists():
            return {}
        with sqlite3.connect(self.disk.path) as connection:
            found = connection.execute(
                "SELECT device.name, stream.name, seq, time_ms, payload FROM state"
                " JOIN device ON device.id = state.device JOIN stream ON stream.id = state.stream"
            ).fetchall()
        connection.close()
        return {
            (device, stream, seq): (time_ms, msgspec.json.decode(payload)[FIELD])
            for device, stream, seq, time_ms, payload in found
        }

    def kill(self) -> None:
        self.fuse.left = None
        if self.journal is not None:
            self.journal.close()
        self.journal = None
        if self.wire.is_connected:
            self.world.broker.up_from_poller(self.wire, len(self.wire.up))
            self.world.broker.take(will(TOPICS, "house"))
        self.wire.cut()

    def cut_power(self, lost: int) -> None:
        self.kill()
        self.disk.lose(lost)
        self.boot += 1
        self.clocks.booted_s = self.world.now_s


# The broker


@dataclass
class Memory:
    """What a broker keeps, and may find again older than it was."""

    retained: dict[str, bytes] = field(default_factory=dict)
    queue: deque[tuple[str, bytes, bool]] = field(default_factory=deque)
    knows_bridge: bool = False


class Broker:
    """mosquitto, as far as it matters: one persistent session, retained messages, a bounded queue."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.memory = Memory()
        self.old: list[Memory] = [Memory()]
        self.is_up = True

    def take(self, message: Message) -> None:
        """A message has arrived whole."""
        if message.retain:
            self.memory.retained[message.topic] = message.payload
        if message.topic.endswith("/replay"):
            poller = self.world.poller
            if poller.journal is not None and poller.wire.is_connected:
                poller.publisher.hear(
                    Delivery(message.topic, message.payload, False, poller.wire.connection, 0, 0)
                )
        elif "/bridge/" not in message.topic and self.memory.knows_bridge:
            bridge = self.world.bridge
            if bridge.is_connected or len(self.memory.queue) < QUEUE:
                self.memory.queue.append((message.topic, message.payload, False))

    def up_from_poller(self, wire: Wire, most: int) -> None:
        for _ in range(min(most, len(wire.up))):
            self.take(wire.up.popleft())

    def connect(self, wire: Wire) -> None:
        if self.is_up and not wire.is_connected:
            wire.connection += 1
            wire.is_connected = True

    def restart(self, age: int | None) -> None:
        """Die, and find an older memory; `None` is that it kept everything."""
        self.world.cut_wires()
        if age is not None:
            self.memory = deepcopy(self.old[-1 - age % len(self.old)])

    def remember(self) -> None:
        """Write everything to the file that a restart may find."""
        self.old.append(deepcopy(self.memory))


# The bridge's side


class ModelInbox(Inbox):
    """Gives what waits, and lets time pass where the real one would wait for more."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def take(self, within_s: float | None) -> Delivery | None:
        if not self._waiting and within_s is not None and within_s < 0.5:
            self._world.now_s += within_s
        return super().take(0)


class ModelDatabase(Database):
    """The real database on a disk that may be full."""

    def __init__(self, disk: Disk, fuse: Fuse) -> None:
        self._disk = disk
        self._fuse = fuse
        self.commits = 0
        super().__init__(disk.path)

    @contextmanager
    def transaction(self) -> Iterator[Sql]:
        with super().transaction() as sql:
            before = sql.total_changes
            yield sql
            changed = sql.total_changes > before
            if changed and self._disk.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            if changed:
                self._fuse.burn()
        if changed:
            self._disk.note()
            self.commits += 1
            self._fuse.burn()


class Nobody(Latest):
    """Who shows the latest values is not at stake here."""


class BridgeHost:
    """The machine that the bridge runs on."""

    def __init__(self, world: "World", folder: Path) -> None:
        self.world = world
        self.disk = Disk(folder / "store.sqlite")
        self.fuse = Fuse()
        self.wire = Wire(self.fuse)
        self.boot = 1
        self.database: ModelDatabase | None = None
        self.unacknowledged: dict[int, tuple[str, bytes, bool]] = {}
        self.packet = 0

    @property
    def is_connected(self) -> bool:
        return self.wire.is_connected

    def start(self) -> None:
        self.wire = Wire(self.fuse)
        database = self.database = ModelDatabase(self.disk, self.fuse)
        self.store = Store(database)
        self.outbox = Outbox(database, boot=f"boot {self.boot}")
        self.inbox = ModelInbox(self.world)
        tally = Tally(BRIDGE_HEALTH)
        self.subscriber = Subscriber(
            self.inbox,
            self.store,
            Pruning(database, BridgeLimits(age_ms=6 * 86_400_000, bytes=10**9), boot=f"boot {self.boot}"),
            topics=TOPICS,
            audience=Nobody(),
            acknowledge=self.acknowledge,
            on_stored=lambda: None,
            tally=tally,
            wall_ms=lambda: self.world.now_ms,
            monotonic=lambda: self.world.now_s,
            asker=Asker(self.store, self.wire, topics=TOPICS, tally=tally),  # type: ignore[arg-type]
        )

    def connect(self) -> None:
        """Every connection begins with what was not acknowledged, then the queue, then what is retained."""
        if self.database is None or self.is_connected or not self.world.broker.is_up:
            return
        self.world.broker.connect(self.wire)
        memory = self.world.broker.memory
        memory.knows_bridge = True
        self.packet = 0
        ours = {topic for topic, _ in subscriptions(TOPICS)}
        leaves = {topic.rsplit("/", 1)[1] for topic in ours}
        memory.queue.extend(
            (topic, payload, True)
            for topic, payload in memory.retained.items()
            if topic.rsplit("/", 1)[1] in leaves and "/bridge/" not in topic
        )

    def receive(self, most: int) -> None:
        """The broker delivers so many messages."""
        memory = self.world.broker.memory
        for _ in range(most):
            if self.database is None or not self.is_connected:
                return
            if not memory.queue:
                return
            self.packet += 1
            topic, payload, is_retained = self.unacknowledged[self.packet] = memory.queue.popleft()
            self.inbox.put(Delivery(topic, payload, is_retained, self.wire.connection, self.packet, 1))

    def acknowledge(self, delivery: Delivery) -> None:
        self.fuse.burn()
        if self.is_connected and delivery.connection == self.wire.connection:
            self.unacknowledged.pop(delivery.packet, None)

    def work(self) -> None:
        """Rounds of the store's thread until nothing waits; it may be killed in one."""
        if self.database is None:
            return
        try:
            self.subscriber.work()
            while self.inbox._waiting:
                self.subscriber.work()
            while self.wire.up:
                self.world.broker.take(self.wire.up.popleft())
        except Killed:
            self.kill()

    def send(self, most: int) -> None:
        """The sender's work with a receiver that is there."""
        for _ in range(most):
            if self.database is None:
                return
            try:
                self.outbox.unpark(self.world.now_ms, self.world.now_s)
                batch = self.outbox.begin(self.world.now_ms, self.world.now_s)
                if batch is None:
                    return
                self._deliver(batch)
            except Killed:
                self.kill()
            except Exception as error:  # the store's trouble, as the sender sees it
                if "full" not in str(error):
                    raise
                return

    def _deliver(self, batch: Batch) -> None:
        if not batch.pieces:
            self.outbox.settle_first(batch, self.world.now_s)
        while batch.pieces:
            piece = batch.pieces[0]
            self.fuse.burn()
            self.world.receiver.take(batch.samples[piece.begin : piece.end], self.world.now_s)
            self.fuse.burn()
            commits = self.database.commits
            try:
                batch = self.outbox.settle_first(batch, self.world.now_s)
            finally:
                self.world.receiver.has_answered = self.database.commits > commits

    def kill(self) -> None:
        self.fuse.left = None
        if self.database is not None:
            self.database.close()
        self.database = None
        self.leave()

    def leave(self) -> None:
        """The connection ends: what it had not acknowledged comes again on the next one."""
        self.wire.cut()
        if self.unacknowledged:
            self.world.broker.memory.queue.extendleft(reversed(self.unacknowledged.values()))
            self.unacknowledged.clear()

    def cut_power(self, lost: int) -> None:
        """The receiver lives on the same machine, and does not wait for its disk either."""
        self.kill()
        self.disk.lose(lost)
        self.boot += 1
        self.world.receiver.lose()


# The receiver


class Receiver:
    """Prometheus, with more to say about what it gets."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.series: dict[Series, dict[int, float]] = {}
        self.recent: list[tuple[float, Sequence[Sample]]] = []
        self.open: tuple[Sample, ...] | None = None
        self.has_answered = True

    def take(self, samples: Sequence[Sample], now_s: float) -> None:
        if not self.has_answered and self.open is not None and _bits(samples) != _bits(self.open):
            raise BrokenPromiseError("a request whose outcome was unknown was followed by another one")
        self.open, self.has_answered = tuple(samples), False
        newest = {series: max(values) for series, values in self.series.items()}
        lanes = set()
        for one in samples:
            is_repeat = self.series.get(one.series, {}).get(one.timestamp_ms, 0.0) is not None and (
                one.timestamp_ms in self.series.get(one.series, {})
            )
            if is_repeat and not _same(self.series[one.series][one.timestamp_ms], one.value):
                raise BrokenPromiseError(f"{one} has another value already")
            if one.timestamp_ms > self.world.now_ms + 60_000:
                raise BrokenPromiseError(f"{one} lies ahead of the receiver's clock")
            is_late = one.series in newest and one.timestamp_ms <= newest[one.series]
            lanes.add(is_late and not is_repeat)
            if is_late and not is_repeat and not self.world.may_be_late:
                raise BrokenPromiseError(f"{one} comes late for no reason")
            newest[one.series] = max(newest.get(one.series, 0), one.timestamp_ms)
        if lanes == {True, False} and not self.world.was_cut:
            raise BrokenPromiseError("late samples share a request with others")
        for one in samples:
            self.series.setdefault(one.series, {})[one.timestamp_ms] = one.value
        self.recent = [(at, some) for at, some in self.recent if now_s - at < UNFLUSHED_S]
        self.recent.append((now_s, samples))

    def lose(self) -> None:
        """A power cut takes what was not on the disk yet."""
        self.world.was_cut = True
        self.open, self.has_answered = None, True
        for at, samples in self.recent:
            if self.world.now_s - at < UNFLUSHED_S:
                for one in samples:
                    self.series[one.series].pop(one.timestamp_ms, None)
        self.series = {series: values for series, values in self.series.items() if values}
        self.recent.clear()


def _same(one: float, other: float) -> bool:
    return one == other or (isnan(one) and isnan(other))


def _bits(samples: Sequence[Sample]) -> list[Any]:
    return [(one.series, one.timestamp_ms, None if isnan(one.value) else one.value) for one in samples]


# All of it


class World:
    """Everything together, and what must hold in the end."""

    def __init__(self, folder: Path, name_stream: Callable[[int], str] = "run {}".format) -> None:
        self.folder = folder
        self.name_stream = name_stream
        self.now_s = 1000.0
        self.may_be_late = self.was_cut = False
        self.value = 0
        self.broker = Broker(self)
        self.receiver = Receiver(self)
        self.poller = PollerHost(self, folder)
        self.bridge = BridgeHost(self, folder)
        self.poller.start()
        self.bridge.start()
        self.connect()

    @property
    def now_ms(self) -> int:
        """The true time."""
        return BEGIN_MS + round(self.now_s * 1000)

    def connect(self) -> None:
        if self.poller.journal is not None:
            self.broker.connect(self.poller.wire)
        self.bridge.connect()

    def cut_wires(self) -> None:
        self.poller.wire.cut()
        self.bridge.leave()

    def poll(self, device: Device, *, has_value: bool) -> None:
        self.value += 1
        self.now_s += 1
        if self.poller.journal is not None:
            taken = self.now_s - self.poller.clocks.booted_s
            self.poller.recorder.offer(device, Poll(float(self.value) if has_value else -1.0, taken, ()))
            self.poller.work()

    def move(self, messages: int) -> None:
        """So many messages arrive on each wire."""
        self.broker.up_from_poller(self.poller.wire, messages)
        self.bridge.receive(messages)

    def round(self, seconds: float) -> None:
        self.now_s += seconds
        self.connect()
        self.poller.work()
        self.move(1000)
        self.bridge.work()
        self.bridge.send(20)

    def heal(self) -> None:
        """Everything is up again and left in peace until nothing is missing, as long as it takes."""
        self.poller.fuse.left = self.bridge.fuse.left = None
        self.poller.disk.is_full = self.bridge.disk.is_full = False
        self.poller.clocks.synchronised, self.poller.clocks.error_ms = True, 0
        self.broker.is_up = True
        if self.poller.journal is None:
            self.poller.start()
        if self.bridge.database is None:
            self.bridge.start()
        for seconds, rounds in ((1, 20), (10, 80), (300, 30)):
            for _ in range(rounds):
                self.round(seconds)
                if seconds > 1 and self.is_quiet() and not self.find_lost():
                    return

    def is_quiet(self) -> bool:
        backlog = self.bridge.store.backlog().values()
        return not any(one.waiting or one.missing for one in backlog)

    def find_lost(self) -> list[tuple[str, str, int]]:
        """Rows of the journal that are not with the receiver."""
        stored = self.stored()
        return [
            identity
            for identity, (time_ms, value) in self.poller.rows().items()
            if time_ms is not None and value is not None and stored.get((identity[0], time_ms)) != value
        ]

    def stored(self) -> dict[tuple[str, int], float]:
        return {
            (dict(series.labels)["device"], time_ms): value
            for series, values in self.receiver.series.items()
            for time_ms, value in values.items()
        }

    def check(self) -> None:
        """Rows of the journal ⊆ samples stored, every sample has its row, and nothing is thought to be missing."""
        if lost := self.find_lost():
            raise BrokenPromiseError(f"lost: {lost[:5]} of {len(lost)}; {self.bridge.store.backlog()}")
        rows = {(device, time_ms): value for (device, _, _), (time_ms, value) in self.poller.ever.items()}
        for (device, time_ms), value in self.stored().items():
            row = rows.get((device, time_ms), "no row")
            if row == "no row" or (row is None) != isnan(value) or (row is not None and row != value):
                raise BrokenPromiseError(f"{device} has {value} at {time_ms}, its row says {row}")
        if not self.is_quiet():
            raise BrokenPromiseError(f"left: {self.bridge.store.backlog()}")

    def close(self) -> None:
        self.poller.kill()
        self.bridge.kill()
        shutil.rmtree(self.folder)
