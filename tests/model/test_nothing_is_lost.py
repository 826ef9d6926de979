"""Whatever is killed, cut, restored, filled or set wrong, and in whatever order: nothing is lost.

Random histories of the world in `world.py`. In the end everything is up and
left in peace; then what the journal holds is with the receiver, once, under
its time. Each rule of the protocol is switched off once, and the model finds out.
"""

import logging
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from bridge import batch, database, gaps, group, outbox, poster, pruning, rows
from bridge.arrival import Arrival, RefusedMessage
from bridge.asking import Asked, Asking
from bridge.catchup import Known, note_list, see
from bridge.outbox import Outbox
from bridge.ranges import Range, minus, place_streams
from bridge.remote_write.outcome import Outcome, Refused, RetryAfter, Sent
from bridge.sample import to_samples
from bridge.subscribe import Subscriber
from poller import journal_rows, journal_upkeep, publish
from poller.journal import Row
from poller.journal_upkeep import prune_age
from poller.publish import Publisher
from poller.recorder import Recorder
from poller.walltime import WallTime
from readings.broker import Delivery, Message, Session
from readings.payload import StreamRange
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import ProgramLeaf
from tests.model import world
from tests.model.world import DEVICES, BrokenPromiseError, Receiver, Trouble, World

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk, and a unique folder is made in it


poller_is_up = precondition(lambda self: self.world.poller.journal is not None)
bridge_is_up = precondition(lambda self: self.world.bridge.database is not None)


class History(RuleBasedStateMachine):
    """What may happen, one step at a time.

    Half of those that die are started again at once, and a while in which all
    is well starts everybody: where most are dead, nothing can be lost.
    """

    name_stream = staticmethod("run {}".format)

    def __init__(self) -> None:
        super().__init__()
        root = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.world = World(Path(tempfile.mkdtemp(dir=root, prefix="heating-")), self.name_stream)

    # What goes its way

    @poller_is_up
    @rule(device=st.integers(0, 2), times=st.integers(1, 4), has_value=st.booleans())
    def poll(self, device, times, has_value):
        for number in range(times):
            self.world.poll(DEVICES[device], has_value=has_value or number > 0)

    @bridge_is_up
    @rule(messages=st.integers(1, 12))
    def messages_arrive(self, messages):
        self.world.move(messages)

    @bridge_is_up
    @rule(seconds=st.sampled_from([0.2, 2, 6, 12, 61]))
    def the_bridge_works(self, seconds):
        self.world.now_s += seconds
        self.world.bridge.work()

    @bridge_is_up
    @rule(seconds=st.sampled_from([0.0, 1, 20, 70, 200]))
    def the_bridge_sends(self, seconds):
        self.world.bridge.send(seconds)

    @rule(device=st.integers(0, 2), seconds=st.sampled_from([1, 12, 61]), rounds=st.integers(1, 4))
    def all_is_well_for_a_while(self, device, seconds, rounds):
        self.world.start()
        for _ in range(rounds):
            self.world.poll(DEVICES[device], has_value=True)
            self.world.round(seconds)

    @rule()
    def everybody_is_there_again(self):
        self.world.start()
        self.world.connect()

    @rule()
    def they_connect(self):
        self.world.connect()

    @rule(seconds=st.sampled_from([130, 700, 2000]))
    def time_passes(self, seconds):
        self.world.may_be_late = True
        self.world.now_s += seconds

    # The poller and its machine

    @poller_is_up
    @rule(steps=st.integers(0, 6), comes_back=st.booleans())
    def the_poller_is_killed(self, steps, comes_back):
        self.world.poller.fuse.left = steps
        for device in DEVICES[:2]:
            self.world.poll(device, has_value=True)
        self.world.poller.kill()
        if comes_back:
            self.everybody_is_there_again()

    @rule(
        lost=st.integers(0, 5),
        error_s=st.sampled_from([0, -3600, 900]),
        synchronised=st.booleans(),
        comes_back=st.booleans(),
    )
    def the_poller_s_power_is_cut(self, lost, error_s, synchronised, comes_back):
        self.world.may_be_late = True
        self.world.poller.cut_power(lost)
        self.world.poller.clocks.error_ms = error_s * 1000
        self.world.poller.clocks.synchronised = synchronised
        if comes_back:
            self.everybody_is_there_again()

    @rule()
    def the_poller_s_connection_ends(self):
        self.world.poller.wire.cut()

    @rule(device=st.integers(0, 2))
    def the_journal_forgets_what_nobody_was_told_of(self, device):
        """A run without the broker, and then time enough for the first of its rows to leave."""
        self.world.may_be_late = True
        poller = self.world.poller
        poller.kill()
        poller.start()
        for seconds in (1, 3100, 31):
            self.world.now_s += seconds
            for _ in range(3):
                self.world.poll(DEVICES[device], has_value=True)
        poller.work()

    @rule(is_full=st.booleans())
    def the_poller_s_disk(self, is_full):
        self.world.poller.disk.is_full = is_full

    @poller_is_up
    @rule(device=st.integers(0, 2), seconds=st.sampled_from([-5, -2, 3, -400, 900]))
    def the_poller_s_clock_jumps(self, device, seconds):
        self.world.may_be_late = True
        self.world.poll(DEVICES[device], has_value=True)
        self.world.poller.clocks.error_ms += seconds * 1000
        self.world.poll(DEVICES[device], has_value=True)

    @rule(synchronised=st.booleans())
    def the_poller_s_clock_follows_a_time_server(self, synchronised):
        if synchronised and self.world.poller.clocks.error_ms:
            self.world.may_be_late = True
            self.world.poller.clocks.error_ms = 0
        self.world.poller.clocks.synchronised = synchronised

    @poller_is_up
    @rule()
    def the_poller_s_clock_is_wrong_for_a_moment(self):
        """By months, so that nobody trusts it; the journal is looked after all the same."""
        self.world.may_be_late = True
        clocks = self.world.poller.clocks
        right, clocks.synchronised, clocks.error_ms = (clocks.synchronised, clocks.error_ms), False, 10**10
        self.world.now_s += 31
        self.world.poller.work()
        clocks.synchronised, clocks.error_ms = right
        self.world.poller.work()

    # The bridge and its machine

    @bridge_is_up
    @rule(steps=st.integers(0, 12), is_sending=st.booleans(), comes_back=st.booleans())
    def the_bridge_is_killed(self, steps, is_sending, comes_back):
        self.world.bridge.fuse.left = steps
        if is_sending:
            self.world.bridge.send(10)
        else:
            self.world.bridge.receive(5)
            self.world.bridge.work()
        self.world.bridge.kill()
        if comes_back:
            self.everybody_is_there_again()

    @bridge_is_up
    @rule(device=st.integers(0, 2), steps=st.integers(1, 6), comes_back=st.booleans())
    def the_outcome_of_a_request_stays_unknown(self, device, steps, comes_back):
        """The bridge is killed around the moment in which the receiver answers."""
        self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.bridge.fuse.left = steps
        self.world.bridge.send(10)
        self.world.bridge.kill()
        self.world.poll(DEVICES[device], has_value=True)
        if comes_back:
            self.everybody_is_there_again()

    @rule(lost=st.integers(0, 4), is_busy=st.booleans(), comes_back=st.booleans())
    def the_bridge_s_power_is_cut(self, lost, is_busy, comes_back):
        if is_busy:
            self.world.round(1)
        self.world.may_be_late = True
        self.world.bridge.cut_power(lost)
        if comes_back:
            self.everybody_is_there_again()

    @bridge_is_up
    @rule()
    def the_bridge_s_connection_ends(self):
        self.world.bridge.leave()

    @bridge_is_up
    @rule(device=st.integers(0, 2), received=st.integers(1, 3))
    def a_connection_ends_before_its_acknowledgements(self, device, received):
        """And the next one has other messages of the same numbers under way when they come."""
        bridge, broker = self.world.bridge, self.world.broker
        self.world.round(0)
        for _ in range(received):
            self.world.poll(DEVICES[device], has_value=True)
        broker.up_from_poller(self.world.poller.wire, 100)
        bridge.receive(received)
        first, again = min(bridge.unacknowledged, default=1), len(bridge.unacknowledged)
        bridge.leave()
        for _ in range(4):
            self.world.poll(DEVICES[device], has_value=True)
        broker.up_from_poller(self.world.poller.wire, 100)
        bridge.connect(first - again)
        bridge.receive(1)
        bridge.work()

    @bridge_is_up
    @rule(device=st.integers(0, 2), is_asking=st.booleans(), is_sending=st.booleans())
    def the_bridge_misses_some(self, device, is_asking, is_sending):
        """Its disk is full for a moment; the next state tells of those that it missed."""
        self.world.miss(DEVICES[device])
        bridge = self.world.bridge
        if is_asking:
            is_full, bridge.disk.is_full = bridge.disk.is_full, True
            self.world.poller.work()
            self.world.move(200)
            bridge.work()  # it has asked, and has no room for the answer
            bridge.disk.is_full = is_full
        if is_sending:
            self.world.poll(DEVICES[device], has_value=True)
            self.world.move(20)
            bridge.work()
            bridge.send(1)

    @rule(is_full=st.booleans())
    def the_bridge_s_disk(self, is_full):
        self.world.bridge.disk.is_full = is_full

    # The broker

    @rule()
    def the_broker_writes_its_memory(self):
        self.world.broker.remember()

    @rule(device=st.integers(0, 2), is_told=st.booleans())
    def the_broker_writes_down_a_list_that_soon_is_old(self, device, is_told):
        """And may die, and tell it again when the bridge knows of more: that is no list of now."""
        self.world.bridge.leave()
        self.world.now_s += 61
        self.world.poller.work()
        self.world.broker.up_from_poller(self.world.poller.wire, 100)
        self.world.broker.remember()
        self.world.may_be_late = True
        if is_told and self.world.bridge.database is not None:
            self.world.connect()
            self.world.move(100)
            self.world.bridge.work()
            self.world.miss(DEVICES[device])
            self.world.broker.restart(0)
            self.world.bridge.connect()
            self.world.bridge.receive(100)
            self.world.bridge.work()

    @rule(age=st.one_of(st.none(), st.integers(0, 3)))
    def the_broker_is_killed(self, age):
        """With what it last wrote, with something older, or with nothing at all."""
        if age is not None:
            self.world.may_be_late = True
        self.world.broker.restart(age)

    @rule(payload=st.sampled_from([b"nonsense", b"{}", b""]), times=st.integers(1, 20))
    def somebody_publishes_what_is_no_state(self, payload, times):
        for _ in range(times):
            self.world.broker.take(Message("heating/meter/a/state", payload))

    # The receiver

    @bridge_is_up
    @rule(what=st.lists(st.sampled_from(Trouble), min_size=1, max_size=4), device=st.integers(0, 2))
    def the_receiver_is_in_trouble(self, what, device):
        self.world.receiver.troubles.extend(what)
        self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.bridge.send(20)

    @rule(is_up=st.booleans())
    def the_receiver_goes_or_comes(self, is_up):
        self.world.receiver.is_up = is_up

    @rule(most=st.sampled_from([1, 2, 5, 2000]))
    def the_receiver_takes_so_many_samples(self, most):
        self.world.receiver.most = most

    @rule()
    def the_receiver_takes_nothing_that_it_has(self):
        self.world.receiver.takes_no_repeats = True

    @poller_is_up
    @rule(device=st.integers(0, 2), place=st.integers(0, 4), is_poison=st.booleans())
    def the_receiver_will_not_take_one_of_them(self, device, place, is_poison):
        for number in range(5):
            is_it = number == place
            self.world.poll(
                DEVICES[device],
                has_value=True,
                is_refused=is_it and not is_poison,
                is_poison=is_it and is_poison,
            )

    def teardown(self):
        try:
            self.world.heal()
            self.world.check()
        finally:
            self.world.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of deaths make many lines."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def play(
    history: type[History],
    examples: int,
    *,
    steps: int = 40,
    is_repeatable: bool = True,
    phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink),
) -> None:
    with quiet():
        run_state_machine_as_test(
            history,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                derandomize=is_repeatable,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_nothing_is_lost():
    play(History, 150)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_ten_thousand_histories():
    play(History, 10_000, is_repeatable=False)


# Each rule switched off


def never_ask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Asking, "next", lambda *_, **__: [])


def learn_nothing_from_lists(patch: pytest.MonkeyPatch) -> None:
    def only_first(known: Known, listed: Range, *, is_live: bool) -> Known:
        return replace(known, first=known.first or listed[0])

    patch.setattr(group, "note_list", only_first)


def list_what_has_no_time(patch: pytest.MonkeyPatch) -> None:
    """Each stream up to its last row, though some of these may never get their time."""

    def all_rows(connection: sqlite3.Connection, key: DeviceKey) -> tuple[StreamRange, ...]:
        rows = connection.execute(
            "SELECT stream.name, min(seq), max(seq) FROM state JOIN stream ON stream.id = state.stream"
            " WHERE device = ? GROUP BY stream.id ORDER BY stream.id",
            (journal_rows.find_device(connection, key),),
        )
        return tuple(StreamRange(*row) for row in rows)

    patch.setattr(journal_rows, "ranges", all_rows)


def list_only_on_connect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publish, "LIST_EVERY_S", 1e9)


def give_a_number_twice(patch: pytest.MonkeyPatch) -> None:
    """One stream for all runs, that goes on after what the journal has: a power cut makes it repeat itself."""
    start = world.PollerHost.start

    def go_on(host: world.PollerHost) -> None:
        host.world.name_stream = "run".format
        start(host)
        for name, _, seq in host.rows():
            key = DeviceKey(Kind.METER, name)
            host.journal._last[key] = max(seq, host.journal._last.get(key, 0))

    patch.setattr(world.PollerHost, "start", go_on)


def never_want_again(patch: pytest.MonkeyPatch) -> None:
    def for_ever(known: Known, listed: Range, *, is_live: bool) -> Known:
        told = note_list(known, listed, is_live=is_live)
        return replace(told, wanted=minus(told.wanted, known.given_up))

    patch.setattr(group, "note_list", for_ever)


def never_give_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "note_list", lambda known, listed, is_live: note_list(known, listed, is_live=False))
    patch.setattr(group, "pass_over", lambda known: known)


def pass_unlisted_streams_by(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group.Group, "_pass_over", lambda *_: ([], True))


def let_two_states_have_one_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_rows, "next_free", lambda time_ms, taken: time_ms)


def mix_late_samples_with_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch._Lane, "ascends_to", lambda *_: True)


def wait_for_no_gap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gaps, "WAIT_S", 0.0)


def cut_requests_anew(patch: pytest.MonkeyPatch) -> None:
    begin = Outbox.begin

    def begin_anew(box: Outbox, *args: float) -> batch.Batch | None:
        with box._database.transaction() as sql:
            sql.execute("DELETE FROM batch WHERE settled_s IS NULL")
        return begin(box, *args)

    patch.setattr(Outbox, "begin", begin_anew)


def notice_no_reboot(patch: pytest.MonkeyPatch) -> None:
    for module in (outbox, pruning):
        patch.setattr(module, "notice_reboot", lambda *_: None)


def place_streams_backwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "place_streams", lambda places, listed: place_streams(places, list(listed)[::-1]))


def send_the_future(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch, "AHEAD_MS", 10**12)


def forget_announcements_when_the_disk_is_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Subscriber, "_keep_announcements", lambda *_: None)


def store_every_copy(patch: pytest.MonkeyPatch) -> None:
    """One row per identity: here a state that comes again is stored again."""
    patch.setattr(group._Stream, "has", lambda *_: False)
    patch.setattr(database, "_TABLES", database._TABLES.replace("UNIQUE (stream, seq)", "CHECK (seq > 0)"))


def acknowledge_on_any_connection(patch: pytest.MonkeyPatch) -> None:
    """A late acknowledgement takes another message from the broker, which the bridge may not have yet."""

    def late(session: Session, delivery: Delivery) -> None:
        if session._client is not None:
            session._client.ack(delivery.packet, delivery.qos)

    patch.setattr(Session, "acknowledge", late)


def acknowledge_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    commit = Subscriber._commit

    def early(subscriber: Subscriber, messages: Sequence[tuple[Delivery, Arrival]]) -> None:
        for delivery, _ in messages:
            subscriber._acknowledge(delivery)
        commit(subscriber, messages)

    patch.setattr(Subscriber, "_commit", early)


def leave_what_is_refused_unacknowledged(patch: pytest.MonkeyPatch) -> None:
    commit = Subscriber._commit

    def some(subscriber: Subscriber, messages: Sequence[tuple[Delivery, Arrival]]) -> None:
        commit(subscriber, [one for one in messages if not isinstance(one[1], RefusedMessage)])

    patch.setattr(Subscriber, "_commit", some)


def want_only_what_is_listed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        group, "see", lambda known, came: replace(see(known, came), wanted=minus(known.wanted, came))
    )


def want_what_lies_below_the_first_of_a_list(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        group,
        "note_list",
        lambda known, listed, is_live: replace(note_list(known, listed, is_live=is_live), first=1),
    )


def ask_only_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Asked, "may_repeat", lambda asked, _: asked.left == 0)


def publish_what_has_no_row(patch: pytest.MonkeyPatch) -> None:
    shown = Recorder._only_shown

    def numbered(recorder: Recorder, rows: Sequence[Row], clock: WallTime) -> tuple[DeviceState, ...]:
        last = recorder._journal._last
        return tuple(
            replace(state, stream=recorder._journal.stream, seq=last.get(row.key, 0) + 1)
            for state, row in zip(shown(recorder, rows, clock), rows, strict=True)
        )

    patch.setattr(Recorder, "_only_shown", numbered)


def prune_the_journal_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    start, clocks = world.PollerHost.start, []

    def remember(host: world.PollerHost) -> None:
        clocks.append(host.clocks)
        start(host)

    patch.setattr(world.PollerHost, "start", remember)
    patch.setattr(
        journal_upkeep,
        "prune_age",
        lambda connection, _: prune_age(
            connection, clocks[-1].read().wall_ms - round(world.JOURNAL_AGE_S * 1000)
        ),
    )


def announce_only_at_the_start(patch: pytest.MonkeyPatch) -> None:
    def greet(publisher: Publisher) -> None:
        publisher._say(publisher._own_topic(ProgramLeaf.AVAILABILITY), b"online")
        for key in publisher._infos:
            publisher._list(key)

    patch.setattr(Publisher, "_greet", greet)


def make_no_markers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows, "to_samples", lambda state, names, _: to_samples(state, names, None))


def never_give_up_on_a_request(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(poster, "PATIENCE_S", 1e12)


def hear(patch: pytest.MonkeyPatch, change: Callable[[Outcome], Outcome]) -> None:
    """Let the sender take an answer for another one."""
    post = Receiver.post
    patch.setattr(Receiver, "post", lambda *arguments: change(post(*arguments)))


def take_a_lost_answer_for_a_good_one(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: Sent() if isinstance(said, RetryAfter) and said.is_open else said)


def drop_what_is_refused_and_all_that_goes_with_it(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: Sent() if isinstance(said, Refused) else said)


def blame_samples_that_are_there_already(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: replace(said, is_repeat=False) if isinstance(said, Refused) else said)


def come_back_at_once(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: replace(said, seconds=None) if isinstance(said, RetryAfter) else said)


FOUND_SOON = (
    never_ask,
    learn_nothing_from_lists,
    store_every_copy,
    acknowledge_before_the_commit,
    announce_only_at_the_start,
)
FOUND_LATER = (
    pass_unlisted_streams_by,
    send_the_future,
    leave_what_is_refused_unacknowledged,
    take_a_lost_answer_for_a_good_one,
    drop_what_is_refused_and_all_that_goes_with_it,
    acknowledge_on_any_connection,
    list_only_on_connect,
    list_what_has_no_time,
    give_a_number_twice,
    want_only_what_is_listed,
    want_what_lies_below_the_first_of_a_list,
    ask_only_once,
    publish_what_has_no_row,
    prune_the_journal_by_the_clock,
    make_no_markers,
    never_give_up_on_a_request,
    blame_samples_that_are_there_already,
    come_back_at_once,
    never_want_again,
    never_give_up,
    mix_late_samples_with_others,
    wait_for_no_gap,
    cut_requests_anew,
    notice_no_reboot,
    place_streams_backwards,
    let_two_states_have_one_time,
    forget_announcements_when_the_disk_is_full,
)


STEPS = dict.fromkeys((want_only_what_is_listed, ask_only_once), 8)
"""Steps of a history for those that a longer one often makes good again."""


def expect_failure(mutant: Callable[[pytest.MonkeyPatch], None], patch: pytest.MonkeyPatch) -> None:
    mutant(patch)
    with pytest.raises((BrokenPromiseError, sqlite3.IntegrityError)):
        play(History, 10_000, steps=STEPS.get(mutant, 40), phases=(Phase.generate,))


@pytest.mark.parametrize("mutant", FOUND_SOON, ids=lambda one: one.__name__)
def test_without_one_of_its_rules_a_promise_is_broken(mutant, monkeypatch):
    expect_failure(mutant, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutant", FOUND_LATER, ids=lambda one: one.__name__)
def test_without_another_one_a_promise_is_broken_too(mutant, monkeypatch):
    expect_failure(mutant, monkeypatch)
