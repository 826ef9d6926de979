"""The quarantine: who gets in, and what `heating quarantine` does with it while the bridge runs."""

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge import poster as poster_module
from bridge import sender as sender_module
from bridge.database import Database
from bridge.errors import StoreError
from bridge.outbox import PARKED_MS, Outbox
from bridge.quarantine import Quarantined, open_quarantine
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.sample import STALE, Sample, Series
from bridge.sender import Sender
from bridge.store import Store
from heating.__main__ import main
from heating.commands.quarantine import to_json, to_table
from readings.health import BRIDGE_HEALTH, Tally
from tests.bridge.receiver import Answer, Receiver, samples_of
from tests.bridge.states import METER, NOON_MS, info, journal, ready, state
from tests.conftest import wait_until

DAY_MS = 86_400_000


@contextmanager
def sending(database: Database, receiver: Receiver, *, boot: str = "1") -> Iterator[Tally]:
    tally = Tally(BRIDGE_HEALTH)
    sender = Sender(
        Outbox(database, boot=boot),
        Connection(ReceiverSettings(receiver.url), lambda: 0.0),
        labels={},
        tally=tally,
        wall_ms=lambda: NOON_MS + DAY_MS,
        monotonic=time.monotonic,
        jitter=lambda: 0.0,
    )
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield tally
    finally:
        sender.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    for module, name in (
        (poster_module, "FIRST_WAIT_S"), (poster_module, "LONGEST_WAIT_S"), (sender_module, "IDLE_S"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 0.01)


def refuse(*seconds: int, text: bytes = b"out of bounds"):
    guilty = {NOON_MS + second * 1000 for second in seconds}
    return lambda _, body: (
        Answer(400, body=text) if guilty & {time for _, time in samples_of(body)} else Answer()
    )


def numbers(path) -> list[int]:
    with open_quarantine(path) as quarantine:
        return [one.seq for one in quarantine.entries()]


@pytest.fixture
def three_refused(path, database, store, receiver):
    """Ten states are sent, three of them refused; the file stays open as in a running bridge."""
    receiver.script = refuse(3, 5, 8)
    store.commit(ready(10), NOON_MS)
    with sending(database, receiver):
        wait_until(lambda: store.backlog()[METER].waiting == 0)
    assert numbers(path) == [3, 5, 8]
    return path


def test_what_is_sent_again_and_taken_leaves(three_refused, database, receiver):
    receiver.script = lambda *_: Answer()
    with sending(database, receiver) as tally:
        with open_quarantine(three_refused) as quarantine:
            assert quarantine.resend(None) == 3
        wait_until(lambda: numbers(three_refused) == [])
        wait_until(lambda: tally.value("bridge_samples_sent_total") == 3)
    assert len(receiver.kept) == 10


def test_what_is_refused_again_stays_with_the_new_reason(three_refused, database, receiver):
    receiver.script = refuse(5, text=b"still out of bounds")
    with sending(database, receiver):
        with open_quarantine(three_refused) as quarantine:
            quarantine.resend(None)
        wait_until(lambda: numbers(three_refused) == [5])
        wait_until(lambda: not state_of(three_refused).is_to_go)
    assert state_of(three_refused).reason == "400: still out of bounds"


def state_of(path) -> Quarantined:
    with open_quarantine(path) as quarantine:
        (one,) = quarantine.entries()
    return one


def test_a_sample_that_fails_for_ever_is_not_sent_for_ever(three_refused, database, receiver):
    receiver.script = lambda *_: Answer(500)
    with sending(database, receiver):
        with open_quarantine(three_refused) as quarantine:
            quarantine.resend(None)
        wait_until(lambda: "(will be sent again)" not in table_of(three_refused))
    assert numbers(three_refused) == [3, 5, 8]


def table_of(path) -> str:
    with open_quarantine(path) as quarantine:
        return to_table(quarantine.entries())


def test_while_the_receiver_is_away_the_wish_is_kept(three_refused, database, receiver):
    receiver.script = lambda *_: Answer(503)
    receiver.empty_answer = Answer(503)
    with open_quarantine(three_refused) as quarantine:
        quarantine.resend(None)
    with sending(database, receiver):
        wait_until(lambda: len(receiver.bodies) > 20)
        assert table_of(three_refused).count("(will be sent again)") == 3
        receiver.script, receiver.empty_answer = (lambda *_: Answer()), Answer()
        wait_until(lambda: numbers(three_refused) == [])


def test_some_or_all_are_dropped(three_refused):
    with open_quarantine(three_refused) as quarantine:
        first, _, last = quarantine.entries()
        assert quarantine.drop([first.id, last.id, 99]) == 2
        assert [one.seq for one in quarantine.entries()] == [5]
        assert quarantine.drop(None) == 1
        assert quarantine.entries() == ()


def test_a_sample_is_there_once_also_after_a_restart_of_the_host(three_refused, database, receiver):
    """The last minutes are sent again then, and refused again."""
    sent = len(receiver.bodies)
    with sending(database, receiver, boot="2"):
        wait_until(lambda: len(receiver.bodies) > sent)
        wait_until(lambda: Store(database).backlog()[METER].waiting == 0)
    assert numbers(three_refused) == [3, 5, 8]


# From the future


def test_what_lies_ahead_for_a_day_goes_to_quarantine(path, database, store):
    outbox, now_ms = Outbox(database, boot="1"), NOON_MS + 10_000
    ahead = state(3, time_ms=NOON_MS + 10 * DAY_MS, power=7.0)
    store.commit([*ready(2), ahead], NOON_MS)
    for hours in range(24):
        while batch := outbox.begin(now_ms + hours * 3_600_000, 0.0):
            assert [row.id.seq for row in batch.rows] == [1, 2]
            outbox.settle_first(batch, 0.0)
        assert outbox.unpark(now_ms + hours * 3_600_000, 0.0) == 0
    assert outbox.unpark(now_ms + PARKED_MS, 0.0) == 1
    one = state_of(path)
    assert (one.seq, one.sample.value, one.sample.timestamp_ms) == (3, 7.0, NOON_MS + 10 * DAY_MS)
    assert "ahead of the bridge's clock" in one.reason
    assert store.backlog()[METER].waiting == 0
    store.commit([state(4, time_ms=NOON_MS + 4000)], NOON_MS)
    batch = outbox.begin(now_ms + PARKED_MS, 0.0)
    assert [row.id.seq for row in batch.rows] == [4]


def test_the_day_goes_on_over_a_restart_and_ends_when_the_clock_is_right(path, database, store):
    """The bridge's own clock may be the wrong one: nothing is condemned on its first word."""
    store.commit(ready(1), NOON_MS)
    last_month = NOON_MS - 30 * DAY_MS
    assert Outbox(database, boot="1").begin(last_month, 0.0) is None
    outbox = Outbox(database, boot="1")
    assert outbox.unpark(last_month + PARKED_MS - 1, 0.0) == 0
    assert outbox.unpark(NOON_MS, 0.0) == 0
    batch = outbox.begin(NOON_MS, 0.0)
    assert [row.id.seq for row in batch.rows] == [1]
    assert numbers(path) == []


def test_what_lies_ahead_does_not_go_out_whoever_wants_it(path, database, store, receiver):
    outbox = Outbox(database, boot="1")
    now_ms = NOON_MS + DAY_MS
    store.commit([info(), state(1, time_ms=now_ms + 10 * DAY_MS), journal(("a", 1, 1))], NOON_MS)
    outbox.begin(now_ms - PARKED_MS, 0.0)
    assert outbox.unpark(now_ms, 0.0) == 1
    with open_quarantine(path) as quarantine:
        quarantine.resend(None)
    with sending(database, receiver):
        wait_until(lambda: not state_of(path).is_to_go)
    assert receiver.bodies == []


# The command


ENTRY = Quarantined(
    7,
    "meter/wp",
    "a",
    12,
    Sample(Series("m", (("device", "wp"),)), 1.5, NOON_MS),
    "400: out of bounds",
    False,
)


def test_the_table():
    assert to_table([ENTRY]).splitlines() == [
        "id  time                      series          value  why",
        '7   2026-11-23T12:00:00.000Z  m{device="wp"}  1.5    400: out of bounds',
    ]
    assert "empty" in to_table([])


def test_a_name_cannot_command_the_terminal():
    hostile = Quarantined(
        1,
        "d",
        "a",
        1,
        Sample(Series("m", (("x", 'a"\n\x1b[2J\u202e'),)), STALE, NOON_MS),
        "\x1b]0;owned\x07",
        True,
    )
    shown = to_table([hostile])
    assert len(shown.splitlines()) == 2
    assert all(one.isprintable() for line in shown.splitlines() for one in line)
    assert "(ends)" in shown
    assert "(will be sent again)" in shown


def test_json_is_for_programs():
    (one,) = json.loads(to_json([ENTRY]))
    assert one == {
        "id": 7,
        "time": "2026-11-23T12:00:00.000Z",
        "device": "meter/wp",
        "stream": "a",
        "seq": 12,
        "name": "m",
        "labels": {"device": "wp"},
        "value": 1.5,
        "reason": "400: out of bounds",
        "resend": False,
    }


@pytest.fixture
def config(tmp_path, three_refused):
    file = tmp_path / "config.toml"
    file.write_text("")
    return str(file)


def test_the_command_lists_resends_and_drops(config, capsys, three_refused):
    assert main(["quarantine", "list", "--config", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "400: out of bounds" in lines[1]
    assert main(["quarantine", "list", "--json", "--config", config]) == 0
    first, second, _ = json.loads(capsys.readouterr().out)
    assert main(["quarantine", "resend", str(first["id"]), "--config", config]) == 0
    assert "1 will be sent again" in capsys.readouterr().out
    assert main(["quarantine", "drop", str(second["id"]), "--config", config]) == 0
    assert main(["quarantine", "list", "--json", "--config", config]) == 0
    dropped = capsys.readouterr().out
    assert [(one["seq"], one["resend"]) for one in json.loads(dropped.partition("\n")[2])] == [
        (3, True),
        (8, False),
    ]
    assert main(["quarantine", "drop", "--all", "--config", config]) == 0
    assert numbers(three_refused) == []


def test_a_number_that_is_not_there_is_no_success(config, capsys, three_refused):
    assert main(["quarantine", "drop", "1", "1", "77", "--config", config]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("1 dropped\n", "1 of these are not in quarantine\n")


@pytest.mark.parametrize(
    "arguments", [["drop"], ["resend"], ["drop", "1", "--all"], ["drop", "x"], ["drop", "9" * 19], []]
)
def test_nothing_is_dropped_by_half_a_command(arguments):
    with pytest.raises(SystemExit):
        main(["quarantine", *arguments, "--config", "config.toml"])


def test_without_a_store_it_says_so_and_makes_none(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("")
    assert main(["quarantine", "list", "--config", str(tmp_path / "config.toml")]) == 1
    assert "there is no store yet" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("version", "advice"), [(99, "start the release that made it"), (1, "start the bridge once")]
)
def test_another_release_s_store_is_left_alone(path, database, version, advice):
    with database.transaction() as sql:
        sql.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"it has {version}: {advice}"), open_quarantine(path):
        pass


# The tables of the version before


def test_a_store_of_the_version_before_goes_on(path, receiver):
    """What waited in it is sent, and its quarantine is there."""
    database = Database(path)
    Store(database).commit(ready(3), NOON_MS)
    database.close()
    with sqlite3.connect(path) as old:
        old.executescript(
            "DROP TABLE parked; DROP TABLE wanted; DROP INDEX quarantined_once;"
            "ALTER TABLE batch DROP COLUMN aside; ALTER TABLE quarantine DROP COLUMN resend;"
            "ALTER TABLE stream DROP COLUMN last; ALTER TABLE stream ADD COLUMN last INTEGER;"
            "UPDATE stream SET last = 3; PRAGMA user_version = 1;"
        )
        for _ in range(2):
            old.execute(
                "INSERT INTO quarantine (device, stream, seq, name, labels, value, time_ms, reason)"
                " VALUES ('meter/wp', 'a', 9, 'm', '{}', 1.5, 0, 'refused')"
            )
    old.close()
    database = Database(path)
    assert numbers(path) == [9]
    with sending(database, receiver):
        wait_until(lambda: len(receiver.kept) == 3)
    assert all(math.isfinite(float.fromhex(value)) for value in receiver.kept.values())
    database.close()
