"""A small world for the real poller and the real bridge: only wires, disks and clocks are made up.

The poller's recorder, publisher and journal, the bridge's subscriber, store,
asker, outbox and sender, and the session of both are the ones that run in a
house, on real SQLite files. What is modelled is what lies between them and
around them, with everything that it may do to them: it kills at any instant,
loses what a disk had not written, restores a broker from an old file, moves
the clocks, and answers a request as receivers do.
"""

import shutil
from collections.abc import Callable
from math import isnan
from pathlib import Path

from bridge.quarantine import Quarantined
from poller.blocks import Poll
from poller.device import Device
from readings.release import RELEASED_MS
from tests.model.bridge_host import BridgeHost
from tests.model.broker import Broker
from tests.model.machine import BrokenPromiseError
from tests.model.poller_host import DEVICES, JOURNAL_AGE_S, PollerHost
from tests.model.receiver import Receiver

BEGIN_MS = RELEASED_MS + 86_400_000


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
        self,
        device: Device,
        *,
        has_value: bool,
        is_refused: bool = False,
        is_poison: bool = False,
        is_clashing: bool = False,
    ) -> None:
        """A device is polled; the receiver may refuse the reading, fail at it for ever, or have another one there."""
        if device not in self.poller.devices:
            return
        self.value += 1
        if is_refused:
            self.receiver.refused.add(float(self.value))
        if is_poison:
            self.receiver.poison.add(float(self.value))
        if is_clashing:
            self.receiver.clashing.add(float(self.value))
        self.now_s += 1
        if self.poller.journal is not None:
            taken = self.now_s - self.poller.clocks.booted_s
            self.poller.recorder.offer(device, Poll(float(self.value) if has_value else -1.0, taken, ()))
            before = len(self.poller.ever)
            self.poller.work()
            may_fail = self.poller.journal is None or self.poller.disk.is_full
            if len(self.poller.ever) == before and not may_fail:
                raise BrokenPromiseError(f"{device.key.name} was polled and there is no row")

    def check_reached(self, device: Device, value: float) -> None:
        """That a reading is with the receiver by now."""
        if value not in self.stored().values():
            raise BrokenPromiseError(f"{device.key.name} {value} waits for what is missing before it")

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
        self.mend()
        for seconds, rounds in ((1, 5), (10, 80), (300, 30)):
            for _ in range(rounds):
                if self.receiver.poison or self.receiver.refused:
                    # Only what passes beside it tells a guilty sample from a receiver that is ill.
                    self.poll(DEVICES[0], has_value=True)
                self.round(seconds)
                if seconds > 1 and self.is_quiet() and self.is_heard() and not self.find_lost():
                    return

    def mend(self) -> None:
        """Everything is up again."""
        self.poller.fuse.left = self.bridge.fuse.left = None
        self.poller.disk.is_full = self.bridge.disk.is_full = False
        self.poller.clocks.synchronised, self.poller.clocks.error_ms = True, 0
        self.broker.is_up = self.broker.passes_requests = self.receiver.is_up = True
        self.receiver.troubles.clear()
        self.receiver.most = 2000
        self.start()

    def is_quiet(self) -> bool:
        backlog = self.bridge.store.backlog().values()
        return not any(one.waiting or one.missing for one in backlog)

    def is_heard(self) -> bool:
        """Whether the bridge has every row that may be listed, also those without a value, which only end a series."""
        had = self.bridge.had()
        return all(one in had for one, (time_ms, _) in self.poller.rows().items() if time_ms is not None)

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
            and value not in self.receiver.clashing
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
        self._check_timeless()

    def _check_quarantine(self) -> None:
        """Nobody innocent is there, but where a batch was split while answers got lost, or was sent once more."""
        if self.receiver.has_refused_all and self.receiver.takes_no_repeats:
            return  # which of its refusals said something of an earlier try, nobody can tell
        guilty = self.receiver.refused | self.receiver.poison
        guilty |= self.receiver.clashing
        entries = self.quarantined()
        innocent = [one for one in entries if one.sample.value not in guilty]
        if innocent:
            raise BrokenPromiseError(f"innocent in quarantine: {innocent[:3]}")

    def _check_markers(self) -> None:
        """A series ends where its field turned from a number to null, unless the number was waited for in vain."""
        if self.poller.was_cut:
            return  # the bridge may have rows between these that the journal lost
        stored = self.stored()
        before: dict[str, float | None] = {}
        for identity, (time_ms, value) in self.poller.rows().items():
            device, stream, seq = identity
            if value is None and before.get(device) is not None and time_ms is not None:
                marker = stored.get((device, time_ms))
                if marker is None or not isnan(marker):
                    raise BrokenPromiseError(f"{device} {stream} {seq} ends a series and has no marker")
            # What came after it may have been judged without it.
            before[device] = None if identity in self.bridge.waited_out else value

    def _check_journal(self) -> None:
        """Nothing left it but by its age, which counts back from the newest of the rows after it."""
        if self.poller.was_cut:
            return
        there = self.poller.rows()
        newest = 0
        for identity, (time_ms, _) in reversed(self.poller.ever.items()):
            if identity not in there and time_ms is not None and time_ms > newest - JOURNAL_AGE_S * 1000:
                raise BrokenPromiseError(f"{identity} left the journal early")
            newest = max(newest, time_ms or 0)

    def _check_timeless(self) -> None:
        """What can get no time any more is out of the way of the rows that have one."""
        self.now_s += 31
        self.poll(DEVICES[0], has_value=True)
        for identity, (time_ms, _) in self.poller.rows().items():
            if time_ms is None:
                raise BrokenPromiseError(f"{identity} has no time and is among the rows")

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
        if self.was_cut or self.receiver.has_failed_at_samples or self.receiver.clashing:
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
