"""The journal's thread: from what the devices brought to committed and published states.

The bus threads only put what they read into a queue in memory, so that
neither a slow disk nor the broker delays a poll. A full queue drops what comes
and counts it.
"""

import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from poller.assemble import Folded
from poller.device import Device
from poller.errors import JournalError, RefusedDeviceError
from poller.journal import Journal, Kept, Row
from poller.listening import MOST_MESSAGES, Incoming
from poller.publish import Publisher
from poller.switchboard import Switchboard
from poller.trackers import Arrival, Brought
from poller.walltime import SETTLE_S, ClockReading, WallTime, judge_clock
from readings.health import Tally
from readings.reading import DeviceKey, DeviceState

_log = logging.getLogger(__name__)

QUEUE_SIZE = 2000
"""What may wait for a slow disk: an hour or two of a house, some megabytes."""

GROUP_S = 0.5
"""How long a group of rows stays open after its first one."""

ROUND_S = 0.25
"""How often to look around when nothing comes."""

MANY = 10
QUIET_S = 0.02
"""After so many messages of others a group is closed as soon as nothing came for so long: many brokers wait for
acknowledgements after 20 messages."""

SAY_EVERY_S = 60.0
"""How often a device that is not taken in is worth a line in the log."""

LISTEN_EVERY_S = 1.0
UPKEEP_EVERY_S = 30.0


class Clock(Protocol):
    """The machine's clocks."""

    def read(self) -> ClockReading:
        """Both clocks now."""


class Folding(Protocol):
    """What makes states of what was brought: `poller.trackers.Trackers`."""

    def restore(self, kept: Mapping[DeviceKey, Kept], now: float) -> None:
        """Begin where an earlier run ended; again, when its states could not be read at first."""

    def admit(self, device: Device, now: float) -> Device | None:
        """Let a source's device take part; what is to be announced of it, if anything."""

    def fold(self, device: Device, brought: Brought, clock: WallTime) -> Folded:
        """What a poll or a report makes."""

    def listen(self, now: float) -> Iterator[tuple[Device, Folded]]:
        """What the silence of the sources makes."""

    def keep(self, keys: Iterable[DeviceKey], now: float) -> dict[DeviceKey, bytes]:
        """The filter states."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the journal keeps, and how long an unsynchronised clock must be steady."""

    age_s: float
    size_bytes: int
    settle_s: float = SETTLE_S


class Recorder:
    """Folds, journals and publishes; everything but `offer` and `hear` runs in its own thread.

    Args:
        switchboard: Makes reports of what others publish.
        queue_size: How much may wait.
        group_s: How long a group of rows stays open after its first one.

    Attributes:
        last_alive: When the thread was last seen at work, by the clock's monotonic time.
    """

    def __init__(
        self,
        journal: Journal,
        trackers: Folding,
        publisher: Publisher,
        *,
        clock: Clock,
        limits: Limits,
        tally: Tally,
        switchboard: Switchboard | None = None,
        queue_size: int = QUEUE_SIZE,
        group_s: float = GROUP_S,
    ) -> None:
        self._journal = journal
        self._trackers = trackers
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._tally = tally
        self._switchboard = switchboard
        self._group_s = group_s
        self._queue: queue.Queue[tuple[Device, Brought] | Incoming] = queue.Queue(
            queue_size + (MOST_MESSAGES if switchboard is not None else 0)
        )
        self._heard: list[Incoming] = []
        self._say_refused_due = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="journal", daemon=True)
        self._walltime: WallTime | None = None
        self._started = clock.read().monotonic
        self._listen_due = self._upkeep_due = self.last_alive = self._started
        self._is_dropping = False
        self._is_restored = False
        self._trouble = ""

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin in the background; opening the journal may take its time there."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Record what waits, and end."""
        self._stopping.set()
        if self.is_alive:
            self._thread.join(within_s)

    def offer(self, device: Device, brought: Brought) -> bool:
        """Hand over what a device brought; never waits.

        Returns:
            False when the queue is full: it is dropped then, and counted.
        """
        try:
            self._queue.put_nowait((device, brought))
        except queue.Full:
            self._tally.count("poller_states_dropped_total", device=device.key.name)
            if not self._is_dropping:
                _log.error("journal: the disk is too slow, readings are dropped")
            self._is_dropping = True
            return False
        if self._is_dropping and self._queue.qsize() <= self._queue.maxsize // 2:
            # Not at the first free place: around full it would be said with every poll.
            _log.warning("journal: readings are taken again")
            self._is_dropping = False
        return True

    def hear(self, incoming: Incoming) -> None:
        """Hand over a message of others; there is room for as many as their session lets through."""
        self._queue.put(incoming)

    def run(self) -> None:
        """The thread's work, until `stop`."""
        self.open()
        while not (self._stopping.is_set() and self._queue.empty()):
            self.work(0.0 if self._publisher.is_asked else ROUND_S)
        self._journal.close()

    def open(self) -> None:
        """Take the filter states of the last run from the journal; until it can be read the filters know nothing."""
        self._trackers.restore({}, self._clock.read().monotonic)
        self._restore()

    def work(self, wait_s: float) -> None:
        """One round: wait for something, record it, publish it, and do what is due."""
        batch = self._collect(wait_s)
        clock = self._judge_clock()
        self.last_alive = now = self._clock.read().monotonic
        if self._queue.empty() and now >= self._listen_due:
            self._listen_due = now + LISTEN_EVERY_S
            batch += self._trackers.listen(now)
        self._record(batch, clock, now)
        if self._switchboard is not None:
            for incoming in self._heard:
                self._switchboard.acknowledge(incoming)
            self._heard.clear()
            self._switchboard.attend(
                now, waited_s=now - self._started, is_ready=self._is_restored and clock.is_trusted
            )
        if now >= self._upkeep_due:
            self._upkeep_due = now + UPKEEP_EVERY_S
            self._keep_up(clock)
        self._publisher.attend(now)

    def _collect(self, wait_s: float) -> list[tuple[Device, Folded]]:
        """Fold what comes, until a group's time is over."""
        batch: list[tuple[Device, Folded]] = []
        ends = closes = self._clock.read().monotonic + wait_s
        is_first = True
        while True:
            wait_s = min(ends, closes) - self._clock.read().monotonic
            try:
                item = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                return batch
            if not self._is_restored:
                self._restore()
            now = self._clock.read().monotonic
            if is_first:
                is_first = False
                ends = closes = now + (0 if self._stopping.is_set() else self._group_s)
            batch += self._fold(item)
            if len(self._heard) >= MANY:
                closes = now + QUIET_S
            if len(batch) >= QUEUE_SIZE:
                return batch

    def _fold(self, item: tuple[Device, Brought] | Incoming) -> Iterator[tuple[Device, Folded]]:
        """What something that came makes of its devices."""
        clock = self._judge_clock()
        if isinstance(item, Incoming):
            self._heard.append(item)
            reports = self._switchboard.hear(item, clock) if self._switchboard is not None else []
            brought: list[tuple[Device, Brought]] = [
                (device, Arrival(part, item.at)) for device, report in reports for part in report.parts()
            ]
        elif isinstance(item[1], Arrival):
            brought = [(item[0], Arrival(part, item[1].at)) for part in item[1].report.parts()]
        else:
            brought = [item]
        for device, one in brought:
            if isinstance(one, Arrival) and not self._admit(device):
                continue
            folded = self._trackers.fold(device, one, clock)
            yield device, folded if self._is_restored else _without_counts(device, folded)

    def _admit(self, device: Device) -> bool:
        """Whether a source's device takes part; it may have been found just now."""
        now = self._clock.read().monotonic
        try:
            announced = self._trackers.admit(device, now)
        except RefusedDeviceError as error:
            self._tally.count("poller_devices_refused_total", reason=error.reason)
            if now >= self._say_refused_due:
                self._say_refused_due = now + SAY_EVERY_S
                _log.error("a device is not taken in: %s", error)
            return False
        if announced is not None:
            self._publisher.add(announced)
            if self._switchboard is not None:
                self._switchboard.note_news()
        return True

    def _restore(self) -> None:
        try:
            kept = self._journal.kept()
            memories = self._journal.memories() if self._switchboard is not None else {}
        except JournalError as error:
            self._note(str(error))
            return
        self._is_restored = True
        self._trackers.restore(kept, self._clock.read().monotonic)
        if self._switchboard is not None:
            for device in self._switchboard.restore(memories):
                self._admit(device)
        self._publisher.is_complete = True

    def _record(self, batch: Sequence[tuple[Device, Folded]], clock: WallTime, now: float) -> None:
        """Commit a group, then publish it."""
        rows = [
            Row(device.key, one.snapshot.taken, one.snapshot.values, one.snapshot.held, one.snapshot.time_ms)
            for device, one in batch
            if one.snapshot is not None
        ]
        states = iter(self._commit(rows, clock, now))
        for device, folded in batch:
            if folded.online is not None:
                self._publisher.set_online(device.key, online=folded.online)
            if folded.snapshot is not None:
                self._publisher.send(device.key, next(states))

    def _commit(self, rows: Sequence[Row], clock: WallTime, now: float) -> Sequence[DeviceState]:
        """Give the rows their identity; without one, when the disk refuses, they are only shown."""
        if self._trouble and not rows:
            return ()
        if not self._is_restored:
            # A row would hold a count without its offset, and what the filters knew would be written over.
            return self._only_shown(rows, clock)
        memories = {} if self._switchboard is None else self._switchboard.changes()
        try:
            kept = self._trackers.keep({row.key for row in rows}, now)
            states = self._journal.commit(rows, kept, clock, memories)
        except JournalError as error:
            self._tally.count("poller_journal_failures_total")
            self._note(str(error))
            return self._only_shown(rows, clock)
        self._note("")
        if self._switchboard is not None:
            self._switchboard.note_written(memories)
        for row in rows:
            self._tally.count("poller_states_journaled_total", device=row.key.name)
        return states

    def _only_shown(self, rows: Iterable[Row], clock: WallTime) -> list[DeviceState]:
        return [
            DeviceState(row.time_ms(clock), self._journal.stream, None, row.values, row.held) for row in rows
        ]

    def _judge_clock(self) -> WallTime:
        before = self._walltime
        now = judge_clock(
            before, self._clock.read(), newest_ms=self._journal.newest_ms, settle_s=self._limits.settle_s
        )
        if before is None or before.is_trusted is not now.is_trusted:
            _log.info(
                "clock: %s", "trusted" if now.is_trusted else "not trusted yet; readings wait for their time"
            )
        if before is not None and now.jumps > before.jumps:
            self._tally.count("poller_clock_jumps_total")
            _log.warning("clock: jumped by %.0f s", (now.offset_ms - before.offset_ms) / 1000)
        self._walltime = now
        return now

    def _keep_up(self, clock: WallTime) -> None:
        """Keep the journal within its limits, and the health figures true."""
        try:
            pruned = self._journal.prune(max_age_s=self._limits.age_s, max_bytes=self._limits.size_bytes)
            self._tally.set("poller_journal_rows", self._journal.rows())
        except JournalError as error:
            self._note(str(error))
        else:
            self._publisher.list_soon(pruned.shrunk)
            for reason, count in (("age", pruned.age), ("size", pruned.size), ("no_time", pruned.no_time)):
                if count:
                    self._tally.count("poller_journal_pruned_total", count, reason=reason)
        self._tally.set("poller_journal_bytes", self._journal.file_bytes())
        with suppress(OSError):  # a disk that is gone is said by the commits that it refuses
            self._tally.set("poller_disk_free_bytes", self._journal.free_bytes())
        self._tally.set("poller_clock_trusted", clock.is_trusted)
        if clock.is_trusted and not self._tally.value("poller_start_time_seconds"):
            # Once: whoever counts its changes counts starts.
            self._tally.set("poller_start_time_seconds", (clock.offset_ms / 1000) + self._started)

    def _note(self, trouble: str) -> None:
        """Log a change of the journal's state once."""
        if trouble and not self._trouble:
            _log.error("journal: cannot be used, readings are shown and not kept: %s", trouble)
        elif self._trouble and not trouble:
            _log.info("journal: readings are kept again")
        self._trouble = trouble


def _without_counts(device: Device, folded: Folded) -> Folded:
    """Hold back the energy counts while it is not known which offset the last run added to them.

    A replaced meter's count would be seen to fall, and everybody who takes its differences books it twice.
    """
    if folded.snapshot is None:
        return folded
    counts = {name for name, one in device.fields.items() if one.rules.kind == "energy"}
    values = {name: None if name in counts else value for name, value in folded.snapshot.values.items()}
    return replace(
        folded, snapshot=replace(folded.snapshot, values=values, held=folded.snapshot.held - counts)
    )
