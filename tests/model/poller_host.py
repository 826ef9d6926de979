"""The machine that the poller runs on, and three meters."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from poller.assemble import Folded, Snapshot, new_tracker
from poller.blocks import Poll
from poller.device import Device
from poller.errors import JournalError
from poller.journal import Journal, Kept
from poller.profile import load_profile
from poller.publish import Publisher, will
from poller.recorder import Limits, Recorder
from poller.walltime import WallTime
from readings.health import POLLER_HEALTH, Tally
from readings.reading import DeviceKey, DeviceState, Kind
from tests.model.machine import BrokenPromiseError, Clocks, Disk, Fuse, Killed
from tests.model.wire import TOPICS, Wire

if TYPE_CHECKING:
    from tests.model.world import World

PROFILE = load_profile("wago-879")
FIELD = "power_total_kw"
DEVICES = tuple(
    Device(
        DeviceKey(Kind.METER, name), name, PROFILE, {FIELD: PROFILE.fields[FIELD]}, 30, bus="rs485",
        labels={"device": name},
    )
    for name in ("a", "b", "c")
)  # fmt: skip

JOURNAL_AGE_S = 3000.0


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
        self.devices = DEVICES
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
            self.wire, TOPICS, "house", self.devices, stream=stream, ranges=journal.listed, states=journal.states,
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
