"""`python -m bench.house_hours FOLDER HOURS`: hours of a house through journal and store, and what they write.

Meter every 30 s, heat pump every 10 s, three sensors every 60 s; the real
recorder, journal, publisher, store, sender and pruning on real files, by a
clock that we turn. Each commit of the journal is one of the store, and each of
those is sent at once, as it is with everything up. What goes over a socket is
not counted.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.backlog import TOPICS
from bench.processes import BenchError, bytes_written
from bench.sink import sink
from bridge.arrival import interpret
from bridge.batch import Batch
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.pruning import Limits as StoreLimits
from bridge.pruning import Pruning
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.sender import Sender
from bridge.store import Store
from bridge.subscribe import PRUNE_EVERY_S
from poller.assemble import Report, Stamped
from poller.blocks import BlockRead, Poll
from poller.device import Device
from poller.journal import Journal
from poller.plan import plan_device
from poller.profile import load_profile
from poller.publish import Publisher
from poller.recorder import Limits, Recorder
from poller.trackers import Arrival, Trackers
from poller.walltime import ClockReading
from readings.broker import Message
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH, Tally
from readings.reading import DeviceKey
from simulator.bus import Device as Simulated
from simulator.house_bus import LiveHouse
from simulator.shelly import ADDRESSES

STEP_S = 10
BEGIN_S = 1_795_406_700
WEEK_S = 7 * 86_400
MOST_BYTES = 500_000_000


class Written(msgspec.Struct, frozen=True):
    """States, and what each side handed to the kernel; `bound` is for the disk, after the page cache."""

    states: int
    journal_bytes: int
    journal_bound: int
    store_bytes: int
    store_bound: int


class _Clock:
    """Monotonic time that we turn, and the wall time that goes with it."""

    boot = "bench"

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def read(self) -> ClockReading:
        return ClockReading(self.wall_ms(), self.now, synchronised=True)

    def wall_ms(self) -> int:
        return round((BEGIN_S + self.now) * 1000)


class _Broker:
    """Is always there, and keeps what it got until the bridge takes it."""

    is_connected = True
    connection = 1

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    def take(self) -> list[Message]:
        taken, self.messages = self.messages, []
        return taken


class _Emptied(Outbox):
    """Lets a sender run until nothing waits any more."""

    def __init__(self, database: Database, url: str) -> None:
        super().__init__(database, boot="bench")
        self._url = url
        self._sender: Sender | None = None

    def empty(self, clock: _Clock) -> None:
        self._sender = Sender(
            self,
            Connection(ReceiverSettings(self._url), time.time),
            labels={},
            tally=Tally(BRIDGE_HEALTH),
            wall_ms=clock.wall_ms,
            monotonic=clock.monotonic,
            jitter=lambda: 0.0,
        )
        self._sender.run()

    def begin(self, *args: Any, **kwargs: Any) -> Batch | None:
        batch = super().begin(*args, **kwargs)
        if batch is None and self._sender is not None:
            self._sender.stop()
        return batch


class _House:
    """What the devices bring, each at its interval."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._house = LiveHouse(start_s=BEGIN_S, monotonic=clock.monotonic)
        self._sensors = [_sensor(name) for name in ADDRESSES]
        self._polled = [
            (_device("wago-879", "meter", 30), self._house.meter()),
            (_device("lg-r290", "heatpump", 10), self._house.heat_pump()),
        ]
        self._seen: dict[str, float] = {}

    @property
    def devices(self) -> list[Device]:
        return [*(device for device, _ in self._polled), *self._sensors]

    def bring(self) -> Iterator[tuple[Device, Poll | Arrival]]:
        now = self._clock.now
        for device, simulated in self._polled:
            if now % device.interval_s == 0:
                yield device, _poll(device, simulated, now)
        readings = self._house.sensor_readings(BEGIN_S + now)
        for device in self._sensors:
            values = readings[device.key.name]
            seen_s = values["last_seen_timestamp"]
            if self._seen.get(device.key.name) != seen_s:
                self._seen[device.key.name] = seen_s
                stamped = {name: Stamped(value, int(seen_s * 1000)) for name, value in values.items()}
                yield device, Arrival(Report(stamped), now)


def main() -> None:
    """Let the hours pass, and print what was written."""
    with sink() as url:
        print(msgspec.json.encode(_live(Path(sys.argv[1]), float(sys.argv[2]), url)).decode())


def _live(folder: Path, hours: float, url: str) -> Written:
    clock, broker, tally = _Clock(), _Broker(), Tally(POLLER_HEALTH)
    house = _House(clock)
    journal = Journal(folder / "journal.sqlite", stream="b3nc4a11", boot=clock.boot)
    publisher = Publisher(
        broker,
        TOPICS,
        "bench",
        house.devices,
        stream=journal.stream,
        ranges=journal.listed,
        states=journal.states,
        tally=tally,
    )
    trackers = Trackers(house.devices, tally)
    limits = Limits(WEEK_S, MOST_BYTES)
    recorder = Recorder(journal, trackers, publisher, clock=clock, limits=limits, tally=tally, group_s=0)
    database = Database(folder / "store.sqlite")
    store, outbox = Store(database), _Emptied(database, url)
    pruning = Pruning(database, StoreLimits(WEEK_S * 1000, MOST_BYTES), boot="")

    def keep() -> None:
        arrivals = [interpret(one.topic, one.payload, TOPICS) for one in broker.take()]
        if arrivals:
            store.commit(arrivals, clock.wall_ms())
        outbox.empty(clock)
        if clock.now % PRUNE_EVERY_S == 0:
            while not pruning.run(now_ms=clock.wall_ms(), now_s=clock.now).is_done:
                pass

    recorder.open()
    journal_bytes, store_bytes = [0, 0], [0, 0]
    for step in range(round(hours * 3600 / STEP_S)):
        clock.now = float(step * STEP_S)
        for device, brought in house.bring():
            recorder.offer(device, brought)
        _add(journal_bytes, lambda: recorder.work(0.0))
        _add(store_bytes, keep)
    states = round(
        sum(tally.value("poller_states_journaled_total", device=one.key.name) for one in house.devices)
    )
    unsent = [one.waiting + one.missing for one in store.backlog().values()]
    if not unsent or any(unsent):
        raise BenchError("the store has not sent what the journal holds")
    return Written(states, *journal_bytes, *store_bytes)


def _device(profile_name: str, name: str, interval_s: float) -> Device:
    profile = load_profile(profile_name)
    key = DeviceKey(profile.kind, name)
    return Device(key, name, profile, profile.choose(), interval_s, bus="rs485", unit=1)


def _sensor(name: str) -> Device:
    profile = load_profile("shelly-blu-ht")
    return Device(DeviceKey(profile.kind, name), name, profile, profile.choose(), profile.interval_s)


def _poll(device: Device, simulated: Simulated, now: float) -> Poll:
    """The answers of a simulated device, without a bus."""
    plan = plan_device(device, baud=9600, turnaround_s=0.005, distinct=False)
    reads = []
    for block in plan.blocks:
        answer, _ = simulated.answer(block.table, block.address, block.count)
        reads.append(BlockRead(block, tuple(answer.words), now))
    return Poll(now, now, tuple(reads))


def _add(total: list[int], work: Callable[[], None]) -> None:
    before = bytes_written()
    work()
    for place, (one, other) in enumerate(zip(bytes_written(), before, strict=True)):
        total[place] += one - other


if __name__ == "__main__":
    main()
