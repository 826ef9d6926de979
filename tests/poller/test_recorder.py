"""From what the devices brought to committed and published states."""

import itertools
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from poller.assemble import Folded, Snapshot, new_tracker
from poller.blocks import Poll
from poller.device import Device
from poller.errors import JournalError
from poller.intake import QUEUE_SIZE, Intake, Item
from poller.journal import Journal, Kept, Pruned
from poller.leftovers import WAIT_S
from poller.profile import load_profile
from poller.publish import Publisher
from poller.recorder import ROUND_S, Limits, Recorder
from poller.trackers import Trackers
from poller.walltime import ClockReading, WallTime
from readings.broker import Delivery, Message
from readings.health import POLLER_HEALTH, Tally
from readings.payload import OFFLINE, Replay, StreamRange, decode_info, decode_state, encode_replay
from readings.reading import DeviceKey, DeviceState, Kind
from readings.release import RELEASED_MS
from readings.topics import Topics
from tests.conftest import wait_until

PROFILE = load_profile("wago-879")
WP = DeviceKey(Kind.METER, "wp")
METER = Device(WP, "Meter", PROFILE, {"power_total_kw": PROFILE.fields["power_total_kw"]}, 30, bus="rs485")
COUNT = "energy_total_kwh"
SENSOR = Device(DeviceKey(Kind.SENSOR, "hall"), "Hall", load_profile("shelly-blu-ht"), {}, 450)


def poll(power: float, at: float = 0.0) -> Poll:
    """A poll that stands for one value; the fake trackers below read it from `due`."""
    return Poll(due=power, ended=at, outcomes=())


@dataclass
class FakeClock:
    monotonic: float = 1000.0
    wall_ms: int = RELEASED_MS + 1_000_000
    synchronised: bool = True

    def read(self) -> ClockReading:
        return ClockReading(self.wall_ms, self.monotonic, self.synchronised)

    def go_on(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall_ms += round(seconds * 1000)


@dataclass
class FakeTrackers:
    """Every poll makes a state with its power; nothing is filtered."""

    restored: Mapping[DeviceKey, Kept] | None = None
    silent: list[tuple[Device, Folded]] = field(default_factory=list)
    folds: Iterator[int] = field(default_factory=itertools.count)
    last: int = -1

    def restore(self, kept: Mapping[DeviceKey, Kept], now: float) -> None:
        self.restored = kept

    def fold(self, device: Device, brought: Poll, clock: WallTime) -> Folded:
        self.last = next(self.folds)
        snapshot = Snapshot(brought.ended, None, {"power_total_kw": brought.due}, frozenset())
        return Folded(new_tracker(device, 0), snapshot, online=True)

    def listen(self, now: float) -> Iterator[tuple[Device, Folded]]:
        yield from self.silent
        self.silent.clear()

    def keep(self, keys: Iterable[DeviceKey], now: float) -> dict[DeviceKey, bytes]:
        return {key: str(self.last).encode() for key in keys}


@dataclass
class FakeBroker:
    connection: int = 1
    is_connected: bool = True
    said: list[Message] = field(default_factory=list)

    def publish(self, message: Message) -> bool:
        self.said.append(message)
        return True

    def states(self) -> list[DeviceState]:
        found = [decode_state(one.payload) for one in self.said if one.topic.endswith("/state")]
        self.said.clear()
        return found


class TrialJournal(Journal):
    """A real one; `before` is called with the name of what is to be done, and may wait or refuse."""

    pruned: Pruned | None = None

    def before(self, what: str) -> None:
        pass

    def kept(self) -> Mapping[DeviceKey, Kept]:
        self.before("kept")
        return super().kept()

    def commit(self, *arguments) -> tuple[DeviceState, ...]:
        self.before("commit")
        return super().commit(*arguments)

    def prune(self, **limits) -> Pruned:
        return super().prune(**limits) if self.pruned is None else self.pruned


def refuse(what: str) -> None:
    raise JournalError("disk full")


class Stage:
    """A recorder on a real journal, with the other parts fake."""

    def __init__(
        self,
        folder: Path,
        stream: str = "s1",
        queue_size: int = 100,
        devices: Sequence[Device] = (METER, SENSOR),
    ) -> None:
        self.clock = FakeClock()
        self.trackers = FakeTrackers()
        self.broker = FakeBroker()
        self.tally = Tally(POLLER_HEALTH)
        self.journal = TrialJournal(folder / "journal.sqlite", stream=stream, boot="b1")
        self.publisher = Publisher(
            self.broker,
            Topics("heating"),
            "house",
            devices,
            stream=stream,
            ranges=self.journal.listed,
            states=self.journal.states,
            tally=self.tally,
        )
        self.recorder = Recorder(
            self.journal,
            self.trackers,
            self.publisher,
            clock=self.clock,
            limits=Limits(age_s=7 * 86400, size_bytes=10**9),
            tally=self.tally,
            intake=Intake(self.tally, queue_size),
            group_s=0,
        )

    def brings(self, *powers: float) -> list[DeviceState]:
        """The meter brings these; what is published of it."""
        for power in powers:
            self.recorder.offer(METER, poll(power, self.clock.monotonic))
        self.recorder.work(0)
        return self.broker.states()

    def count(self, name: str, **labels: str) -> float:
        return self.tally.value(f"poller_{name}", **labels)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    stage.recorder.open()
    stage.recorder.work(0)
    stage.broker.said.clear()
    yield stage
    stage.journal.close()


def test_rows_of_a_device_that_left_the_configuration_are_listed_and_sent(stage, tmp_path):
    """By a run that does not know it, to a bridge that was away, on a broker that has forgotten everything."""
    stage.brings(1.5, 1.6)
    stage.journal.close()
    later = Stage(tmp_path, "s2", devices=[SENSOR])
    later.recorder.open()
    later.recorder.work(0)
    later.clock.go_on(WAIT_S)
    later.recorder.work(0)
    said = {one.topic: one.payload for one in later.broker.said if "/wp/" in one.topic}
    assert decode_info(said["heating/meter/wp/info"]).stream == "s1"
    assert said["heating/meter/wp/availability"] == OFFLINE
    assert said["heating/meter/wp/journal"] == b'[["s1",1,2]]'
    later.publisher.hear(
        Delivery("heating/meter/wp/replay", encode_replay(Replay("s1", 1, 2)), False, 1, 0, 0)
    )
    later.recorder.work(0)
    sent = [decode_state(one.payload) for one in later.broker.said if one.topic.endswith("/wp/history")]
    assert [one.values["power_total_kw"] for one in sent] == [1.5, 1.6]
    later.journal.close()


def test_what_a_device_brought_is_committed_and_published(stage):
    (state,) = stage.brings(1.5)
    assert (state.stream, state.seq, state.values) == ("s1", 1, {"power_total_kw": 1.5})
    assert state.time_ms == stage.clock.wall_ms
    assert stage.journal.states(WP, "s1", 1, 9) == (state,)


class TimedIntake(Intake):
    """A reading comes every tenth of a second; where the real one would wait, the clock goes on."""

    def __init__(self, clock: FakeClock, tally: Tally) -> None:
        super().__init__(tally)
        self._clock = clock
        self._next = clock.monotonic

    def take(self, within_s: float) -> Item | None:
        rest_s = self._next - self._clock.monotonic
        self._clock.go_on(max(0.0, min(within_s, rest_s)))
        if rest_s <= within_s:
            self.offer(METER, poll(1.0, self._next))
            self._next += 0.1
        return super().take(0)


def test_a_reading_is_in_the_journal_a_second_after_it_came(tmp_path):
    """At the latest; the disk is spared a commit for each all the same."""
    clock, tally = FakeClock(), Tally(POLLER_HEALTH)
    journal = TrialJournal(tmp_path / "journal.sqlite", stream="s1", boot="b1")
    publisher = Publisher(
        FakeBroker(),
        Topics("heating"),
        "house",
        [METER],
        stream="s1",
        ranges=journal.listed,
        states=journal.states,
        tally=tally,
    )
    recorder = Recorder(
        journal,
        FakeTrackers(),
        publisher,
        clock=clock,
        limits=Limits(age_s=7 * 86400, size_bytes=10**9),
        tally=tally,
        intake=TimedIntake(clock, tally),
    )
    recorder.open()
    oldest, commits = clock.monotonic, 0
    while clock.monotonic < 1030:
        before = journal.rows()
        recorder.work(ROUND_S)
        written = journal.rows() - before
        assert not written or clock.monotonic - oldest <= 1
        oldest += 0.1 * written
        commits += bool(written)
    assert journal.rows() >= 290
    assert commits <= 100
    journal.close()


def test_one_group_is_one_transaction_in_order(stage):
    states = stage.brings(1, 2, 3)
    assert [(one.seq, one.values["power_total_kw"]) for one in states] == [(1, 1), (2, 2), (3, 3)]
    assert stage.count("states_journaled_total", device="wp") == 3
    assert stage.count("states_published_total", device="wp") == 3
    assert stage.journal.kept()[WP].data == b"2", "the filters' state after the last of them"


def test_the_filters_go_on_where_the_last_run_ended(tmp_path, stage):
    stage.brings(1, 2)
    stage.journal.close()
    later = Stage(tmp_path, "s2")
    later.recorder.open()
    assert later.trackers.restored == {WP: Kept(b"1", same_boot=True)}
    later.journal.close()


def test_filter_states_that_cannot_be_read_yet_are_not_written_over(tmp_path, stage):
    """A full disk cannot be opened after an orderly end; the offset of a replaced meter must outlive that."""
    stage.brings(1)
    stage.journal.close()
    later = Stage(tmp_path, "s2")
    later.journal.before = refuse
    later.recorder.open()
    assert [one.seq for one in later.brings(2)] == [None], "shown, and not kept"
    del later.journal.before
    assert [one.seq for one in later.brings(3)] == [1]
    assert later.trackers.restored == {WP: Kept(b"0", same_boot=True)}
    later.journal.close()


def test_energy_counts_are_held_back_until_their_offsets_are_read(tmp_path):
    """The count of a replaced meter would be seen to fall by all that its predecessor had counted."""
    stage = Stage(tmp_path)
    meter = replace(METER, fields={name: PROFILE.fields[name] for name in ("power_total_kw", COUNT)})

    def fold(device: Device, brought: Poll, clock: WallTime) -> Folded:
        values = {"power_total_kw": brought.due, COUNT: 5.0}
        return Folded(new_tracker(device, 0), Snapshot(0, None, values, frozenset({COUNT})), online=True)

    def brings(*powers: float) -> list[tuple[int | None, dict[str, float | None], frozenset[str]]]:
        for power in powers:
            stage.recorder.offer(meter, poll(power))
        stage.recorder.work(0)
        return [(one.seq, dict(one.values), one.held) for one in stage.broker.states()]

    stage.trackers.fold = fold
    refusals = iter(["kept"] * 3)

    def disk(what: str) -> None:
        if next(refusals, "") == what:
            raise JournalError("disk full")

    stage.journal.before = disk
    stage.recorder.open()
    nothing = frozenset()
    assert brings(1) == [(None, {"power_total_kw": 1, COUNT: None}, nothing)]
    assert brings(2, 3) == [
        (1, {"power_total_kw": 2, COUNT: None}, nothing),
        (2, {"power_total_kw": 3, COUNT: 5.0}, frozenset({COUNT})),
    ], "the state that was folded before them has none either, though it is kept"
    stage.journal.close()


def test_a_journal_of_a_later_release_stops_no_poll_and_is_told_once(tmp_path, caplog):
    before = Stage(tmp_path)
    before.recorder.open()
    before.brings(1)
    before.journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    stage = Stage(tmp_path, "s2")
    stage.recorder.open()
    states = [*stage.brings(2), *stage.brings(3)]
    assert [(one.seq, one.values["power_total_kw"]) for one in states] == [(None, 2), (None, 3)]
    assert stage.count("journal_failures_total") == 2, "the alert of a journal that fails goes by it"
    assert caplog.text.count("it has 99: start the release that made it, or name another folder") == 1
    assert not list(tmp_path.glob("*.damaged-*"))


def test_filter_states_that_come_late_do_not_make_a_device_unknown():
    trackers = Trackers([METER], Tally(POLLER_HEALTH))
    trackers.restore({}, 0)
    lost = trackers.fold(METER, Poll(60, 60, ()), WallTime(0, 0, is_trusted=True))
    assert lost.online is False
    trackers.restore({WP: Kept(trackers.keep([WP], 60)[WP], same_boot=True)}, 61)
    assert trackers.fold(METER, Poll(300, 300, ()), WallTime(0, 0, is_trusted=True)).snapshot is None, (
        "lost once"
    )


def test_while_the_clock_is_not_trusted_states_are_shown_without_time_and_come_later_with_it(stage):
    stage.clock.synchronised = False
    stage.recorder._walltime = None
    taken_at = stage.clock.wall_ms
    (live,) = stage.brings(1.5)
    assert (live.time_ms, live.seq) == (None, None)
    assert stage.journal.listed(WP) == ()
    stage.clock.go_on(600)
    stage.recorder.work(0)
    assert stage.journal.listed(WP) == (StreamRange("s1", 1, 1),)
    (row,) = stage.journal.states(WP, "s1", 1, 1)
    assert (row.time_ms, row.values) == (taken_at, {"power_total_kw": 1.5})


def test_a_clock_that_is_behind_the_journal_is_not_trusted(tmp_path, stage):
    """A computer without a battery starts with the time at which it was switched off, or an earlier one."""
    stage.brings(1)
    stage.journal.close()
    later = Stage(tmp_path, "s2")
    later.clock.synchronised = False
    later.clock.wall_ms -= 600_000
    later.recorder.open()
    later.brings(2)
    later.clock.go_on(300)
    assert [one.time_ms for one in later.brings(3)] == [None]
    later.clock.go_on(301)
    assert [one.time_ms is None for one in later.brings(4)] == [False]
    later.journal.close()


def test_a_jump_of_the_clock_is_counted(stage):
    stage.clock.wall_ms += 3_600_000
    stage.recorder.work(0)
    assert stage.count("clock_jumps_total") == 1


def test_a_folder_that_cannot_be_looked_into_stops_neither_polls_nor_live_states(tmp_path):
    """One that root made for itself, or of a disk that is dying: already a question for a size is an error then."""
    stage = Stage(tmp_path / ("x" * 300))
    (shown,) = stage.brings(1)
    assert (shown.seq, shown.values) == (None, {"power_total_kw": 1})
    stage.clock.go_on(31)
    stage.recorder.work(0)
    assert stage.count("journal_failures_total") == 1


def test_a_full_disk_stops_neither_polls_nor_live_states(stage, caplog):
    caplog.set_level("INFO")
    stage.brings(1)
    stage.journal.before = refuse
    first, second = stage.brings(2), stage.brings(3)
    stage.recorder.work(0)
    del stage.journal.before
    assert [(one.seq, one.time_ms is None) for one in first + second] == [(None, False), (None, False)]
    assert stage.count("journal_failures_total") == 2
    assert stage.count("states_journaled_total", device="wp") == 1
    (after,) = stage.brings(4)
    assert after.seq == 2
    assert [record.message.split(":")[1] for record in caplog.records if "journal" in record.message] == [
        " cannot be used, readings are shown and not kept",
        " readings are kept again",
    ]


def test_a_journal_that_cannot_be_opened_is_tried_again(tmp_path):
    (tmp_path / "data").write_text("in the way")
    stage = Stage(tmp_path / "data")
    stage.recorder.open()
    assert stage.trackers.restored == {}
    assert [one.seq for one in stage.brings(1)] == [None]
    (tmp_path / "data").unlink()
    assert [one.seq for one in stage.brings(2)] == [1]
    stage.journal.close()


def test_a_full_queue_drops_and_counts(tmp_path, caplog):
    stage = Stage(tmp_path, queue_size=2)
    stage.recorder.open()
    assert [stage.recorder.offer(METER, poll(power)) for power in range(4)] == [True, True, False, False]
    assert stage.count("states_dropped_total", device="wp") == 2
    stage.brings()
    assert stage.count("states_journaled_total", device="wp") == 2
    assert stage.recorder.offer(METER, poll(5))
    assert [record.message for record in caplog.records if "readings are" in record.message] == [
        "journal: the disk is too slow, readings are dropped",
        "journal: readings are taken again",
    ]
    stage.journal.close()


def test_a_queue_that_hovers_around_full_is_said_once(tmp_path, caplog):
    stage = Stage(tmp_path, queue_size=4)
    taken = [stage.recorder.offer(METER, poll(power)) for power in range(5)]
    for power in range(3):
        stage.recorder._intake.take(0)
        taken += [stage.recorder.offer(METER, poll(power)), stage.recorder.offer(METER, poll(power))]
    assert taken == [True] * 4 + [False] + [True, False] * 3
    assert [record.message for record in caplog.records] == [
        "journal: the disk is too slow, readings are dropped"
    ]


def test_the_silence_of_a_source_makes_its_state(stage):
    nothing = Snapshot(stage.clock.monotonic, None, {"temperature_celsius": None}, frozenset())
    stage.trackers.silent.append((SENSOR, Folded(new_tracker(SENSOR, 0), nothing, online=False)))
    stage.clock.go_on(1)
    (lost,) = stage.brings()
    assert lost.is_lost
    assert lost.seq == 1


def test_silence_is_judged_after_everything_that_waits(tmp_path):
    """After a slow disk the queue holds what the sources said meanwhile, more than one group takes."""
    asked = []
    stage = Stage(tmp_path, queue_size=QUEUE_SIZE + 1)
    stage.recorder.open()
    stage.trackers.listen = lambda now: asked.append(stage.trackers.last) or iter(())
    for power in range(QUEUE_SIZE + 1):
        assert stage.recorder.offer(METER, poll(power))
    stage.clock.go_on(1)
    stage.recorder.work(0)
    assert asked == []
    stage.recorder.work(0)
    assert asked == [QUEUE_SIZE]
    stage.journal.close()


def test_availability_is_said_before_the_state_that_shows_it(stage):
    stage.recorder.offer(METER, poll(1))
    stage.recorder.work(0)
    assert [one.topic.removeprefix("heating/meter/wp/") for one in stage.broker.said] == [
        "availability",
        "state",
        "journal",
    ]


def test_what_the_list_names_was_published_before_it(stage):
    stage.clock.go_on(60)
    stage.recorder.offer(METER, poll(1))
    stage.recorder.work(0)
    topics = [one.topic.removeprefix("heating/meter/wp/") for one in stage.broker.said]
    assert topics.index("state") < topics.index("journal")
    journal = next(one for one in stage.broker.said if one.topic.endswith("wp/journal"))
    assert json.loads(journal.payload) == [["s1", 1, 1]]


def test_what_left_the_journal_is_counted_and_the_list_said_at_once(stage):
    stage.brings(1)
    stage.journal.pruned = Pruned(age=3, size=2, no_time=1, shrunk=frozenset({WP}))
    stage.clock.go_on(31)
    stage.recorder.work(0)
    assert [stage.count("journal_pruned_total", reason=one) for one in ("age", "size", "no_time")] == [
        3,
        2,
        1,
    ]
    assert [one.topic for one in stage.broker.said if one.topic.endswith("journal")] == [
        "heating/meter/wp/journal"
    ]


def test_the_journal_is_kept_within_its_limits(stage):
    stage.brings(1)
    stage.clock.go_on(8 * 86400)
    stage.brings(2)
    assert stage.journal.listed(WP) == (StreamRange("s1", 2, 2),)


def test_the_figures_of_its_health(stage):
    stage.brings(1, 2)
    stage.clock.go_on(31)
    stage.recorder.work(0)
    assert stage.count("journal_rows") == 2
    assert stage.count("journal_bytes") > 4096
    assert stage.count("clock_trusted") == 1
    assert stage.count("start_time_seconds") == pytest.approx(RELEASED_MS / 1000 + 1000)


def test_the_time_of_the_start_does_not_wander_with_the_clock(stage):
    """Whoever counts its changes counts starts."""
    before = stage.count("start_time_seconds")
    stage.clock.wall_ms += 20
    stage.clock.go_on(31)
    stage.recorder.work(0)
    assert stage.count("start_time_seconds") == before > 0


def test_it_ends_when_all_that_waited_is_recorded(tmp_path):
    stage = Stage(tmp_path)
    for power in range(50):
        stage.recorder.offer(METER, poll(power))
    stage.recorder.start()
    stage.recorder.stop(within_s=5)
    assert not stage.recorder.is_alive
    assert stage.count("states_journaled_total", device="wp") == 50


def test_a_slow_disk_delays_nobody_who_offers(tmp_path):
    stage = Stage(tmp_path)
    go_on = threading.Event()
    entered = threading.Event()

    def wait(what: str) -> None:
        if what == "commit":
            entered.set()
            assert go_on.wait(10)

    stage.journal.before = wait
    stage.recorder.start()
    assert entered.wait(10)
    assert all(stage.recorder.offer(METER, poll(power)) for power in range(20))
    go_on.set()
    wait_until(lambda: stage.count("states_journaled_total", device="wp") == 20)
    stage.recorder.stop(within_s=5)
