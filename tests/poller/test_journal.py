"""The journal: what is committed stays, in order, under one identity."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.errors import JournalError
from poller.journal import Journal, Pruned, Row
from poller.walltime import WallTime
from readings.payload import StreamRange
from readings.reading import DeviceKey, DeviceState, Kind
from readings.release import RELEASED_MS

METER = DeviceKey(Kind.METER, "wp")
PUMP = DeviceKey(Kind.HEATPUMP, "lg")
TRUSTED = WallTime(offset_ms=RELEASED_MS, steady_since=0, is_trusted=True)
DOUBTED = WallTime(offset_ms=0, steady_since=0, is_trusted=False)
WEEK_S = 7 * 86400
PLENTY = 10**9


def row(taken: float, key: DeviceKey = METER, **values: float | None) -> Row:
    return Row(key, taken, values or {"power_total_kw": taken})


def opened(path: Path, stream: str = "s1", boot: str = "b1") -> Journal:
    return Journal(path / "data" / "journal.sqlite", stream=stream, boot=boot)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return opened(tmp_path)


def everything(journal: Journal, key: DeviceKey = METER) -> list[DeviceState]:
    return [
        state for one in journal.listed(key) for state in journal.states(key, one.stream, one.first, one.last)
    ]


def test_a_state_comes_back_as_it_went_in(journal):
    taken = Row(
        METER, 6.123, {"power_total_kw": 25.06, "tariff": 1, "power_L1_kw": 0.5, "frequency_hz": None}
    )
    taken = Row(taken.key, taken.taken, taken.values, frozenset({"power_L1_kw"}))
    (published,) = journal.commit([taken], {}, TRUSTED)
    assert published == DeviceState(RELEASED_MS + 6123, "s1", 1, taken.values, taken.held)
    assert journal.states(METER, "s1", 1, 1) == (published,)
    assert [type(value) for value in published.values.values()] == [float, int, float, type(None)]


def test_each_device_counts_for_itself_from_one(journal):
    states = journal.commit([row(1), row(2, PUMP), row(3)], {}, TRUSTED)
    states += journal.commit([row(4, PUMP)], {}, TRUSTED)
    assert [state.seq for state in states] == [1, 1, 2, 2]
    assert journal.listed(METER) == journal.listed(PUMP) == (StreamRange("s1", 1, 2),)
    assert journal.rows() == 4


def test_a_source_may_bring_its_own_time(journal):
    (state,) = journal.commit([Row(METER, 6.0, {"a": 1}, own_ms=RELEASED_MS + 1)], {}, TRUSTED)
    assert state.time_ms == RELEASED_MS + 1


def test_a_source_that_is_ahead_does_not_make_the_clock_look_late(journal):
    """Of an unsynchronised clock that is behind the journal's newest time nothing is believed."""
    (state,) = journal.commit([Row(METER, 6.0, {"a": 1}, own_ms=RELEASED_MS + 36_000)], {}, TRUSTED)
    assert state.time_ms == RELEASED_MS + 36_000
    assert journal.newest_ms == RELEASED_MS + 6000


def test_no_two_states_of_a_source_that_is_ahead_have_one_time(tmp_path):
    """Whose clock gives whole seconds, or the time of its last message, until ours has come there, in this run or the next."""
    ahead = RELEASED_MS + 26_000
    journal = opened(tmp_path)
    for taken, own_ms in ((6.0, ahead), (6.7, ahead), (7.4, ahead - 1000), (26.0, None)):
        journal.commit([Row(METER, taken, {"a": taken}, own_ms=own_ms)], {}, TRUSTED)
    journal.close()
    journal = opened(tmp_path, "s2")
    journal.commit([Row(METER, 8.0, {"a": 8.0}), Row(METER, 8.1, {"a": 8.1}, own_ms=ahead)], {}, TRUSTED)
    journal.commit([Row(METER, 26.001, {"a": 26.001})], {}, TRUSTED)
    times = [state.time_ms for state in everything(journal)]
    assert len(times) == len(set(times)) == 7
    assert all(abs(one - ahead) < 5 for one in (*times[:2], *times[3:4], *times[5:]))
    journal.close()


def test_streams_are_listed_in_the_order_of_their_starts(tmp_path):
    for stream in ("zz", "aa", "mm"):
        one = opened(tmp_path, stream)
        one.commit([row(1), row(2)], {}, TRUSTED)
        one.close()
    assert opened(tmp_path).listed(METER) == tuple(StreamRange(name, 1, 2) for name in ("zz", "aa", "mm"))


def test_only_what_was_asked_for_comes_back(journal):
    journal.commit([row(number) for number in range(1, 11)], {}, TRUSTED)
    assert [state.seq for state in journal.states(METER, "s1", 4, 6)] == [4, 5, 6]
    assert journal.states(METER, "s1", 11, 20) == ()
    assert journal.states(METER, "unknown", 1, 20) == ()
    assert journal.states(PUMP, "s1", 1, 20) == ()
    assert journal.listed(PUMP) == ()


def test_while_the_clock_is_not_trusted_rows_wait_and_are_neither_listed_nor_answered(journal):
    (published,) = journal.commit([row(5.0)], {}, DOUBTED)
    assert (published.time_ms, published.seq) == (None, None)
    assert journal.listed(METER) == ()
    assert journal.states(METER, "s1", 1, 9) == ()
    assert journal.rows() == 1


def test_waiting_rows_get_their_true_time_once_the_clock_is_trusted(journal):
    journal.commit([row(5.0), row(6.5), row(7.0, PUMP)], {}, DOUBTED)
    (live,) = journal.commit([row(8.0)], {}, TRUSTED)
    assert (live.seq, live.time_ms) == (3, RELEASED_MS + 8000)
    assert [state.time_ms for state in everything(journal)] == [RELEASED_MS + ms for ms in (5000, 6500, 8000)]
    assert [state.time_ms for state in everything(journal, PUMP)] == [RELEASED_MS + 7000]
    assert journal.newest_ms == RELEASED_MS + 8000


def test_waiting_rows_get_their_time_without_a_new_reading(journal):
    journal.commit([row(5.0)], {}, DOUBTED)
    assert journal.commit([], {}, TRUSTED) == ()
    assert journal.listed(METER) == (StreamRange("s1", 1, 1),)
    assert journal.newest_ms == RELEASED_MS + 5000


def test_no_two_states_of_a_device_have_one_time_whatever_the_clock_does(journal):
    """A receiver keeps one value of a series at one time; the other would be lost."""
    back = WallTime(offset_ms=RELEASED_MS - 2000, steady_since=0, is_trusted=True)
    journal.commit([row(1), row(2), row(1, PUMP)], {}, TRUSTED)
    journal.commit([row(3), row(4)], {}, back)
    journal.commit([row(3.5)], {}, DOUBTED)
    journal.commit([], {}, back)
    times = [state.time_ms - RELEASED_MS for state in everything(journal)]
    assert times == [1000, 2000, 1001, 2001, 1500]
    assert [state.time_ms - RELEASED_MS for state in everything(journal, PUMP)] == [1000]


def test_a_time_is_given_once(journal):
    journal.commit([row(5.0)], {}, TRUSTED)
    journal.commit([row(6.0)], {}, DOUBTED)
    moved = WallTime(offset_ms=RELEASED_MS + 50_000, steady_since=0, is_trusted=True)
    journal.commit([], {}, moved)
    assert [state.time_ms for state in everything(journal)] == [RELEASED_MS + 5000, RELEASED_MS + 56_000]


def test_a_later_run_of_the_same_boot_gives_the_time(tmp_path):
    opened(tmp_path, "s1").commit([row(5.0)], {}, DOUBTED)
    later = opened(tmp_path, "s2")
    later.commit([row(9.0)], {}, TRUSTED)
    assert [(state.stream, state.time_ms) for state in everything(later)] == [
        ("s1", RELEASED_MS + 5000),
        ("s2", RELEASED_MS + 9000),
    ]


def test_rows_of_an_ended_boot_without_time_are_set_aside_and_counted(tmp_path):
    first = opened(tmp_path, "s1", "b1")
    first.commit([row(1.0), row(2.0, PUMP)], {}, TRUSTED)
    first.commit([row(3.0), row(4.0)], {}, DOUBTED)
    second = opened(tmp_path, "s2", "b2")
    second.commit([row(1.0)], {}, TRUSTED)
    assert second.prune(max_age_s=WEEK_S, max_bytes=PLENTY) == Pruned(no_time=2)
    assert second.listed(METER) == (StreamRange("s1", 1, 1), StreamRange("s2", 1, 1))
    assert second.rows() == 3
    with sqlite3.connect(tmp_path / "data" / "journal.sqlite") as file:
        assert file.execute("SELECT device, stream, seq, boot, taken FROM timeless").fetchall() == [
            ("meter/wp", "s1", 2, "b1", 3.0),
            ("meter/wp", "s1", 3, "b1", 4.0),
        ]
    file.close()


def test_the_filter_state_is_kept_with_its_boot(tmp_path):
    journal = opened(tmp_path)
    journal.commit([row(1.0)], {METER: b"old"}, TRUSTED)
    journal.commit([row(2.0)], {METER: b"new"}, TRUSTED)
    for boot, same_boot in (("b1", True), ("b2", False)):
        kept = opened(tmp_path, "s2", boot).kept()
        assert list(kept) == [METER]
        assert (kept[METER].data, kept[METER].same_boot) == (b"new", same_boot)


def test_it_knows_what_was_announced_of_the_devices_that_it_has_rows_of(tmp_path):
    journal = opened(tmp_path)
    journal.commit([row(1), row(2, PUMP)], {}, TRUSTED, {}, {METER: b"info"})
    assert journal.infos() == {METER: b"info", PUMP: b""}
    journal.commit([row(2 * WEEK_S, PUMP)], {}, TRUSTED, {}, {PUMP: b"of the pump"})
    journal.prune(max_age_s=WEEK_S, max_bytes=PLENTY)
    assert journal.infos() == {PUMP: b"of the pump"}
    journal.close()


def test_a_new_file_gets_what_was_announced_too(tmp_path):
    """The same run goes on where a damaged one was set aside."""
    journal = opened(tmp_path)
    path = tmp_path / "data" / "journal.sqlite"
    for _ in range(2):
        journal.commit([row(1)], {}, TRUSTED, {}, {METER: b"info"})
        assert journal.infos() == {METER: b"info"}
        journal.close()
        path.write_bytes(b"not a database at all" * 100)


def test_a_device_of_a_kind_that_only_a_later_version_knows_is_passed_over(tmp_path):
    """Whoever goes back to this version would start it for ever."""
    journal = opened(tmp_path)
    journal.commit([row(1), row(2, PUMP)], {METER: b"meter", PUMP: b"pump"}, TRUSTED)
    journal.close()
    with sqlite3.connect(tmp_path / "data" / "journal.sqlite") as file:
        file.execute("UPDATE device SET kind = 'battery' WHERE name = 'lg'")
    file.close()
    assert {key: one.data for key, one in journal.kept().items()} == {METER: b"meter"}
    journal.commit([row(2 * WEEK_S)], {}, TRUSTED)
    assert journal.prune(max_age_s=WEEK_S, max_bytes=PLENTY) == Pruned(age=2, shrunk=frozenset({METER}))
    journal.close()


def test_age_counts_back_from_the_newest_row(journal):
    day = 86400.0
    journal.commit([row(number * day) for number in range(10)] + [row(0.0, PUMP)], {}, TRUSTED)
    assert journal.prune(max_age_s=7 * day, max_bytes=PLENTY) == Pruned(
        age=3, shrunk=frozenset({METER, PUMP})
    )
    assert journal.listed(METER) == (StreamRange("s1", 3, 10),)
    assert journal.listed(PUMP) == ()
    (next_one,) = journal.commit([row(10 * day, PUMP)], {}, TRUSTED)
    assert next_one.seq == 2, "an identity is not given twice, even when its row is gone"


def test_waiting_rows_have_no_age(journal):
    journal.commit([row(0.0)], {}, DOUBTED)
    other = [Row(PUMP, 1.0, {"a": 1})]
    journal.commit(other, {}, DOUBTED)
    assert journal.prune(max_age_s=1, max_bytes=PLENTY) == Pruned()


def test_age_empties_whole_streams_and_forgets_them(tmp_path):
    for number, stream in enumerate(("old", "older-still", "new")):
        opened(tmp_path, stream).commit([row(number * 86400.0)], {}, TRUSTED)
    last = opened(tmp_path, "now")
    assert last.prune(max_age_s=3600, max_bytes=PLENTY) == Pruned(), "it has no row to count back from"
    last.commit([row(2 * 86400.0 + 1, PUMP)], {}, TRUSTED)
    assert last.prune(max_age_s=3600, max_bytes=PLENTY).age == 2
    assert last.listed(METER) == (StreamRange("new", 1, 1),)


def test_rows_taken_after_a_clock_that_was_far_ahead_stay(journal):
    """They were too old at once, and nothing was there for a bridge that had been away for a minute."""
    day = 86400.0
    ahead = replace(TRUSTED, offset_ms=TRUSTED.offset_ms + 30 * day * 1000)
    journal.commit([row(0.0)], {}, TRUSTED)
    journal.commit([row(1.0)], {}, ahead)
    assert journal.prune(max_age_s=7 * day, max_bytes=PLENTY).age == 1
    journal.commit([row(2.0), row(2.0, PUMP)], {}, TRUSTED)
    assert journal.prune(max_age_s=7 * day, max_bytes=PLENTY) == Pruned()
    assert journal.listed(METER) == (StreamRange("s1", 2, 3),)


def test_a_source_s_own_time_is_no_measure_of_age(journal):
    journal.commit([row(0.0)], {}, TRUSTED)
    journal.commit([Row(PUMP, 1.0, {"a": 1}, own_ms=RELEASED_MS + 30 * 86_400_000)], {}, TRUSTED)
    assert journal.prune(max_age_s=WEEK_S, max_bytes=PLENTY) == Pruned()


def test_size_takes_the_oldest_rows_whichever_device_they_are_of(journal):
    journal.commit([row(10_000 + number) for number in range(1500)], {}, TRUSTED)
    journal.commit([row(number, PUMP) for number in range(1500)], {}, TRUSTED)
    assert journal.prune(max_age_s=WEEK_S, max_bytes=PLENTY) == Pruned()
    pruned = journal.prune(max_age_s=WEEK_S, max_bytes=150_000)
    assert pruned.size > 0
    assert pruned.shrunk == {PUMP}
    assert journal.rows() == 3000 - pruned.size
    assert journal.listed(METER) == (StreamRange("s1", 1, 1500),)
    before = journal.file_bytes()
    for number in range(20):
        journal.commit([row(20_000 + number * 100 + one) for one in range(100)], {}, TRUSTED)
        journal.prune(max_age_s=WEEK_S, max_bytes=150_000)
    journal.close()
    assert journal.file_bytes() < before + 100_000, "what was freed is used again"


def test_a_full_disk_is_told_and_nothing_is_half_written(journal):
    journal.commit([row(1.0)], {METER: b"good"}, TRUSTED)
    journal._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(JournalError, match="full"):
        journal.commit([row(2.0 + number) for number in range(1000)], {METER: b"bad"}, TRUSTED)
    assert journal.kept()[METER].data == b"good"
    (state,) = journal.commit([row(3.0)], {}, TRUSTED)
    assert state.seq == 2, "the seqs of rows that were not written are not used up"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(JournalError, match="data"):
        opened(tmp_path).kept()


def damage_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def replace_in(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"not a database at all" * 100), id="something else"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-4096]), id="a page short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:20]), id="cut in the header"),
        pytest.param(damage_middle, id="overwritten"),
        pytest.param(lambda path: replace_in(path, b"tabledevice", b"table\x96evice"), id="a table's name"),
        pytest.param(lambda path: replace_in(path, b"newest_ms INT", b"newest_mz INT"), id="a column's name"),
        pytest.param(lambda path: set_version(path, 0), id="no version"),
        pytest.param(lambda path: set_version(path, -1), id="a version that cannot be"),
    ],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(tmp_path, damage, caplog):
    path = tmp_path / "data" / "journal.sqlite"
    for _ in range(2):
        first = opened(tmp_path)
        first.commit([row(number) for number in range(500)], {}, TRUSTED)
        first.close()
        damage(path)
        damaged = path.read_bytes()
        second = opened(tmp_path, "s2")
        (state,) = second.commit([row(1)], {}, TRUSTED)
        assert state.seq == 1
        assert second.listed(METER) == (StreamRange("s2", 1, 1),)
        second.close()
        assert "is damaged" in caplog.text
        asides = sorted(path.parent.glob("*.damaged-*"))
        assert asides[-1].read_bytes() == damaged
        path.unlink()
    assert len(asides) == 2


def set_version(path: Path, version: int) -> None:
    file = sqlite3.connect(path)
    file.execute(f"PRAGMA user_version = {version}")
    file.close()


def test_a_later_release_s_file_is_refused_and_left_alone(tmp_path):
    """After a way back: with the file the offsets of replaced meters would go, and the counts would fall."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = opened(tmp_path)
    journal.commit([row(1)], {METER: b"offset"}, TRUSTED)
    journal.close()
    set_version(path, 99)
    later = path.read_bytes()
    for _ in range(2):
        with pytest.raises(
            JournalError, match=r"journal\.sqlite: expected tables of version 1, it has 99: start"
        ):
            journal.kept()
        with pytest.raises(JournalError):
            journal.commit([row(2)], {}, TRUSTED)
    assert [one.name for one in path.parent.iterdir()] == ["journal.sqlite"]
    assert path.read_bytes() == later
    set_version(path, 1)
    assert journal.kept()[METER].data == b"offset", "the release that made it goes on with it"
    journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE device SET name = CAST(x'ff77' AS TEXT)",
        "UPDATE device SET name = 'W P'",
        "UPDATE device SET name = x'7770'",
        "UPDATE state SET payload = CAST(x'7bff7d' AS TEXT)",
        "UPDATE state SET payload = '{'",
        "UPDATE state SET time_ms = 1 << 60",
        "UPDATE state SET time_ms = 'soon'",
    ],
)
def test_a_row_that_cannot_be_is_damage_too(tmp_path, change):
    """A card that forgets a bit: SQLite keeps no checksum, and a program that ended of it would be started for ever."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = opened(tmp_path)
    journal.commit([row(1.0)], {METER: b"kept"}, TRUSTED)
    journal.close()
    with sqlite3.connect(path) as file:
        file.execute(change)
    file.close()
    journal.kept()
    assert everything(journal) == []
    assert path.with_name("journal.sqlite.damaged-1").exists()
    journal.close()


def test_what_a_filter_or_a_source_kept_is_bytes_or_nothing(tmp_path):
    journal = opened(tmp_path)
    journal.commit([row(1.0)], {METER: b"kept"}, TRUSTED, {"shelly": b"memory"})
    journal.close()
    with sqlite3.connect(tmp_path / "data" / "journal.sqlite") as file:
        file.execute("UPDATE device SET kept = 5")
        file.execute("UPDATE memory SET content = 5")
    file.close()
    assert (journal.kept(), journal.memories()) == ({}, {})
    journal.close()


def test_a_kill_within_a_checkpoint_is_no_damage(tmp_path):
    """The header, which is written first, counts pages that are still in the log alone."""
    journal = opened(tmp_path)
    for number in range(5):
        journal.commit([row(number)], {}, TRUSTED)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "data", copy / "data")
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpointed = (tmp_path / "data" / "journal.sqlite").read_bytes()
    journal.close()
    for pages in range(1, len(checkpointed) // 1024):
        (copy / "data" / "journal.sqlite").write_bytes(checkpointed[: pages * 1024])
        trial = tmp_path / f"trial{pages}"
        shutil.copytree(copy / "data", trial / "data")
        later = opened(trial, "s2")
        assert [state.seq for state in everything(later)] == [1, 2, 3, 4, 5]
        later.close()


def test_a_log_without_its_file_is_set_aside_too(whole, tmp_path):
    """SQLite would delete it without a word."""
    shutil.copytree(whole / "data", tmp_path / "data")
    os.truncate(tmp_path / "data" / "journal.sqlite", 0)
    log = (tmp_path / "data" / "journal.sqlite-wal").read_bytes()
    opened(tmp_path, "s3").commit([row(1)], {}, TRUSTED)
    assert (tmp_path / "data" / "journal.sqlite.damaged-1-wal").read_bytes() == log


def test_damage_found_while_running_keeps_the_identities_apart(journal, tmp_path):
    journal.commit([row(number) for number in range(500)], {}, TRUSTED)
    path = tmp_path / "data" / "journal.sqlite"
    journal.close()
    damage_middle(path)
    (state,) = journal.commit([row(501.0)], {}, TRUSTED)
    assert (state.stream, state.seq) == ("s1", 501)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A journal as a kill leaves it: pages in the file, the newest rows in the log."""
    folder = tmp_path_factory.mktemp("whole")
    one = opened(folder)
    one.commit([row(number) for number in range(200)], {}, TRUSTED)
    one.close()
    two = opened(folder, "s2")
    for number in range(20):
        two.commit([row(number)], {}, TRUSTED)
    copy = folder / "copy"
    shutil.copytree(folder / "data", copy / "data")
    two.close()
    return copy


@settings(max_examples=120)
@given(
    part=st.sampled_from(["journal.sqlite", "journal.sqlite-wal"]),
    where=st.one_of(st.integers(0, 5000), st.floats(0, 1)),
)
def test_cut_at_any_byte_it_has_all_earlier_rows_or_is_set_aside(whole, tmp_path_factory, part, where):
    folder = tmp_path_factory.mktemp("cut")
    shutil.copytree(whole / "data", folder / "data")
    (folder / "data" / "journal.sqlite-shm").unlink()
    victim = folder / "data" / part
    size = victim.stat().st_size
    os.truncate(victim, min(where, size) if isinstance(where, int) else round(size * where))
    journal = opened(folder, "s3")
    journal.kept()
    asides = list((folder / "data").glob("*.damaged-1"))
    found = [(state.stream, state.seq) for state in everything(journal)]
    journal.commit([row(1)], {}, TRUSTED)
    journal.close()
    assert list((folder / "data").glob("*.damaged-1")) == asides, "a cut is seen before anything is written"
    shutil.rmtree(folder)
    committed = [("s1", seq) for seq in range(1, 201)] + [("s2", seq) for seq in range(1, 21)]
    if part == "journal.sqlite-wal":
        assert found == committed[: len(found)]
        assert len(found) >= 200
        assert not asides
    else:
        assert found == ([] if asides else committed)


@settings(max_examples=60)
@given(st.data())
def test_whatever_happens_what_is_listed_is_a_part_of_what_was_committed_in_order(tmp_path_factory, data):
    """Runs, boots, trust that comes and goes, pruning: each listed state is answered, once, unchanged."""
    folder = tmp_path_factory.mktemp("history")
    committed: dict[tuple[str, int], float] = {}
    boot, now = 0, 0.0
    for run in range(data.draw(st.integers(1, 5))):
        boot += data.draw(st.booleans())
        stream = f"run{run}"
        journal = opened(folder, stream, f"boot{boot}")
        seq = 0
        for _ in range(data.draw(st.integers(0, 6))):
            rows = [row(now := now + 1) for _ in range(data.draw(st.integers(0, 3)))]
            for one in rows:
                committed[stream, seq := seq + 1] = one.taken
            journal.commit(rows, {}, data.draw(st.sampled_from([TRUSTED, DOUBTED])))
            if data.draw(st.booleans()):
                journal.prune(max_age_s=data.draw(st.sampled_from([2, 1000])), max_bytes=PLENTY)
            listed = journal.listed(METER)
            states = everything(journal)
            assert [(state.stream, state.seq) for state in states] == [
                (one.stream, number) for one in listed for number in range(one.first, one.last + 1)
            ]
            for state in states:
                assert state.time_ms == RELEASED_MS + committed[state.stream, state.seq] * 1000
        journal.close()
    shutil.rmtree(folder)


WRITER = """
import sys
from pathlib import Path
from poller.journal import Journal, Row
from poller.walltime import WallTime
from readings.reading import DeviceKey, Kind
journal = Journal(Path(sys.argv[1]), stream="s1", boot="b1")
clock = WallTime(offset_ms=0, steady_since=0, is_trusted=True)
for number in range(1_000_000):
    (state,) = journal.commit([Row(DeviceKey(Kind.METER, "wp"), number, {"power_total_kw": number})], {}, clock)
    print(state.seq, flush=True)
"""


def test_what_was_committed_survives_sigkill(tmp_path):
    path = tmp_path / "data" / "journal.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as writer:
        for line in writer.stdout:
            if int(line) >= 300:
                break
        writer.send_signal(signal.SIGKILL)
        told = [int(line), *(int(rest) for rest in writer.stdout)]
    journal = opened(tmp_path, "s2")
    (held,) = journal.listed(METER)
    assert held.first == 1
    assert held.last >= told[-1], "every seq that was told is there"
    assert len(everything(journal)) == held.last
    journal.close()
