"""The rules of the protocol, each switched off once, and a short history that shows what it is good for."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType
from typing import Any

import pytest

from bridge import batch, database, gaps, group, outbox, poster, pruning, rows, sender, subscribe
from bridge.arrival import Arrival, RefusedMessage, interpret
from bridge.asking import Asked, Asking
from bridge.catchup import Known, note_list, see
from bridge.outbox import Outbox
from bridge.poster import Poster
from bridge.ranges import Range, minus, place_streams
from bridge.remote_write.outcome import Outcome, Refused, RetryAfter, Sent
from bridge.sample import to_samples
from bridge.store import Store
from bridge.subscribe import Subscriber
from poller import journal_rows, journal_upkeep, publish
from poller.journal import Row
from poller.journal_upkeep import prune_age
from poller.presence import Presence
from poller.publish import Publisher
from poller.recorder import Recorder
from poller.walltime import WallTime
from readings.broker import Delivery, Session
from readings.payload import StreamRange
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import ProgramLeaf
from tests.model import poller_host
from tests.model.history import History
from tests.model.receiver import Receiver, Trouble


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
    start = poller_host.PollerHost.start

    def go_on(host: poller_host.PollerHost) -> None:
        host.world.name_stream = "run".format
        start(host)
        for name, _, seq in host.rows():
            key = DeviceKey(Kind.METER, name)
            host.journal._last[key] = max(seq, host.journal._last.get(key, 0))

    patch.setattr(poller_host.PollerHost, "start", go_on)


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


def wait_for_ever_for_a_gap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gaps, "WAIT_S", 1e12)


def take_an_old_list_for_one_of_now(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(subscribe, "interpret", lambda *message, retained: interpret(*message, retained=False))


def leave_rows_without_hope_of_a_time_where_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_upkeep, "set_timeless_aside", lambda *_: 0)


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


def forget_the_pieces_that_were_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbox, "and_the_rest", tuple)


def take_pieces_for_new_ones(patch: pytest.MonkeyPatch) -> None:
    """Though the request that was split had an unknown outcome."""
    halves = batch.Piece.halves
    patch.setattr(batch.Piece, "halves", lambda piece: halves(replace(piece, may_be_there=False)))


def place_streams_backwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "place_streams", lambda places, listed: place_streams(places, list(listed)[::-1]))


def send_the_future(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch, "AHEAD_MS", 10**12)


def forget_announcements_when_the_disk_is_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "_remember", lambda *_: None)


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
    start, clocks = poller_host.PollerHost.start, []

    def remember(host: poller_host.PollerHost) -> None:
        clocks.append(host.clocks)
        start(host)

    patch.setattr(poller_host.PollerHost, "start", remember)
    patch.setattr(
        journal_upkeep,
        "prune_age",
        lambda connection, _: prune_age(
            connection, clocks[-1].read().wall_ms - round(poller_host.JOURNAL_AGE_S * 1000)
        ),
    )


def prune_the_journal_by_the_latest_time_that_ever_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        journal_upkeep,
        "prune_age",
        lambda connection, _: prune_age(
            connection, journal_upkeep.newest_ms(connection) - round(poller_host.JOURNAL_AGE_S * 1000)
        ),
    )


def announce_only_at_the_start(patch: pytest.MonkeyPatch) -> None:
    def greet(publisher: Publisher) -> None:
        publisher._say(publisher._own_topic(ProgramLeaf.AVAILABILITY), b"online")
        for key in publisher._infos:
            publisher._list(key)

    patch.setattr(Publisher, "_greet", greet)


def speak_only_for_devices_of_the_configuration(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Presence, "spoken_for", lambda *_: {})


def expect_lists_of_what_is_no_more(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Asking, "gone", lambda *_, **__: [])


def make_no_markers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows, "to_samples", lambda state, names, _: to_samples(state, names, None))


def never_give_up_on_a_request(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(poster, "PATIENCE_S", 1e12)


def hear(patch: pytest.MonkeyPatch, change: Callable[[Outcome], Outcome]) -> None:
    """Let the sender take an answer for another one."""
    post = Receiver.post
    patch.setattr(Receiver, "post", lambda *arguments: change(post(*arguments)))


def take_one_that_is_there_for_all_of_them(patch: pytest.MonkeyPatch) -> None:
    post = Poster.post_until_known

    def all_there(poster: Poster, *request: Any, **how: Any) -> Outcome | None:
        outcome = post(poster, *request, **how)
        return Sent() if isinstance(outcome, Refused) and outcome.is_open else outcome

    patch.setattr(Poster, "post_until_known", all_there)


def take_a_lost_answer_for_a_good_one(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: Sent() if isinstance(said, RetryAfter) and said.is_open else said)


def drop_what_is_refused_and_all_that_goes_with_it(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: Sent() if isinstance(said, Refused) else said)


def blame_samples_that_are_there_already(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: replace(said, is_repeat=False) if isinstance(said, Refused) else said)


def blame_what_is_refused_though_nothing_else_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sender, "WITNESS_S", inf)


def come_back_at_once(patch: pytest.MonkeyPatch) -> None:
    hear(patch, lambda said: replace(said, seconds=None) if isinstance(said, RetryAfter) else said)


# What shows them


@dataclass(frozen=True)
class Shown:
    """What breaks without a rule, and a history in which it does; with the rule nothing breaks in it."""

    breaks: str
    history: Callable[[History], object]


RULES: Mapping[Callable[[pytest.MonkeyPatch], None], Shown] = MappingProxyType(
    {
        never_ask: Shown(
            "^lost: ", lambda it: it.the_bridge_misses_some(device=0, is_asking=False, is_sending=False)
        ),
        learn_nothing_from_lists: Shown(
            "missing=3", lambda it: it.the_journal_forgets_what_nobody_was_told_of(device=0)
        ),
        store_every_copy: Shown(
            "states are counted",
            lambda it: it.the_outcome_of_a_request_stays_unknown(device=0, steps=2, comes_back=True),
        ),
        acknowledge_before_the_commit: Shown(
            "acknowledged and is not in the store",
            lambda it: it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
        ),
        announce_only_at_the_start: Shown(
            "^lost: .*waiting=1", lambda it: it.all_is_well_for_a_while(device=0, seconds=1, rounds=2)
        ),
        pass_unlisted_streams_by: Shown(
            "^lost: .*waiting=1",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_poller_is_killed(steps=0, comes_back=True),
                it.poll(device=1, times=1, has_value=True),
                it.messages_arrive(messages=12),
                it.messages_arrive(messages=12),
                it.poll(device=0, times=1, has_value=True),
                it.messages_arrive(messages=2),  # not its list
                it.the_bridge_works(seconds=2),
                it.the_poller_s_connection_ends(),
                it.the_poller_s_power_is_cut(lost=1, error_s=0, synchronised=True, comes_back=True),
            ),
        ),
        send_the_future: Shown(
            "ahead of the receiver's clock", lambda it: it.the_poller_s_clock_jumps(device=0, seconds=900)
        ),
        leave_what_is_refused_unacknowledged: Shown(
            "^lost: ",
            lambda it: (
                it.somebody_publishes_what_is_no_state(payload=b"nonsense", times=20),
                it.poll(device=0, times=1, has_value=True),
            ),
        ),
        take_a_lost_answer_for_a_good_one: Shown(
            "^lost: ", lambda it: it.the_receiver_is_in_trouble(what=[Trouble.FAILS], device=0)
        ),
        drop_what_is_refused_and_all_that_goes_with_it: Shown(
            "^lost: ",
            lambda it: it.the_receiver_will_not_take_one_of_them(device=0, place=0, is_poison=False),
        ),
        blame_what_is_refused_though_nothing_else_is_taken: Shown(
            "^lost: .*quarantined=2",
            lambda it: it.the_receiver_refuses_everything_for_a_while(device=0, seconds=20),
        ),
        acknowledge_on_any_connection: Shown(
            "acknowledged and is not in the store",
            lambda it: it.a_connection_ends_before_its_acknowledgements(device=0, received=1),
        ),
        list_only_on_connect: Shown(
            "^lost: ",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_bridge_s_disk(is_full=True),
                it.poll(device=0, times=1, has_value=True),
                it.messages_arrive(messages=12),
                it.the_bridge_works(seconds=2),
            ),
        ),
        list_what_has_no_time: Shown(
            "is given up and never had a time",
            lambda it: (
                it.the_poller_s_clock_follows_a_time_server(synchronised=False),
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_poller_s_power_is_cut(lost=0, error_s=0, synchronised=True, comes_back=True),
            ),
        ),
        give_a_number_twice: Shown(
            "^a run 3 was",
            lambda it: (
                it.poll(device=0, times=3, has_value=True),
                it.the_poller_s_power_is_cut(lost=1, error_s=0, synchronised=True, comes_back=True),
                it.poll(device=0, times=1, has_value=True),
            ),
        ),
        want_only_what_is_listed: Shown(
            "comes late for no reason",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_bridge_misses_some(device=0, is_asking=False, is_sending=True),
            ),
        ),
        want_what_lies_below_the_first_of_a_list: Shown(
            "is given up and was never told of",
            lambda it: it.the_journal_forgets_what_nobody_was_told_of(device=0),
        ),
        ask_only_once: Shown(
            "^lost: .*missing=2",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=12, rounds=1),
                it.the_bridge_misses_some(device=0, is_asking=True, is_sending=False),
            ),
        ),
        publish_what_has_no_row: Shown(
            "its row says no row",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_poller_s_disk(is_full=True),
                it.poll(device=0, times=1, has_value=True),
            ),
        ),
        prune_the_journal_by_the_clock: Shown(
            "left the journal early",
            lambda it: (
                it.poll(device=0, times=1, has_value=True),
                it.the_poller_s_clock_is_wrong_for_a_moment(),
            ),
        ),
        prune_the_journal_by_the_latest_time_that_ever_was: Shown(
            "left the journal early",
            lambda it: (
                it.the_poller_s_clock_jumps(device=0, seconds=900),
                it.the_poller_s_clock_jumps(device=0, seconds=900),
                it.the_poller_s_clock_jumps(device=0, seconds=900),
                it.the_poller_s_clock_jumps(device=0, seconds=900),
                it.the_poller_s_clock_follows_a_time_server(synchronised=True),
                it.all_is_well_for_a_while(device=1, seconds=61, rounds=2),
            ),
        ),
        speak_only_for_devices_of_the_configuration: Shown(
            "^lost: ",
            lambda it: (
                it.all_is_well_for_a_while(device=1, seconds=1, rounds=1),
                it.the_bridge_misses_some(device=1, is_asking=False, is_sending=False),
                it.a_device_leaves_the_configuration_or_comes_again(device=1, comes_back=True),
            ),
        ),
        expect_lists_of_what_is_no_more: Shown(
            "missing=2",
            lambda it: (
                it.a_device_leaves_and_its_rows_too(device=1),
                it.poll(device=0, times=1, has_value=True),
                it.the_broker_writes_down_a_list_that_soon_is_old(device=0, is_told=False),
            ),
        ),
        make_no_markers: Shown(
            "ends a series and has no marker",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.poll(device=0, times=1, has_value=False),
            ),
        ),
        take_one_that_is_there_for_all_of_them: Shown(
            "^lost: ",
            lambda it: it.somebody_else_wrote_at_the_time_of_one_of_them(
                device=0, place=0, trouble=Trouble.FAILS
            ),
        ),
        never_give_up_on_a_request: Shown(
            "^lost: ", lambda it: it.the_receiver_will_not_take_one_of_them(device=0, place=0, is_poison=True)
        ),
        blame_samples_that_are_there_already: Shown(
            "innocent in quarantine",
            lambda it: (
                it.the_receiver_takes_nothing_that_it_has(),
                it.the_receiver_is_in_trouble(what=[Trouble.ANSWER_IS_LOST], device=0),
                it.poll(device=1, times=1, has_value=True),
            ),
        ),
        come_back_at_once: Shown(
            "before the time that the receiver had asked for",
            lambda it: it.the_receiver_is_in_trouble(what=[Trouble.TURNS_AWAY], device=0),
        ),
        never_want_again: Shown(
            "^lost: ",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_broker_writes_down_a_list_that_soon_is_old(device=0, is_told=True),
            ),
        ),
        never_give_up: Shown(
            "missing=2",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_bridge_misses_some(device=0, is_asking=False, is_sending=False),
                it.the_poller_s_power_is_cut(lost=3, error_s=0, synchronised=True, comes_back=True),
            ),
        ),
        mix_late_samples_with_others: Shown(
            "late samples share a request with others",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_poller_s_clock_jumps(device=0, seconds=-5),
                it.poll(device=1, times=1, has_value=True),
            ),
        ),
        wait_for_no_gap: Shown(
            "comes late for no reason",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_bridge_misses_some(device=0, is_asking=False, is_sending=True),
            ),
        ),
        wait_for_ever_for_a_gap: Shown(
            "waits for what is missing before it",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_broker_passes_no_requests_for_minutes(device=0),
            ),
        ),
        take_an_old_list_for_one_of_now: Shown(
            "comes late for no reason", lambda it: it.the_broker_tells_an_old_list_again(device=0)
        ),
        leave_rows_without_hope_of_a_time_where_they_are: Shown(
            "has no time and is among the rows",
            lambda it: (
                it.the_poller_s_clock_follows_a_time_server(synchronised=False),
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_poller_s_power_is_cut(lost=0, error_s=0, synchronised=True, comes_back=True),
            ),
        ),
        cut_requests_anew: Shown(
            "outcome was unknown was followed by another",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_outcome_of_a_request_stays_unknown(device=0, steps=3, comes_back=True),
            ),
        ),
        notice_no_reboot: Shown(
            "^lost: ",
            lambda it: (
                it.all_is_well_for_a_while(device=0, seconds=1, rounds=1),
                it.the_bridge_s_power_is_cut(lost=0, is_busy=False, comes_back=True),
            ),
        ),
        forget_the_pieces_that_were_sent: Shown(
            "^lost: ", lambda it: it.the_bridge_s_power_is_cut_amid_a_batch(device=0, steps=9, lost=0)
        ),
        take_pieces_for_new_ones: Shown(
            "innocent in quarantine",
            lambda it: (
                it.the_receiver_takes_nothing_that_it_has(),
                it.the_receiver_fails_at_a_request_for_minutes(
                    device=0, first=Trouble.ANSWER_IS_LOST, times=10
                ),
                it.poll(device=1, times=1, has_value=True),
            ),
        ),
        place_streams_backwards: Shown(
            "comes late for no reason",
            lambda it: (
                it.the_bridge_s_connection_ends(),
                it.poll(device=0, times=2, has_value=True),
                it.the_poller_is_killed(steps=0, comes_back=True),
                it.poll(device=0, times=2, has_value=True),
            ),
        ),
        let_two_states_have_one_time: Shown(
            "has another value already",
            lambda it: (
                it.poll(device=0, times=1, has_value=True),
                it.the_poller_s_clock_jumps(device=0, seconds=-2),
                it.poll(device=0, times=4, has_value=True),
            ),
        ),
        forget_announcements_when_the_disk_is_full: Shown(
            "^lost: .*waiting=1",
            lambda it: (
                it.the_bridge_s_disk(is_full=True),
                it.poll(device=0, times=1, has_value=True),
                it.messages_arrive(messages=12),
                it.the_bridge_works(seconds=2),
            ),
        ),
    }
)
