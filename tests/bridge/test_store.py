"""What the store keeps, what it forgets, and what it survives."""

import itertools
import math
import os
import shutil
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.arrival import MAX_SEQ, InfoGone, JournalCame, StateCame
from bridge.batch import Piece
from bridge.database import Database
from bridge.errors import StoreError
from bridge.gaps import WAIT_S
from bridge.outbox import Outbox
from bridge.pruning import SENT_ROWS_STAY_S, Limits, Pruning
from bridge.room import SPARE_BYTES
from bridge.store import Store
from readings.database_file import used_bytes
from readings.payload import StreamRange
from readings.reading import DeviceKey
from tests.bridge.states import METER, NOON_MS, PUMP, info, journal, ready, refused, state

DAY_MS = 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite"


@pytest.fixture
def database(path):
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def store(database):
    return Store(database)


@pytest.fixture
def outbox(database):
    return Outbox(database, boot="boot 1")


def rows(database: Database) -> list[tuple[str, int]]:
    with database.transaction() as sql:
        return sql.execute(
            "SELECT stream.name, seq FROM state JOIN stream ON stream.id = state.stream ORDER BY arrival"
        ).fetchall()


def send_all(outbox: Outbox, now_s: float = 0.0) -> list[tuple[str, float, int]]:
    """Settle everything that can be sent; the samples in the order in which they went."""
    sent = []
    while (batch := outbox.begin(NOON_MS + DAY_MS, now_s)) is not None:
        sent += [(one.series.name, one.value, one.timestamp_ms) for one in batch.samples]
        while (batch := outbox.settle_first(batch, now_s)).pieces:
            pass
    return sent


def sent_seconds(outbox: Outbox, now_s: float = 0.0) -> list[int]:
    return [(time - NOON_MS) // 1000 for _, _, time in send_all(outbox, now_s)]


def prune_all(pruning: Pruning, *, now_ms: int = NOON_MS, now_s: float) -> dict[tuple[DeviceKey, str], int]:
    """As many runs as there is something to remove; what they dropped."""
    dropped = Counter[tuple[DeviceKey, str]]()
    is_done = False
    while not is_done:
        pruned = pruning.run(now_ms=now_ms, now_s=now_s)
        dropped.update(pruned.dropped)
        is_done = pruned.is_done
    return dict(dropped)


def test_a_state_is_stored_once(store, database):
    first = store.commit([state(1), state(2), state(1)], NOON_MS)
    again = store.commit([state(2), state(3)], NOON_MS)
    assert rows(database) == [("a", 1), ("a", 2), ("a", 3)]
    assert (first.stored, first.repeated) == ({METER: 2}, {METER: 1})
    assert (again.stored, again.repeated) == ({METER: 1}, {METER: 1})


def test_one_number_in_two_streams_or_of_two_devices_is_two_states(store):
    group = [state(1), state(1, "b"), state(1, device=PUMP)]
    assert store.commit(group, NOON_MS).stored == {METER: 2, PUMP: 1}


@pytest.mark.parametrize("nobodys", [state(None), state(1, time_ms=None), state(None, time_ms=None)])
def test_a_state_without_number_or_time_is_not_stored_and_not_had(store, database, nobodys):
    store.commit([nobodys], NOON_MS)
    assert rows(database) == []
    assert store.commit([state(1)], NOON_MS).stored == {METER: 1}


def test_a_refused_state_counts_as_had_and_not_as_waiting(store, database):
    store.commit([refused(1), state(2), journal(("a", 1, 2))], NOON_MS)
    assert rows(database) == [("a", 2)]
    backlog = store.backlog()[METER]
    assert (backlog.waiting, backlog.missing) == (1, 0)


def test_what_was_sent_and_removed_is_not_stored_again(store, database, outbox):
    store.commit(ready(3), NOON_MS)
    send_all(outbox)
    Pruning(database, Limits(6 * DAY_MS, 10**9), boot="boot 1").run(
        now_ms=NOON_MS, now_s=SENT_ROWS_STAY_S + 1
    )
    assert rows(database) == []
    assert store.commit([state(2)], NOON_MS).repeated == {METER: 1}


def test_a_state_waits_for_its_announcement_and_for_the_list(store, outbox):
    store.commit([state(1)], NOON_MS)
    assert send_all(outbox) == []
    store.commit([info()], NOON_MS)
    assert send_all(outbox) == []
    store.commit([journal(("a", 1, 1))], NOON_MS)
    assert send_all(outbox) == [("meter_power_kw", 1.5, NOON_MS + 1000)]


def test_streams_are_sent_in_the_order_of_the_list_whatever_came_first(store, outbox):
    store.commit([state(1, "b", time_ms=NOON_MS + 9000), info("b")], NOON_MS)
    store.commit([state(1), state(2), info(), journal(("a", 1, 2), ("b", 1, 1))], NOON_MS)
    assert sent_seconds(outbox) == [1, 2, 9]


def test_a_stream_whose_announcement_was_missed_takes_the_next_ones(store, outbox):
    """A later run's announcement replaces it at the broker; without a name its states would wait for ever."""
    store.commit([state(1), journal(("a", 1, 1))], NOON_MS)
    store.commit([info("b"), journal(("a", 1, 1), ("b", 1, 1))], NOON_MS)
    assert sent_seconds(outbox) == [1]


def test_the_names_of_a_stream_are_those_that_it_was_announced_with(store, outbox):
    renamed = info("b")
    renamed = type(renamed)(
        METER, "b", 1, None, renamed.payload.replace(b'"meter"', b'"other"')
    )  # the next run names its series otherwise
    store.commit([info(), state(1), journal(("a", 1, 1)), renamed], NOON_MS)
    store.commit([state(5, "b"), journal(("a", 1, 1), ("b", 5, 5))], NOON_MS)
    assert [name for name, _, _ in send_all(outbox)] == ["meter_power_kw", "other_power_kw"]


def test_a_later_contract_is_kept_unread_and_not_sent(store, database, outbox):
    store.commit([info(contract=2), state(1), refused(2), journal(("a", 1, 2))], NOON_MS)
    assert rows(database) == [("a", 1), ("a", 2)]
    assert send_all(outbox) == []
    backlog = store.backlog()[METER]
    assert (backlog.waiting, backlog.unreadable, backlog.missing) == (0, 2, 0)


def test_the_backlog_says_what_waits_and_what_is_missing(store):
    store.commit([*ready(3), state(6), journal(("a", 2, 8))], NOON_MS)
    backlog = store.backlog()[METER]
    assert (backlog.waiting, backlog.missing) == (4, 4)
    assert backlog.oldest_waiting_ms == NOON_MS + 1000


def test_lists_that_claim_more_than_there_can_be_leave_the_figures_readable(store):
    store.commit([*ready(3), state(1, device=PUMP), journal(("a", 1, 4), device=PUMP)], NOON_MS)
    for group in range(3):
        store.commit([journal(*((f"{group}-{number}", 1, MAX_SEQ) for number in range(500)))], NOON_MS)
    backlog = store.backlog()
    assert backlog[METER].missing + backlog[METER].given_up == pytest.approx(1500 * MAX_SEQ)
    assert (backlog[METER].waiting, backlog[PUMP].waiting, backlog[PUMP].missing) == (3, 1, 3)


def test_what_a_live_list_no_longer_names_is_given_up_and_wanted_again_when_it_comes_back(store):
    store.commit([*ready(2), state(5), journal(("a", 1, 6))], NOON_MS)
    assert store.wanted() == {METER: (("a", ((3, 4), (6, 6))),)}
    store.commit([journal(("a", 4, 6))], NOON_MS)
    assert (store.backlog()[METER].missing, store.backlog()[METER].given_up) == (2, 1)
    store.commit([journal(("b", 1, 1))], NOON_MS)
    assert store.wanted() == {METER: (("b", ((1, 1),)),)}
    assert store.backlog()[METER].given_up == 3
    store.commit([journal(("a", 4, 6), ("b", 1, 1))], NOON_MS)
    assert store.backlog()[METER].given_up == 1
    assert store.wanted() == {METER: (("a", ((4, 4), (6, 6))), ("b", ((1, 1),)))}


def test_after_a_reboot_what_was_sent_just_before_is_sent_again_whoever_looks_at_the_store_first(
    store, database, outbox
):
    store.commit(ready(2), NOON_MS)
    assert sent_seconds(outbox, 5000.0) == [1, 2]
    Pruning(database, Limits(6 * DAY_MS, 10**9), boot="boot 2").run(now_ms=NOON_MS, now_s=30.0)
    assert sent_seconds(Outbox(database, boot="boot 2"), 30.0) == [1, 2]


def test_after_a_reboot_the_pieces_that_were_sent_of_a_batch_are_sent_again_after_the_others(
    store, database, outbox
):
    store.commit(ready(9), NOON_MS)
    batch = outbox.begin(NOON_MS + DAY_MS, 5000.0)
    pieces = [Piece(0, 2), Piece(2, 3), Piece(3, 4, may_be_there=True), Piece(4, 7)]
    outbox.settle_first(outbox.settle_first(outbox.arrange(batch, pieces), 5000.0), 5000.0)
    again = Outbox(database, boot="boot 2")
    assert again.begin(NOON_MS + DAY_MS, 30.0).pieces == (*pieces[2:], Piece(0, 3), Piece(7, 9))
    assert sent_seconds(again) == list(range(1, 10))
    assert sent_seconds(again) == []


def test_a_start_on_a_full_disk_is_taken_for_no_reboot(store, database, outbox):
    store.commit(ready(2), NOON_MS)
    with database.transaction() as sql:
        sql.execute("CREATE TRIGGER full BEFORE INSERT ON batch BEGIN SELECT raise(ABORT, 'disk full'); END")
    with pytest.raises(StoreError, match="disk full"):
        outbox.begin(NOON_MS + DAY_MS, 0.0)
    with database.transaction() as sql:
        sql.execute("DROP TRIGGER full")
    assert sent_seconds(outbox, 1.0) == [1, 2]
    Pruning(database, Limits(6 * DAY_MS, 10**9), boot="boot 1").run(now_ms=NOON_MS, now_s=30.0)
    assert sent_seconds(outbox, 30.0) == []


def test_the_backlog_counts_what_is_parked_and_what_is_refused(store, outbox):
    store.commit([*ready(1), state(2, time_ms=NOON_MS + 3 * DAY_MS), journal(("a", 1, 2))], NOON_MS)
    outbox.begin(NOON_MS, 0.0)
    batch = outbox.begin(NOON_MS + DAY_MS, 0.0)
    outbox.settle_first(batch, 0.0, guilt="it does not please")
    backlog = store.backlog()[METER]
    assert (backlog.waiting, backlog.parked, backlog.quarantined) == (1, 1, 1)


def test_a_list_that_lay_at_the_broker_takes_nothing_away(store):
    store.commit([*ready(2), state(5)], NOON_MS)
    store.commit([JournalCame(METER, (StreamRange("a", 4, 5),), is_live=False)], NOON_MS)
    assert store.wanted() == {METER: (("a", ((3, 4),)),)}


def test_what_lies_below_the_first_of_a_stream_that_is_met_is_neither_wanted_nor_lost(store):
    came = [state(seq) for seq in (4, 6, 7, 10)]
    store.commit([info(), *came, journal(("a", 7, 10))], NOON_MS)
    assert store.wanted() == {METER: (("a", ((8, 9),)),)}
    backlog = store.backlog()[METER]
    assert (backlog.waiting, backlog.missing, backlog.given_up) == (4, 2, 0)


def test_sending_waits_for_what_is_missing_for_ten_minutes_and_sends_what_comes_after_all_apart(
    store, outbox
):
    store.commit([*ready(2), state(5), state(9), journal(("a", 1, 9))], NOON_MS)
    assert sent_seconds(outbox, 0.0) == [1, 2]
    store.commit([state(3)], NOON_MS)
    assert sent_seconds(outbox, WAIT_S - 1) == [3]
    assert sent_seconds(outbox, WAIT_S) == [5, 9], "every gap's time runs from when it was seen"
    store.commit([state(4), state(10)], NOON_MS)
    batches = []
    while (batch := outbox.begin(NOON_MS + DAY_MS, WAIT_S)) is not None:
        batches.append([(row.time_ms - NOON_MS) // 1000 for row in batch.rows])
        outbox.settle_first(batch, WAIT_S)
    assert batches == [[10], [4]]


def test_what_came_of_a_run_whose_rows_a_power_cut_took_before_any_list_finds_its_place(store, outbox):
    store.commit([*ready(1), info("b"), state(3, "b")], NOON_MS)
    store.commit(
        [journal(("a", 1, 1), ("c", 1, 1)), info("c"), state(1, "c", time_ms=NOON_MS + 4000)], NOON_MS
    )
    assert sent_seconds(outbox) == [1, 3, 4]
    assert store.backlog()[METER].missing == 0


def test_what_came_of_a_run_that_no_list_names_any_more_takes_the_names_of_the_run_of_now(store, outbox):
    """A list that lay at the broker had given the run of now its place; the old run's rows had become too old."""
    store.commit([state(1, "old")], NOON_MS)
    store.commit([info("new"), JournalCame(METER, (StreamRange("new", 1, 1),), is_live=False)], NOON_MS)
    store.commit([state(2, "new"), journal(("new", 1, 2))], NOON_MS)
    assert sent_seconds(outbox) == [1]
    assert store.wanted() == {METER: (("new", ((1, 1),)),)}


def test_a_run_that_a_power_cut_took_comes_before_one_that_has_only_begun(store, outbox):
    store.commit([*ready(1), state(2, "b"), info("c"), journal(("a", 1, 1))], NOON_MS)
    store.commit([state(3, "c"), state(1, "c"), state(2, "c"), journal(("a", 1, 1), ("c", 1, 3))], NOON_MS)
    with store._database.transaction() as sql:
        order = [name for (name,) in sql.execute("SELECT name FROM stream ORDER BY place")]
    assert order == ["a", "b", "c"]
    assert len(sent_seconds(outbox)) == 5


def test_a_group_goes_in_as_a_whole_or_not_at_all(store, database):
    with database.transaction() as sql:
        sql.execute("CREATE TRIGGER full BEFORE INSERT ON state WHEN new.seq = 3"
                    " BEGIN SELECT raise(ABORT, 'disk full'); END")  # fmt: skip
    with pytest.raises(StoreError, match="disk full"):
        store.commit([state(1), state(2), state(3)], NOON_MS)
    assert rows(database) == []
    assert store.commit([state(1)], NOON_MS).stored == {METER: 1}, "what was not stored is not had"


def test_a_full_disk_refuses_and_recovers(store, database):
    store.commit(ready(1), NOON_MS)
    with database.transaction() as sql:
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = [state(seq) for seq in range(2, 500)]
    with pytest.raises(StoreError, match="full"):
        store.commit(large, NOON_MS)
    database._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.commit(large, NOON_MS).stored == {METER: 498}


def test_announcements_of_a_group_that_the_disk_refused_go_in_with_the_next_one(database, outbox):
    free = [0]
    store = Store(database, on_disk=lambda _: free[0])
    for group in ([info("old"), info(device=PUMP)], [info(), journal(("a", 1, 3))], [InfoGone(PUMP)]):
        with pytest.raises(StoreError, match="full"):
            store.commit([*group, state(1)], NOON_MS)
    free[0] = SPARE_BYTES
    store.commit([state(2), state(1, device=PUMP), journal(("a", 1, 1), device=PUMP)], NOON_MS)
    assert store.wanted() == {METER: (("a", ((1, 1), (3, 3))),)}
    store.commit([state(1)], NOON_MS)
    assert sent_seconds(outbox) == [1, 2], "the pump was taken back"


class TestPruning:
    def prune(self, database, *, age_days=6.0, size=10**9, now_ms=NOON_MS, now_s=0.0):
        pruning = Pruning(database, Limits(round(age_days * DAY_MS), size), boot="boot 1")
        return prune_all(pruning, now_ms=now_ms, now_s=now_s)

    def test_sent_rows_stay_ten_minutes(self, store, database, outbox):
        store.commit(ready(3), NOON_MS)
        send_all(outbox, now_s=1000.0)
        assert self.prune(database, now_s=1000.0 + SENT_ROWS_STAY_S - 1) == {}
        assert len(rows(database)) == 3
        self.prune(database, now_s=1000.0 + SENT_ROWS_STAY_S + 1)
        assert rows(database) == []

    def test_states_that_cannot_be_sent_leave_after_days_oldest_first(self, store, database):
        old = [state(seq, time_ms=NOON_MS + seq * DAY_MS) for seq in range(1, 10)]
        store.commit(old, NOON_MS)
        assert self.prune(database, age_days=6, now_ms=NOON_MS + 9 * DAY_MS) == {(METER, "age"): 2}
        assert rows(database) == [("a", seq) for seq in range(3, 10)]
        assert store.backlog()[METER].waiting == 7

    def test_a_clock_that_is_wrong_does_not_empty_the_store(self, store, database):
        store.commit(ready(3), NOON_MS)
        assert self.prune(database, now_ms=NOON_MS + 1000 * DAY_MS) == {}

    def test_a_state_from_the_future_does_not_either(self, store, database):
        store.commit([*ready(3), state(4, time_ms=NOON_MS + 1000 * DAY_MS)], NOON_MS)
        assert self.prune(database, now_ms=NOON_MS) == {}

    def test_a_full_store_gives_up_the_oldest_of_all_devices(self, store, database):
        pump = [state(seq, device=PUMP, time_ms=NOON_MS + DAY_MS + seq) for seq in range(1, 1001)]
        store.commit([*ready(1000), *pump], NOON_MS)
        with database.transaction() as sql:
            used = used_bytes(sql)
        dropped = self.prune(database, size=round(used * 0.8))
        assert dropped.keys() == {(METER, "full")}
        assert 0 < dropped[METER, "full"] < 1000
        left = [seq for _, seq in rows(database)][: 1000 - dropped[METER, "full"]]
        assert left == list(range(1001 - len(left), 1001))

    def test_a_full_store_gives_up_what_was_sent_before_what_was_not(self, store, database, outbox):
        store.commit(ready(1000), NOON_MS)
        send_all(outbox)
        store.commit([state(seq) for seq in range(1001, 1101)], NOON_MS)
        assert self.prune(database, size=60_000) == {}
        assert rows(database) == [("a", seq) for seq in range(1001, 1101)]

    def test_what_is_under_way_is_not_dropped(self, store, database, outbox):
        store.commit(ready(3), NOON_MS)
        outbox.begin(NOON_MS, 0.0)
        assert self.prune(database, age_days=1e-9, size=1, now_ms=NOON_MS + DAY_MS) == {}
        assert len(rows(database)) == 3

    def test_a_removed_state_is_still_judged_against(self, store, database, outbox):
        """Its number turned to null only after it had left the store: that is a stale marker all the same."""
        store.commit(ready(3), NOON_MS)
        send_all(outbox)
        self.prune(database, now_s=SENT_ROWS_STAY_S + 1)
        store.commit([state(4, power=None)], NOON_MS)
        ((name, value, time),) = send_all(outbox)
        assert (name, time) == ("meter_power_kw", NOON_MS + 4000)
        assert math.isnan(value)

    @pytest.mark.parametrize("is_removed", [False, True])
    @pytest.mark.parametrize("is_parked", [False, True])
    def test_what_waits_for_long_is_judged_against_the_same_row(
        self, store, database, outbox, is_parked, is_removed
    ):
        """Others go before it meanwhile, and would be what the store remembers."""
        store.commit(ready(3), NOON_MS)
        send_all(outbox)
        if is_removed:
            self.prune(database, now_s=SENT_ROWS_STAY_S + 1)
        store.commit([state(4, power=None, time_ms=NOON_MS + (DAY_MS // 2 if is_parked else 4000))], NOON_MS)
        waiting = outbox.begin(NOON_MS, 700.0)
        if not is_parked:
            outbox.set_aside(waiting)
        store.commit([state(5)], NOON_MS)
        others = outbox.begin(NOON_MS + 60_000, 700.0)
        assert [one.timestamp_ms for one in others.samples] == [NOON_MS + 5000]
        outbox.settle_first(others, 700.0)
        self.prune(database, now_s=700.0 + SENT_ROWS_STAY_S + 1)
        later = Outbox(database, boot="boot 1")
        assert later.recall() is not is_parked
        later.unpark(NOON_MS + DAY_MS // 2, 2000.0)
        again = later.begin(NOON_MS + DAY_MS // 2, 2000.0)
        assert [math.isnan(one.value) for one in again.samples] == [True]
        later.settle_first(again, 2000.0)
        self.prune(database, now_s=2000.0 + SENT_ROWS_STAY_S + 1)
        assert rows(database) == []

    @pytest.mark.parametrize("is_removed", [False, True])
    def test_what_is_missing_for_long_ends_a_series_all_the_same(self, store, database, outbox, is_removed):
        """Later rows were sent and have left the store meanwhile."""
        store.commit(ready(3), NOON_MS)
        send_all(outbox)
        if is_removed:
            self.prune(database, now_s=SENT_ROWS_STAY_S + 1)
        store.commit([state(5), state(6)], NOON_MS)
        assert len(send_all(outbox, now_s=1000.0)) == 0, "it is waited for"
        assert len(send_all(outbox, now_s=1000.0 + WAIT_S)) == 2
        self.prune(database, now_s=1000.0 + WAIT_S + SENT_ROWS_STAY_S + 1)
        store.commit([state(4, power=None)], NOON_MS)
        ((name, value, time),) = send_all(outbox, now_s=3000.0)
        assert (name, time) == ("meter_power_kw", NOON_MS + 4000)
        assert math.isnan(value)
        self.prune(database, now_s=3000.0 + SENT_ROWS_STAY_S + 1)
        assert rows(database) == []

    def test_a_full_store_gives_up_what_others_are_judged_against_rather_than_what_was_not_sent(
        self, store, database, outbox
    ):
        store.commit(ready(3), NOON_MS)
        send_all(outbox)
        store.commit([state(4)], NOON_MS)
        outbox.set_aside(outbox.begin(NOON_MS + 4000, 0.0))
        assert self.prune(database, size=1) == {}
        assert rows(database) == [("a", 4)]

    def test_of_a_full_quarantine_the_oldest_are_dropped_and_counted(
        self, store, database, outbox, monkeypatch
    ):
        monkeypatch.setattr("bridge.pruning.MOST_QUARANTINED", 5)

        def refuse(*seqs: int) -> list[int]:
            store.commit([state(seq, energy=2.0) for seq in seqs], NOON_MS)
            outbox.settle_first(outbox.begin(NOON_MS + DAY_MS, 0.0), 0.0, guilt="it does not please")
            return [one.id for one in outbox.quarantine.entries()]

        store.commit([info(), journal(("a", 1, 8))], NOON_MS)
        outbox.quarantine.drop(refuse(1, 2, 3, 4)[2:6])
        assert self.prune(database) == {}
        assert [one.seq for one in outbox.quarantine.entries()] == [1, 1, 4, 4], (
            "only as many as are there count"
        )
        refuse(5, 6)
        assert self.prune(database) == {(METER, "quarantine"): 2}
        assert [one.seq for one in outbox.quarantine.entries()] == [4, 5, 5, 6, 6]

    def test_streams_that_nobody_lists_any_more_are_forgotten(self, store, database, monkeypatch):
        monkeypatch.setattr("bridge.pruning.MOST_STREAMS", 3)
        for number in range(6):
            store.commit([info(f"s{number}"), refused(1, f"s{number}")], NOON_MS)
        store.commit([state(1, "s0")], NOON_MS)
        self.prune(database)
        with database.transaction() as sql:
            assert sql.execute("SELECT count(*) FROM stream").fetchone() == (3,)
            assert sql.execute("SELECT count(*) FROM info").fetchone() == (3,)
            assert sql.execute("SELECT count(*) FROM had").fetchone() == (3,)


NONSENSE = {
    "info": "UPDATE info SET payload = CAST(replace(payload, 'contract', 'cnntract') AS BLOB)",
    "contract": """UPDATE info SET payload = CAST(replace(payload, '"contract":1', '"contract":3') AS BLOB)""",
    "no info": "UPDATE state SET info = 999",
    "state": "UPDATE state SET payload = CAST(replace(payload, ':', ';') AS BLOB) WHERE seq = 2",
    "time": "UPDATE state SET payload = CAST(replace(payload, '2026-11', '2026-91') AS BLOB) WHERE seq = 2",
    "state before": "UPDATE device SET before_payload = x'7a7d'",
    "runs": "UPDATE batch SET runs = '[[1,2,3'",
    "short runs": "UPDATE batch SET runs = '[[1,2]]'",
    "runs of no stream": "UPDATE batch SET runs = '[[9,2,3]]'",
    "pieces": "UPDATE batch SET pieces = '[[0,2}'",
    "short pieces": "UPDATE batch SET pieces = '[[0]]'",
    "kind": "UPDATE device SET kind = 'metes'",
    "name": "UPDATE device SET name = 'W P'",
    "quarantine": "INSERT INTO quarantine (device, stream, seq, name, labels, value, time_ms, reason, resend)"
    " VALUES ('meter/wp', 'a', 1, 'meter_power_kw', '{ndevice', 1.5, 0, '400', 1)",
}
"""Statements that do what a card does that forgets a bit."""


def look_at_everything(database: Database) -> None:
    """What the bridge's threads read."""
    outbox, store = Outbox(database, boot="boot 1"), Store(database)
    outbox.begin(NOON_MS + DAY_MS, 1000.0)
    outbox.announced()
    outbox.quarantine.due(10)
    store.backlog()
    store.wanted()
    store.unlisted()
    Pruning(database, Limits(6 * DAY_MS, 10**9), boot="boot 1").run(now_ms=NOON_MS, now_s=1000.0)


def break_file(database: Database) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    with pytest.raises(StoreError), database.transaction():
        raise error


class TestFile:
    def test_everything_is_there_after_opening_it_again(self, path):
        first = Database(path)
        Store(first).commit(ready(3), NOON_MS)
        first.close()
        second = Database(path)
        assert Store(second).commit([state(3)], NOON_MS).repeated == {METER: 1}
        assert sent_seconds(Outbox(second, boot="boot 1")) == [1, 2, 3]
        second.close()

    @pytest.mark.parametrize("damage", ["garbage", "a page", "cut"])
    def test_a_damaged_file_is_set_aside_and_a_new_one_begins(self, path, damage, caplog):
        database = Database(path)
        Store(database).commit(ready(200), NOON_MS)
        database.close()
        content = path.read_bytes()
        path.write_bytes(
            {
                "garbage": b"garbage" * 1000,
                "a page": content[:8192] + b"\xff" * 4096 + content[12288:],
                "cut": content[:-5000],
            }[damage]
        )
        broken = path.read_bytes()
        database = Database(path)
        assert Store(database).backlog() == {}
        assert path.with_name("store.sqlite.damaged-1").read_bytes() == broken
        assert "store.sqlite.damaged-1" in caplog.text
        database.close()

    def test_a_file_that_breaks_while_it_is_open_is_set_aside(self, path, database, store, outbox):
        store.commit(ready(3), NOON_MS)
        batch = outbox.begin(NOON_MS + DAY_MS, 0.0)
        break_file(database)
        assert path.with_name("store.sqlite.damaged-1").exists()
        assert store.commit([state(1), state(2)], NOON_MS).stored == {METER: 2}
        outbox.settle_first(batch, 0.0)
        assert sent_seconds(outbox) == [1, 2], "what is settled of the old file says nothing of the new one"
        assert store.wanted() == {METER: (("a", ((3, 3),)),)}, "what was lost with it is asked for"

    def test_a_file_that_cannot_be_set_aside_now_is_opened_again(self, tmp_path):
        """A disk that is read-only for a moment: whoever met the damage, nobody finds the file closed for good."""
        path = tmp_path / f"{'x' * 240}.sqlite"  # with what setting aside adds to it the name is too long
        database = Database(path)
        store, outbox = Store(database), Outbox(database, boot="boot 1")
        store.commit(ready(2), NOON_MS)
        batch = outbox.begin(NOON_MS + DAY_MS, 0.0)
        break_file(database)
        assert store.backlog()[METER].waiting == 2
        assert store.commit([state(3)], NOON_MS).stored == {METER: 1}
        outbox.settle_first(batch, 0.0)
        assert sent_seconds(outbox) == [1, 2, 3], "it may have been another file"
        database.close()

    def test_where_no_new_file_can_be_made_the_next_transaction_tries_again(self, path, database, store):
        store.commit(ready(2), NOON_MS)
        obstacle = path.with_name(f"{path.name}-journal")
        obstacle.mkdir()
        break_file(database)
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be opened"):
                store.backlog()
        obstacle.rmdir()
        assert store.commit([state(1)], NOON_MS).stored == {METER: 1}
        assert store.wanted() == {METER: (("a", ((2, 2),)),)}

    def test_a_new_file_knows_what_was_announced_last(self, database, store, outbox):
        """Names and lists come on a connect, and the connection goes on while the file breaks."""
        store.commit([info(device=PUMP), journal(("a", 1, 1), device=PUMP)], NOON_MS)
        store.commit([*ready(1), info("b"), journal(("a", 1, 1), ("b", 1, 2))], NOON_MS)
        break_file(database)
        store.commit([], NOON_MS)
        break_file(database)
        store.commit([state(2, "b"), state(1, "a"), state(1, device=PUMP)], NOON_MS)
        assert send_all(outbox) == [
            ("heatpump_power_kw", 1.5, NOON_MS + 1000),
            ("meter_power_kw", 1.5, NOON_MS + 1000),
        ]
        store.commit([state(1, "b")], NOON_MS)
        assert sorted(sent_seconds(outbox)) == [1, 2], "the list had them both, so one waited for the other"

    def test_a_new_file_does_not_know_a_device_that_was_taken_back(self, database, store, outbox):
        store.commit([*ready(1), InfoGone(METER)], NOON_MS)
        break_file(database)
        store.commit([state(1)], NOON_MS)
        assert send_all(outbox) == []

    @pytest.mark.parametrize("version", [0, -1])
    def test_a_file_of_a_version_that_cannot_be_is_damage(self, path, database, version):
        with database.transaction() as sql:
            sql.execute(f"PRAGMA user_version = {version}")
        database.close()
        Database(path).close()
        assert path.with_name("store.sqlite.damaged-1").exists()

    def test_a_text_that_is_none_is_damage(self, path, database, store):
        """A card that forgets a bit; a program that ended of it would be started for ever."""
        store.commit(ready(3), NOON_MS)
        with database.transaction() as sql:
            sql.execute("UPDATE device SET name = CAST(x'ff77' AS TEXT)")
        with pytest.raises(StoreError, match="UTF-8"), database.transaction() as sql:
            sql.execute("SELECT name FROM device").fetchall()
        assert path.with_name("store.sqlite.damaged-1").exists()
        assert store.commit(ready(2), NOON_MS).stored == {METER: 2}

    @pytest.mark.parametrize("damage", NONSENSE.values(), ids=NONSENSE.keys())
    def test_what_cannot_have_been_written_is_damage_too(self, path, database, store, outbox, damage):
        """One bit in a text of our own: nothing of SQLite's is wrong."""
        store.commit(ready(1), NOON_MS)
        send_all(outbox)
        Pruning(database, Limits(6 * DAY_MS, 10**9), boot="boot 1").run(
            now_ms=NOON_MS, now_s=SENT_ROWS_STAY_S + 1
        )
        store.commit(ready(3), NOON_MS)
        outbox.begin(NOON_MS + DAY_MS, 1000.0)
        with database.transaction() as sql:
            sql.execute(damage)
        with pytest.raises(StoreError):
            look_at_everything(database)
        assert path.with_name("store.sqlite.damaged-1").exists()
        look_at_everything(database)
        assert store.commit(ready(3), NOON_MS).stored == {METER: 3}
        assert sent_seconds(outbox) == [1, 2, 3]

    def test_what_a_later_contract_wrote_is_no_damage(self, path, database, store, outbox):
        store.commit([info(contract=2), refused(1), journal(("a", 1, 1))], NOON_MS)
        store.commit([info("b"), state(1, "b"), journal(("a", 1, 1), ("b", 1, 1))], NOON_MS)
        look_at_everything(database)
        assert sent_seconds(outbox) == [1]
        with database.transaction() as sql:
            # As the release that knows that contract leaves it.
            sql.execute("UPDATE device SET before_stream = 1, before_seq = 1, before_payload = x'7b7d'")
            sql.execute("DELETE FROM state WHERE stream = 1")
        store.commit([state(2, "b")], NOON_MS)
        assert sent_seconds(Outbox(database, boot="boot 1")) == [2]
        assert not path.with_name("store.sqlite.damaged-1").exists()

    def test_a_later_release_s_file_is_refused_and_left_alone(self, path, database):
        with database.transaction() as sql:
            sql.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreError, match="version 2, it has 99"):
            Database(path)
        assert path.exists()


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The files of a store whose program was killed: groups in the file, and as many more in its log."""
    folder = tmp_path_factory.mktemp("killed")
    database = Database(folder / "data" / "store.sqlite")
    store = Store(database)
    store.commit([info(), journal(("a", 1, 400))], NOON_MS)
    for first in range(1, 401, 20):
        store.commit([state(seq) for seq in range(first, first + 20)], NOON_MS)
        if first == 201:
            database._connection.execute("PRAGMA wal_checkpoint(RESTART)")
    shutil.copytree(folder / "data", folder / "copy")
    database.close()
    return folder / "copy"


@settings(max_examples=100)
@given(
    part=st.sampled_from(["store.sqlite", "store.sqlite-wal"]),
    where=st.one_of(st.integers(0, 5000), st.floats(0, 1)),
)
def test_cut_at_any_byte_it_has_all_earlier_groups_or_is_set_aside_and_asks_for_the_rest(
    killed, tmp_path_factory, part, where
):
    folder = tmp_path_factory.mktemp("cut") / "data"
    shutil.copytree(killed, folder)
    (folder / "store.sqlite-shm").unlink()
    victim = folder / part
    size = victim.stat().st_size
    os.truncate(victim, min(where, size) if isinstance(where, int) else round(size * where))
    database = Database(folder / "store.sqlite")
    asides = list(folder.glob("*.damaged-1"))
    found = [seq for _, seq in rows(database)]
    assert found == list(range(1, len(found) + 1))
    assert len(found) % 20 == 0, "a group is there as a whole or not at all"
    if part == "store.sqlite-wal":
        assert len(found) >= 220
        assert not asides
    else:
        assert found == ([] if asides else list(range(1, 401)))
    store = Store(database)
    store.commit([info(), journal(("a", 1, 400))], NOON_MS)
    missing = sum(last - first + 1 for _, ranges in store.wanted().get(METER, ()) for first, last in ranges)
    assert missing == 400 - len(found), "what was cut off is asked for"
    store.commit([state(seq) for seq in range(1, 401)], NOON_MS)
    assert sent_seconds(Outbox(database, boot="boot 1")) == list(range(1, 401))
    assert list(folder.glob("*.damaged-1")) == asides, "a cut is seen before anything is written"
    database.close()
    shutil.rmtree(folder)


STREAMS = ("a", "b")


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("state"), st.sampled_from(STREAMS), st.integers(1, 8)),
            st.tuples(st.just("refused"), st.sampled_from(STREAMS), st.integers(1, 8)),
            st.just(("commit",)),
            st.just(("send",)),
            st.just(("prune",)),
            st.just(("reopen",)),
        ),
        max_size=40,
    )
)
def test_every_state_is_sent_once_whatever_comes_between(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    database = Database(path)
    listed = [info("a"), info("b"), journal(("a", 1, 8), ("b", 1, 8))]
    Store(database).commit(listed, NOON_MS)
    outbox = Outbox(database, boot="boot 1")
    pending, accepted, refusals, sent = [], set(), set(), []
    clock = itertools.count(step=1000)
    for step, *what in steps:
        match step:
            case "state":
                name, seq = what
                pending.append(
                    ((name, seq), state(seq, name, time_ms=NOON_MS + 1000 * (seq + 10 * STREAMS.index(name))))
                )
            case "refused":
                pending.append(((what[0], what[1]), refused(what[1], what[0])))
            case "commit":
                Store(database).commit([arrival for _, arrival in pending], NOON_MS)
                for identity, arrival in pending:
                    if identity not in accepted | refusals:
                        (accepted if hasattr(arrival, "state") else refusals).add(identity)
                pending = []
            case "send":
                sent += sent_seconds(outbox)
            case "prune":
                with pytest.MonkeyPatch.context() as few:
                    few.setattr("bridge.pruning.ROWS_AT_ONCE", 3)
                    pruning = Pruning(database, Limits(DAY_MS, 10**9), boot="boot 1")
                    pruning.run(now_ms=NOON_MS, now_s=next(clock))
            case "reopen":
                outbox.begin(NOON_MS + DAY_MS, 0.0)
                database.close()
                database, pending = Database(path), []
                outbox = Outbox(database, boot="boot 1")
    sent += sent_seconds(outbox, 1e6)
    sent += sent_seconds(outbox, 1e6 + WAIT_S)  # nothing else waits longer than that for what is missing
    assert sorted(sent) == sorted(seq + 10 * STREAMS.index(name) for name, seq in accepted)
    assert all(one.waiting == 0 for one in Store(database).backlog().values())
    database.close()


def large(seq: int) -> StateCame:
    came = state(seq)
    return replace(came, payload=came.payload + b" " * (SPARE_BYTES // 10))


def test_a_store_that_filled_its_disk_can_still_send_and_then_takes_states_again(database, outbox):
    free = [SPARE_BYTES]
    store = Store(database, on_disk=lambda _: free[0])
    store.commit([info(), journal(("a", 1, 12)), *map(large, range(1, 12))], NOON_MS)
    free[0] = 0
    with pytest.raises(StoreError, match="full"):
        store.commit([state(12)], NOON_MS)
    assert len(send_all(outbox)) == 11
    pruning = Pruning(database, Limits(DAY_MS, 10**9), boot="boot 1", on_disk=lambda _: free[0])
    prune_all(pruning, now_s=SENT_ROWS_STAY_S + 1)
    assert store.commit([state(12)], NOON_MS).stored == {METER: 1}


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_is_removed_at_a_time_needs_no_more_room_than_is_kept_for_it(
    path, database, store, outbox, is_sent
):
    """All at once it needed half of what it removed, which a full disk does not have: it stayed full for ever."""
    store.commit([info(), journal(("a", 1, 4000))], NOON_MS)
    for first in range(1, 4001, 500):
        store.commit([kilobytes(seq) for seq in range(first, first + 500)], NOON_MS)
    if is_sent:
        assert len(send_all(outbox)) == 4000
    else:
        store.commit([state(1, device=PUMP, time_ms=NOON_MS + 9 * DAY_MS)], NOON_MS)
    database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log = path.with_name(path.name + "-wal")
    pruning = Pruning(database, Limits(DAY_MS, 10**9), boot="boot 1")
    largest, is_done = 0, False
    while not is_done:
        is_done = pruning.run(now_ms=NOON_MS + 9 * DAY_MS, now_s=SENT_ROWS_STAY_S + 1).is_done
        largest = max(largest, log.stat().st_size)
    assert len(rows(database)) == (0 if is_sent else 1)
    assert largest < SPARE_BYTES


def kilobytes(seq: int) -> StateCame:
    came = state(seq)
    return replace(came, payload=came.payload + b" " * 5000)


def test_a_batch_that_is_removed_in_part_is_sent_again_in_part_after_a_reboot(
    store, database, outbox, monkeypatch
):
    store.commit(ready(9), NOON_MS)
    assert len(sent_seconds(outbox)) == 9
    monkeypatch.setattr("bridge.pruning.ROWS_AT_ONCE", 4)
    pruning = Pruning(database, Limits(DAY_MS, 10**9), boot="boot 1")
    assert not pruning.run(now_ms=NOON_MS, now_s=SENT_ROWS_STAY_S + 1).is_done
    assert [seq for _, seq in rows(database)] == [5, 6, 7, 8, 9]
    assert sent_seconds(Outbox(database, boot="boot 2")) == [5, 6, 7, 8, 9]
    assert store.backlog()[METER].waiting == 0


def test_what_gets_under_way_between_two_runs_is_judged_against_the_same_row(
    store, database, outbox, monkeypatch
):
    """The sender works on while much is removed."""
    store.commit(ready(3), NOON_MS)
    send_all(outbox)
    store.commit([state(4, power=None)], NOON_MS)
    monkeypatch.setattr("bridge.pruning.ROWS_AT_ONCE", 2)
    pruning = Pruning(database, Limits(DAY_MS, 10**9), boot="boot 1")
    assert not pruning.run(now_ms=NOON_MS, now_s=SENT_ROWS_STAY_S + 1).is_done
    under_way = outbox.begin(NOON_MS + DAY_MS, SENT_ROWS_STAY_S + 1)
    assert under_way is not None
    prune_all(pruning, now_s=SENT_ROWS_STAY_S + 1)
    again = Outbox(database, boot="boot 1").begin(NOON_MS + DAY_MS, SENT_ROWS_STAY_S + 1)
    assert [math.isnan(one.value) for one in again.samples] == [True]
    assert [seq for _, seq in rows(database)] == [3, 4]


def test_a_store_whose_file_is_gone_says_so(store, path):
    path.unlink()
    with pytest.raises(StoreError):
        store.commit([state(1)], NOON_MS)
