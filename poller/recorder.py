"""The journal's thread: from what the devices brought to committed and published states.

The bus threads only put what they read into a queue in memory, so that
neither a slow disk nor the broker delays a poll. A full queue drops what comes
and counts it.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from poller.assemble import Folded
from poller.device import Device
from poller.errors import JournalError
from poller.intake import QUEUE_SIZE, Intake
from poller.journal import Journal, Row
from poller.listening import Incoming
from poller.publish import Publisher
from poller.states import join_same_time
from poller.switchboard import Switchboard
from poller.trackers import Brought
from poller.walltime import SETTLE_S, ClockReading, WallTime, judge_clock
from poller.workshop import Folding, Workshop
from readings.health import Tally
from readings.reading import DeviceState

_log = logging.getLogger(__name__)

GROUP_S = 0.5
"""How long a group of rows stays open after its first one."""

ROUND_S = 0.25
"""How often to look around when nothing comes."""

MANY = 10
QUIET_S = 0.02
"""After so many messages of others a group is closed as soon as nothing came for so long: many brokers wait for
acknowledgements after 20 messages."""

LISTEN_EVERY_S = 1.0
UPKEEP_EVERY_S = 30.0


class Clock(Protocol):
    """The machine's clocks."""

    def read(self) -> ClockReading:
        """Both clocks now."""


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
        intake: What waits to be recorded; it need not be given.
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
        intake: Intake | None = None,
        group_s: float = GROUP_S,
    ) -> None:
        self._journal = journal
        self._trackers = trackers
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._tally = tally
        self._switchboard = switchboard
        self._workshop = Workshop(trackers, publisher, switchboard, tally)
        self._group_s = group_s
        self._intake = intake or Intake(tally)
        self._heard: list[Incoming] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="journal", daemon=True)
        self._walltime: WallTime | None = None
        self._started = clock.read().monotonic
        self._listen_due = self._upkeep_due = self.last_alive = self._started
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
        return self._intake.offer(device, brought)

    def hear(self, incoming: Incoming) -> None:
        """Hand over a message of others; never waits."""
        self._intake.hear(incoming)

    def run(self) -> None:
        """The thread's work, until `stop`."""
        self.open()
        while not (self._stopping.is_set() and self._intake.is_empty):
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
        if self._intake.is_empty and now >= self._listen_due:
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
            item = self._intake.take(wait_s)
            if item is None:
                return batch
            if not self._is_restored:
                self._restore()
            now = self._clock.read().monotonic
            if is_first:
                is_first = False
                ends = closes = now + (0 if self._stopping.is_set() else self._group_s)
            if isinstance(item, Incoming):
                self._heard.append(item)
            batch += self._workshop.fold(item, self._judge_clock(), now, knows_counts=self._is_restored)
            if len(self._heard) >= MANY:
                closes = now + QUIET_S
            if len(batch) >= QUEUE_SIZE:
                return batch

    def _restore(self) -> None:
        try:
            kept = self._journal.kept()
            memories = self._journal.memories() if self._switchboard is not None else {}
            self._publisher.keep(self._journal.infos())
        except JournalError as error:
            self._note(str(error))
            return
        self._is_restored = True
        self._trackers.restore(kept, self._clock.read().monotonic)
        if self._switchboard is not None:
            for device in self._switchboard.restore(memories):
                self._workshop.admit(device, self._clock.read().monotonic)
        self._publisher.is_complete = True

    def _record(self, batch: Sequence[tuple[Device, Folded]], clock: WallTime, now: float) -> None:
        """Commit a group, then publish it."""
        batch = join_same_time(batch)
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
            self._tally.count("poller_journal_failures_total")
            return self._only_shown(rows, clock)
        memories = {} if self._switchboard is None else self._switchboard.changes()
        try:
            kept = self._trackers.keep({row.key for row in rows}, now)
            infos = {row.key: self._publisher.info(row.key) for row in rows}
            states = self._journal.commit(rows, kept, clock, memories, infos)
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
            self._publisher.keep(self._journal.infos())
        except JournalError as error:
            self._note(str(error))
        else:
            self._publisher.list_soon(pruned.shrunk)
            for reason, count in (("age", pruned.age), ("size", pruned.size), ("no_time", pruned.no_time)):
                if count:
                    self._tally.count("poller_journal_pruned_total", count, reason=reason)
        with suppress(OSError):  # a disk that is gone is said by the commits that it refuses
            self._tally.set("poller_journal_bytes", self._journal.file_bytes())
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
