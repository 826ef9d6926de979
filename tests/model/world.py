"""A small world for the real poller and the real bridge: only wires, disks and clocks are made up.

The poller's recorder, publisher and journal, the bridge's subscriber, store,
asker, outbox and sender, and the session of both are the ones that run in a
house, on real SQLite files. What is modelled is what lies between them and
around them, with everything that it may do to them: it kills at any instant,
loses what a disk had not written, restores a broker from an old file, moves
the clocks, and answers a request as receivers do.
"""

import shutil
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, auto
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import snappy

from bridge.asker import Asker
from bridge.database import Database, Sql
from bridge.inbox import Inbox
from bridge.latest import Latest
from bridge.outbox import Outbox
from bridge.poster import PATIENCE_S
from bridge.pruning import Limits as BridgeLimits
from bridge.pruning import Pruning
from bridge.quarantine import Quarantined
from bridge.remote_write.outcome import Outcome, Refused, RetryAfter, Sent, TooLarge
from bridge.remote_write.prometheus_pb2 import WriteRequest
from bridge.sample import Sample, Series
from bridge.sender import Sender
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
from readings.broker import Delivery, Message, Session
from readings.errors import PayloadError
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH, Tally
from readings.payload import decode_journal, decode_state
from readings.reading import DeviceKey, DeviceState, Kind
from readings.release import RELEASED_MS
from readings.settings import MqttSettings
from readings.topics import Topics

TOPICS = Topics("heating")
SETTINGS = MqttSettings()
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

MOST_IN_FLIGHT = 20
"""What the broker sends before it waits for acknowledgements."""

ON_THE_WIRE = 8
"""Messages that the broker has sent and the bridge not yet received."""

JOURNAL_AGE_S = 3000.0
UNFLUSHED_S = 30.0
"""What a receiver took so shortly before a power cut may be gone with it."""

ANSWER_S = 0.01


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


@dataclass
class Client:
    """What paho's client is to a session: it takes messages and acknowledgements, and dies with its connection."""

    fuse: Fuse
    hear_ack: Callable[[int], None]
    up: deque[Message] = field(default_factory=deque)
    rc: int = 0

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> "Client":
        self.fuse.burn()
        self.up.append(Message(topic, payload, retain, qos))
        return self

    def ack(self, packet: int, qos: int) -> None:
        self.fuse.burn()
        self.hear_ack(packet)


class Wire(Session):
    """The real session on connections that are made up; one may be cut, and then what it carried is gone."""

    def __init__(self, fuse: Fuse, hear_ack: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(SETTINGS, client_id="", clean=False, jitter=lambda: 0.0)
        self._fuse = fuse
        self._hear_ack = hear_ack

    @property
    def up(self) -> deque[Message]:
        return deque() if self._client is None else self._client.up

    def accept(self) -> None:
        self._connection += 1
        self._client = Client(self._fuse, self._hear_ack)
        self._arrived.clear()
        self._safe.clear()

    def receive(self, delivery: Delivery) -> None:
        self._arrived.append(delivery.packet)

    def cut(self) -> None:
        self._client = None


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
        self.was_cut = False
        self._seen: tuple[tuple[int, int], ...] = ()

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
        log = self.disk.path.with_name(self.disk.path.name + "-wal")
        seen = tuple(
            (one.stat().st_mtime_ns, one.stat().st_size) for one in (self.disk.path, log) if one.exists()
        )
        if seen == self._seen:
            return
        self._seen = seen
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
                " ORDER BY stream.id, seq"
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
        self.was_cut = True
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
            wire.accept()

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


class Stepper:
    """Runs the sender in its own thread, which moves only while the world waits for it: `step` gives it some time."""

    def __init__(self, world: "World", run: Callable[[], None]) -> None:
        self._world = world
        self._run = run
        self._its_turn, self._our_turn = threading.Semaphore(0), threading.Semaphore(0)
        self._until_s = 0.0
        self._rest: tuple[threading.Event, float] | None = None
        self._must_die = False
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._body, daemon=True)
        self._thread.start()

    def step(self, seconds: float) -> None:
        """Let it work until it would have to wait for longer."""
        self._until_s = self._world.now_s + seconds
        if self._rest is not None and not self._rest[0].is_set() and self._rest[1] > self._until_s:
            return  # it would only look at the clock
        self._give_turn()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def end(self) -> None:
        self._must_die = True
        self._give_turn()
        self._thread.join(10)

    # What the sender calls

    def breathe(self) -> None:
        """The sender's time may be over."""
        if self._world.now_s > self._until_s:
            self._pause()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        due_s = self._world.now_s + seconds
        while not event.is_set() and self._world.now_s < due_s:
            if due_s > self._until_s:
                self._rest = (event, due_s)
                self._pause()
                self._rest = None
            else:
                self._world.now_s = due_s
        return event.is_set()

    def _give_turn(self) -> None:
        if not self._is_over:
            self._its_turn.release()
            self._our_turn.acquire()

    def _pause(self) -> None:
        self._our_turn.release()
        self._its_turn.acquire()
        if self._must_die:
            raise Killed

    def _body(self) -> None:
        self._its_turn.acquire()
        try:
            if not self._must_die:
                self._run()
        except BaseException as error:  # noqa: BLE001 - a broken promise is for the world to hear of, a death too
            self._error = None if self._must_die else error
        self._is_over = True
        self._our_turn.release()


class BridgeHost:
    """The machine that the bridge runs on."""

    def __init__(self, world: "World", folder: Path) -> None:
        self.world = world
        self.disk = Disk(folder / "store.sqlite")
        self.fuse = Fuse()
        self.wire = Wire(self.fuse, self.acknowledged)
        self.boot = 1
        self.database: ModelDatabase | None = None
        self.tally = Tally(BRIDGE_HEALTH)
        self.on_wire: deque[Delivery] = deque()
        self.unacknowledged: dict[int, tuple[str, bytes, bool]] = {}
        self.packet = 0
        self.was_killed = False
        self.lowest: dict[tuple[str, str], int] = {}

    @property
    def is_connected(self) -> bool:
        return self.wire.is_connected

    def start(self) -> None:
        self.wire = Wire(self.fuse, self.acknowledged)
        database = self.database = ModelDatabase(self.disk, self.fuse)
        self.store = Store(database)
        self.outbox = Outbox(database, boot=f"boot {self.boot}")
        self.inbox = ModelInbox(self.world)
        self.sender = Sender(
            self.outbox,
            self.world.receiver,
            labels={},
            tally=self.tally,
            wall_ms=lambda: self.world.now_ms,
            monotonic=lambda: self.world.now_s,
            jitter=lambda: 0.5,
            wait=lambda event, seconds: self.stepper.wait(event, seconds),  # noqa: PLW0108 - it is made below
        )
        self.stepper = Stepper(self.world, self.sender.run)
        self.subscriber = Subscriber(
            self.inbox,
            self.store,
            Pruning(database, BridgeLimits(age_ms=6 * 86_400_000, bytes=10**9), boot=f"boot {self.boot}"),
            topics=TOPICS,
            audience=Nobody(),
            acknowledge=self.wire.acknowledge,
            on_stored=self.sender.wake,
            tally=self.tally,
            wall_ms=lambda: self.world.now_ms,
            monotonic=lambda: self.world.now_s,
            asker=Asker(self.store, self.wire, topics=TOPICS, tally=self.tally),
        )

    def connect(self, first_packet: int = 1) -> None:
        """Every connection begins with what was not acknowledged, then the queue, then what is retained.

        The broker numbers its messages as it likes.
        """
        if self.database is None or self.is_connected or not self.world.broker.is_up:
            return
        self.world.broker.connect(self.wire)
        memory = self.world.broker.memory
        memory.knows_bridge = True
        self.packet = first_packet - 1
        ours = {topic for topic, _ in subscriptions(TOPICS)}
        leaves = {topic.rsplit("/", 1)[1] for topic in ours}
        memory.queue.extend(
            (topic, payload, True)
            for topic, payload in memory.retained.items()
            if topic.rsplit("/", 1)[1] in leaves and "/bridge/" not in topic
        )

    def receive(self, most: int) -> int:
        """So many messages arrive; some more are on their way then. How many arrived."""
        queue = self.world.broker.memory.queue
        for number in range(most):
            if self.database is None or not self.is_connected:
                return number
            while queue and len(self.on_wire) <= ON_THE_WIRE and len(self.unacknowledged) < MOST_IN_FLIGHT:
                self.packet += 1
                topic, payload, is_retained = self.unacknowledged[self.packet] = queue.popleft()
                self.on_wire.append(
                    Delivery(topic, payload, is_retained, self.wire.connection, self.packet, 1)
                )
            if not self.on_wire:
                return number
            delivery = self.on_wire.popleft()
            self._note(delivery)
            self.wire.receive(delivery)
            self.inbox.put(delivery)
        return most

    def _note(self, delivery: Delivery) -> None:
        """The lowest number of each stream that the bridge was ever told of."""
        _, _, device, leaf = delivery.topic.split("/") if delivery.topic.count("/") == 3 else [""] * 4
        told: list[tuple[str, int]] = []
        if leaf == "journal":
            told = [(one.stream, one.first) for one in decode_journal(delivery.payload)]
        elif (state := state_of(delivery.topic, delivery.payload)) is not None:
            told = [(state.stream, state.seq or 1)]
        for stream, number in told:
            self.lowest[device, stream] = min(number, self.lowest.get((device, stream), number))

    def acknowledged(self, packet: int) -> None:
        """The broker hears of it, and forgets the message: the bridge must have it, or a full disk."""
        message = self.unacknowledged.pop(packet, None)
        state = None if message is None else state_of(message[0], message[1])
        if state is None or self.disk.is_full:
            return
        device = message[0].split("/")[2]
        if (device, state.stream, state.seq) not in self.had({(device, state.stream)}):
            raise BrokenPromiseError(
                f"{device} {state.stream} {state.seq} was acknowledged and is not in the store"
            )

    def had(self, streams: Container[tuple[str, str]] | None = None) -> set[tuple[str, str, int]]:
        """The identities of these streams, or of all, that the store counts as had."""
        with self.database.transaction() as sql:
            rows = sql.execute(
                "SELECT device.name, stream.name, had.first, had.last FROM had"
                " JOIN stream ON stream.id = had.stream JOIN device ON device.id = stream.device"
            ).fetchall()
        return {
            (device, stream, seq)
            for device, stream, first, last in rows
            if streams is None or (device, stream) in streams
            for seq in range(first, last + 1)
        }

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

    def send(self, seconds: float) -> None:
        """The sender's work for so long; it may be killed in it."""
        if self.database is None:
            return
        try:
            self.stepper.step(seconds)
        except Killed:
            self.kill()

    def kill(self) -> None:
        self.fuse.left = None
        if self.database is not None:
            self.was_killed = True
            self.stepper.end()
            self.database.close()
        self.database = None
        self.leave()

    def leave(self) -> None:
        """The connection ends: what it had not acknowledged comes again on the next one."""
        self.wire.cut()
        self.on_wire.clear()
        if self.unacknowledged:
            self.world.broker.memory.queue.extendleft(reversed(self.unacknowledged.values()))
            self.unacknowledged.clear()

    def cut_power(self, lost: int) -> None:
        """The receiver lives on the same machine, and does not wait for its disk either."""
        self.kill()
        self.disk.lose(lost)
        self.boot += 1
        self.world.receiver.lose()


def state_of(topic: str, payload: bytes) -> DeviceState | None:
    """The state that a message brings, if it is one to be stored."""
    if not topic.endswith(("/state", "/history")):
        return None
    try:
        state = decode_state(payload)
    except PayloadError:
        return None
    return None if state.seq is None or state.time_ms is None else state


# The receiver


class Trouble(Enum):
    """What a receiver may do to one request; it has taken the samples where it says so."""

    FAILS = auto()
    HANGS_UP = auto()
    ANSWER_IS_LOST = auto()  # taken
    TURNS_AWAY = auto()
    DIES = auto()
    DIES_AFTER = auto()  # taken


class Request:
    """One that the receiver has looked at, and what the bridge may know of its outcome."""

    def __init__(self, body: bytes, samples: Sequence[Sample], database: ModelDatabase) -> None:
        self.body = body
        self.samples = {(one.series, one.timestamp_ms) for one in samples}
        self.has_answer = self.is_too_large = False
        self._database, self._commits = database, database.commits

    @property
    def is_settled(self) -> bool:
        """Whether the bridge has written something down since."""
        return self._database.commits > self._commits


class Receiver:
    """Prometheus with an out-of-order window, and with more to say about what it gets."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.is_up = True
        self.troubles: deque[Trouble] = deque()
        self.most = 2000
        self.takes_no_repeats = False
        self.refused: set[float] = set()
        self.poison: set[float] = set()
        self.series: dict[Series, dict[int, float]] = {}
        self.recent: list[tuple[float, Sequence[Sample]]] = []
        self.last: Request | None = None
        self.is_known = True
        self.doubtful: set[tuple[Series, int]] = set()
        self.busy_until: tuple[object, float] = (None, 0.0)
        self.has_failed_at_samples = False
        self.failing_since_s: float | None = None

    # What the sender calls

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        bridge = self.world.bridge
        bridge.stepper.breathe()
        bridge.fuse.burn()
        self.world.now_s += ANSWER_S
        samples = decode_request(body)
        outcome = self._answer(body, samples) if samples else self._answer_probe()
        bridge.fuse.burn()
        return outcome

    def late_window(self, timeout_s: float) -> str | None:
        return None

    def newest_ms(self, timeout_s: float) -> int | None:
        return None

    def close(self) -> None:
        pass

    def _answer_probe(self) -> Outcome:
        return Sent() if self.is_up else RetryAfter("cannot reach it")

    def _answer(self, body: bytes, samples: Sequence[Sample]) -> Outcome:
        stepper, until_s = self.busy_until
        if stepper is self.world.bridge.stepper and self.world.now_s < until_s:
            raise BrokenPromiseError("a request came before the time that the receiver had asked for")
        if not self.is_up:
            return RetryAfter("cannot reach it")
        trouble = self.troubles.popleft() if self.troubles else None
        if trouble is Trouble.TURNS_AWAY:
            self.busy_until = (self.world.bridge.stepper, self.world.now_s + 7.0)
            return RetryAfter("429", seconds=7.0)
        if len(samples) > self.most:
            if self.last is not None and not self.last.is_settled:
                self.last.has_answer = False  # nobody heard it
                self.last.is_too_large |= self.last.body == body
            return TooLarge("413")
        self._look(body, samples)
        self.is_up = trouble not in {Trouble.DIES, Trouble.DIES_AFTER}
        if trouble in {Trouble.FAILS, Trouble.HANGS_UP, Trouble.DIES}:
            return self._fail()
        outcome = self._judge(samples)
        if trouble in {Trouble.ANSWER_IS_LOST, Trouble.DIES_AFTER}:
            return self._fail()
        if not isinstance(outcome, RetryAfter):
            self.last.has_answer, self.failing_since_s = True, None
        return outcome

    def _fail(self) -> Outcome:
        """Nobody knows what became of it; when that lasts, the request has to blame itself, and is split."""
        since_s = self.failing_since_s = self.failing_since_s or self.world.now_s
        if self.world.now_s - since_s >= PATIENCE_S:
            self.has_failed_at_samples = self.world.may_be_late = True
        return RetryAfter("no answer", is_open=True, is_failure=True)

    def _judge(self, samples: Sequence[Sample]) -> Outcome:
        """Take them all, or none."""
        values = {one.value for one in samples}
        if values & self.refused:
            self.is_known = True
            return Refused("400: out of bounds")
        if values & self.poison:
            self.has_failed_at_samples = self.is_known = True
            self.world.may_be_late = True
            return RetryAfter("500", is_open=True, is_failure=True)
        is_strict = self.takes_no_repeats and not self.world.was_cut
        if is_strict and any(one.timestamp_ms in self.series.get(one.series, {}) for one in samples):
            return Refused("400: duplicate sample for timestamp", is_repeat=True)
        self._take(samples)
        return Sent()

    def _look(self, body: bytes, samples: Sequence[Sample]) -> None:
        """Whether this request may come after the last one, and at all."""
        database = self.world.bridge.database
        is_same = self.last is not None and self.last.body == body
        was_settled = self.last is None or self.last.is_settled
        if self.last is not None and was_settled and self.last.has_answer:
            self.doubtful -= self.last.samples
        elif self.last is not None:
            self.doubtful |= self.last.samples
        request = Request(body, samples, database)
        is_piece = self.last is not None and self.last.is_too_large and request.samples <= self.last.samples
        if not (self.is_known or was_settled or is_same or is_piece or self.has_failed_at_samples):
            raise BrokenPromiseError("a request whose outcome was unknown was followed by another one")
        self.last, self.is_known = request, False
        newest = {series: max(values) for series, values in self.series.items()}
        lanes = set()
        within: set[tuple[Series, int]] = set()
        for one in samples:
            there = self.series.get(one.series, {})
            is_repeat = one.timestamp_ms in there
            if is_repeat and not _same(there[one.timestamp_ms], one.value):
                raise BrokenPromiseError(f"{one} has another value already")
            if (one.series, one.timestamp_ms) in within:
                raise BrokenPromiseError(f"{one} stands in one request twice")
            within.add((one.series, one.timestamp_ms))
            is_doubtful = (one.series, one.timestamp_ms) in self.doubtful
            if is_repeat and not (is_same or is_doubtful or self.world.was_cut):
                raise BrokenPromiseError(f"{one} comes again for no reason")
            if one.timestamp_ms > self.world.now_ms + 60_000:
                raise BrokenPromiseError(f"{one} lies ahead of the receiver's clock")
            is_late = one.series in newest and one.timestamp_ms <= newest[one.series]
            lanes.add(is_late and not is_repeat)
            if is_late and not is_repeat and not self.world.may_be_late:
                raise BrokenPromiseError(f"{one} comes late for no reason")
            newest[one.series] = max(newest.get(one.series, 0), one.timestamp_ms)
        is_disturbed = self.world.was_cut or self.has_failed_at_samples or self.refused
        if lanes == {True, False} and not is_disturbed:
            raise BrokenPromiseError("late samples share a request with others")

    def _take(self, samples: Sequence[Sample]) -> None:
        for one in samples:
            self.series.setdefault(one.series, {})[one.timestamp_ms] = one.value
        now_s = self.world.now_s
        self.recent = [(at, some) for at, some in self.recent if now_s - at < UNFLUSHED_S]
        self.recent.append((now_s, samples))

    def lose(self) -> None:
        """A power cut takes what was not on the disk yet."""
        self.world.was_cut = True
        self.last, self.is_known = None, True
        self.doubtful.clear()
        for at, samples in self.recent:
            if self.world.now_s - at < UNFLUSHED_S:
                for one in samples:
                    self.series.get(one.series, {}).pop(one.timestamp_ms, None)
        self.series = {series: values for series, values in self.series.items() if values}
        self.recent.clear()


def decode_request(body: bytes) -> list[Sample]:
    """The samples of a request, in the order of their times, as a receiver looks at them one by one."""
    request = WriteRequest.FromString(snappy.uncompress(body))
    return [
        Sample(series, sample.value, sample.timestamp)
        for one in request.timeseries
        for series in [Series("", tuple((label.name, label.value) for label in one.labels))]
        for sample in one.samples
    ]


def _same(one: float, other: float) -> bool:
    return one == other or (isnan(one) and isnan(other))


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
        self.start()
        self.connect()

    @property
    def now_ms(self) -> int:
        """The true time."""
        return BEGIN_MS + round(self.now_s * 1000)

    def start(self) -> None:
        """Start who is not there."""
        if self.poller.journal is None:
            self.poller.start()
        if self.bridge.database is None:
            self.bridge.start()

    def connect(self) -> None:
        if self.poller.journal is not None:
            self.broker.connect(self.poller.wire)
        self.bridge.connect()

    def cut_wires(self) -> None:
        self.poller.wire.cut()
        self.bridge.leave()

    def poll(
        self, device: Device, *, has_value: bool, is_refused: bool = False, is_poison: bool = False
    ) -> None:
        """A device is polled; the receiver may be going to refuse the reading, or to fail at it for ever."""
        self.value += 1
        if is_refused:
            self.receiver.refused.add(float(self.value))
        if is_poison:
            self.receiver.poison.add(float(self.value))
        self.now_s += 1
        if self.poller.journal is not None:
            taken = self.now_s - self.poller.clocks.booted_s
            self.poller.recorder.offer(device, Poll(float(self.value) if has_value else -1.0, taken, ()))
            before = len(self.poller.ever)
            self.poller.work()
            may_fail = self.poller.journal is None or self.poller.disk.is_full
            if len(self.poller.ever) == before and not may_fail:
                raise BrokenPromiseError(f"{device.key.name} was polled and there is no row")

    def move(self, messages: int) -> None:
        """So many messages arrive on each wire."""
        self.broker.up_from_poller(self.poller.wire, messages)
        self.bridge.receive(messages)

    def miss(self, device: Device) -> None:
        """The bridge's disk is full for two states; the next one tells of them."""
        disk = self.bridge.disk
        is_full, disk.is_full = disk.is_full, True
        for disk.is_full in (True, True, is_full):
            self.poll(device, has_value=True)
            self.move(20)
            self.bridge.work()

    def round(self, seconds: float) -> None:
        self.now_s += seconds
        self.connect()
        self.poller.work()
        for _ in range(20):
            self.broker.up_from_poller(self.poller.wire, 1000)
            if not self.bridge.receive(1000) and not self.poller.wire.up:
                break
            self.bridge.work()
        self.bridge.work()
        self.bridge.send(seconds)

    def heal(self) -> None:
        """Everything is up again and left in peace until nothing is missing, as long as it takes."""
        self.poller.fuse.left = self.bridge.fuse.left = None
        self.poller.disk.is_full = self.bridge.disk.is_full = False
        self.poller.clocks.synchronised, self.poller.clocks.error_ms = True, 0
        self.broker.is_up = self.receiver.is_up = True
        self.receiver.troubles.clear()
        self.receiver.most = 2000
        self.start()
        for seconds, rounds in ((1, 5), (10, 80), (300, 30)):
            for _ in range(rounds):
                if self.receiver.poison:
                    # Only what passes beside it tells a guilty sample from a receiver that is ill.
                    self.poll(DEVICES[0], has_value=True)
                self.round(seconds)
                if seconds > 1 and self.is_quiet() and not self.find_lost():
                    return

    def is_quiet(self) -> bool:
        backlog = self.bridge.store.backlog().values()
        return not any(one.waiting or one.missing for one in backlog)

    def find_lost(self) -> list[tuple[str, str, int]]:
        """What the journal or the bridge has, and that is neither with the receiver nor, refused, in quarantine."""
        stored = self.stored()
        guilty = self.receiver.refused | self.receiver.poison
        kept = {(one.device, one.stream, one.seq) for one in self.quarantined()}
        had = {identity: self.poller.ever.get(identity, (None, None)) for identity in self.bridge.had()}
        return [
            identity
            for identity, (time_ms, value) in (had | self.poller.rows()).items()
            if time_ms is not None
            and value is not None
            and (
                (f"meter/{identity[0]}", *identity[1:]) not in kept
                if value in guilty
                else stored.get((identity[0], time_ms)) != value
            )
        ]

    def quarantined(self) -> tuple[Quarantined, ...]:
        return self.bridge.outbox.quarantine.entries()

    def stored(self) -> dict[tuple[str, int], float]:
        return {
            (dict(series.labels)["device"], time_ms): value
            for series, values in self.receiver.series.items()
            for time_ms, value in values.items()
        }

    def check(self) -> None:
        """What is promised, and that the programs' own figures say so."""
        if lost := self.find_lost():
            raise BrokenPromiseError(f"lost: {lost[:5]} of {len(lost)}; {self.bridge.store.backlog()}")
        rows = {(device, time_ms): value for (device, _, _), (time_ms, value) in self.poller.ever.items()}
        for (device, time_ms), value in self.stored().items():
            row = rows.get((device, time_ms), "no row")
            if row == "no row" or (row is None) != isnan(value) or (row is not None and row != value):
                raise BrokenPromiseError(f"{device} has {value} at {time_ms}, its row says {row}")
        if not self.is_quiet():
            raise BrokenPromiseError(f"left: {self.bridge.store.backlog()}")
        self._check_quarantine()
        self._check_markers()
        self._check_journal()
        self._check_given_up()
        self._check_counts()

    def _check_quarantine(self) -> None:
        """Nobody innocent is there, but where a batch was split while answers got lost, or was sent once more."""
        guilty = self.receiver.refused | self.receiver.poison
        entries = self.quarantined()
        innocent = [one for one in entries if one.sample.value not in guilty]
        if innocent:
            raise BrokenPromiseError(f"innocent in quarantine: {innocent[:3]}")

    def _check_markers(self) -> None:
        """A series ends where its field turned from a number to null."""
        if self.poller.was_cut:
            return  # the bridge may have rows between these that the journal lost
        stored = self.stored()
        before: dict[str, float | None] = {}
        for (device, stream, seq), (time_ms, value) in self.poller.rows().items():
            if value is None and before.get(device) is not None and time_ms is not None:
                marker = stored.get((device, time_ms))
                if marker is None or not isnan(marker):
                    raise BrokenPromiseError(f"{device} {stream} {seq} ends a series and has no marker")
            before[device] = value

    def _check_journal(self) -> None:
        """Nothing left it but by its age, which counts back from the newest time that it holds."""
        if self.poller.was_cut:
            return
        there = self.poller.rows()
        newest = max((time_ms for time_ms, _ in self.poller.ever.values() if time_ms is not None), default=0)
        for identity, (time_ms, _) in self.poller.ever.items():
            if identity not in there and time_ms is not None and time_ms > newest - JOURNAL_AGE_S * 1000:
                raise BrokenPromiseError(f"{identity} left the journal early")

    def _check_given_up(self) -> None:
        """What was never told of is not lost, nor what never had a time; so says the one figure."""
        with self.bridge.database.transaction() as sql:
            streams = sql.execute(
                "SELECT device.name, stream.name, first, last FROM stream JOIN device ON device.id = stream.device"
            ).fetchall()
        had = self.bridge.had({(device, stream) for device, stream, _, _ in streams})
        for device, stream, first, last in streams:
            for seq in range(first or 1, last + 1):
                if (device, stream, seq) not in had and seq < self.bridge.lowest.get((device, stream), 1):
                    raise BrokenPromiseError(f"{device} {stream} {seq} is given up and was never told of")
                if (device, stream, seq) not in had and self.poller.ever.get(
                    (device, stream, seq), (None, None)
                )[0] is None:
                    raise BrokenPromiseError(f"{device} {stream} {seq} is given up and never had a time")

    def _check_counts(self) -> None:
        """Its own counts say what is there; a kill between an act and its count may leave one out."""
        if self.was_cut or self.receiver.has_failed_at_samples:
            return
        stored = sum(
            self.bridge.tally.value("bridge_states_stored_total", device=one.key.name) for one in DEVICES
        )
        sent = self.bridge.tally.value("bridge_samples_sent_total")
        taken = len(self.stored())
        if stored > len(self.poller.ever):
            raise BrokenPromiseError(f"{stored} states are counted, {len(self.poller.ever)} ever were")
        if sent > taken or (sent < taken and not self.bridge.was_killed):
            raise BrokenPromiseError(f"{sent} samples are counted, the receiver has {taken}")

    def close(self) -> None:
        self.poller.kill()
        self.bridge.kill()
        shutil.rmtree(self.folder)
