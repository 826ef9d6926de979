"""The machine that the bridge runs on, with its sender in a thread that moves only when it may."""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.asker import Asker
from bridge.database import Database, Sql
from bridge.gaps import WAIT_S
from bridge.inbox import Inbox
from bridge.latest import Latest
from bridge.outbox import Outbox
from bridge.pruning import Limits as BridgeLimits
from bridge.pruning import Pruning
from bridge.sender import Sender
from bridge.store import Store
from bridge.subscribe import Subscriber, subscriptions
from readings.broker import Delivery
from readings.errors import PayloadError
from readings.health import BRIDGE_HEALTH, Tally
from readings.payload import decode_journal, decode_state
from readings.reading import DeviceState
from tests.model.machine import BrokenPromiseError, Disk, Fuse, Killed
from tests.model.wire import TOPICS, Wire

if TYPE_CHECKING:
    from tests.model.world import World

MOST_IN_FLIGHT = 20
"""What the broker sends before it waits for acknowledgements."""

ON_THE_WIRE = 8
"""Messages that the broker has sent and the bridge not yet received."""


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
        self.misses_since_s = inf
        self.waited_out: set[tuple[str, str, int]] = set()
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
        if leaf == "journal" and delivery.payload:
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
        now_s = self.world.now_s
        wanted = self.store.wanted()
        self.misses_since_s = min(self.misses_since_s, now_s) if wanted else inf
        if now_s + seconds - self.misses_since_s >= WAIT_S:
            self.world.may_be_late = True
            self.waited_out |= {
                (device.name, stream, seq)
                for device, streams in wanted.items()
                for stream, ranges in streams
                for first, last in ranges
                for seq in range(first, last + 1)
            }
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
