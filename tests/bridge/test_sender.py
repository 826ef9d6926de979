"""The sender and the outbox against the strict receiver; time does not pass unless a test says so."""

import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bridge import poster as poster_module
from bridge import sender as sender_module
from bridge.account import Account
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.poster import PROBE_EVERY_S, Poster
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.outcome import Outcome, RetryAfter, Sent
from bridge.sender import Sender
from bridge.store import Store
from readings.health import BRIDGE_HEALTH, Tally
from tests.bridge.receiver import Answer, Receiver, samples_of
from tests.bridge.states import METER, NOON_MS, PUMP, journal, ready, state
from tests.conftest import free_port, wait_until

DAY_MS = 86_400_000


@pytest.fixture
def tally() -> Tally:
    return Tally(BRIDGE_HEALTH)


@contextmanager
def sending(
    database: Database,
    receiver: Receiver,
    tally: Tally,
    *,
    boot: str = "boot 1",
    now_ms: Callable[[], int] = lambda: NOON_MS + DAY_MS,
    **settings: str,
) -> Iterator[Sender]:
    sender = Sender(
        Outbox(database, boot=boot),
        Connection(ReceiverSettings(receiver.url, **settings), lambda: NOON_MS / 1000),
        labels={"site": "home"},
        tally=tally,
        wall_ms=now_ms,
        monotonic=time.monotonic,
        jitter=lambda: 1.0,
    )
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield sender
    finally:
        sender.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def at_once(monkeypatch):
    """Waits between tries are too short to notice."""
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S", "CONFIGURATION_WAIT_S"):
        monkeypatch.setattr(poster_module, name, 0.001)


def powers(receiver: Receiver) -> list[int]:
    """The numbers of the states whose power was taken, in that order."""
    return [
        (time - NOON_MS) // 1000
        for labels, time in receiver.writes
        if dict(labels)["__name__"].endswith("power_kw")
    ]


def quarantined(database: Database) -> list[tuple]:
    with database.transaction() as sql:
        return sql.execute(
            "SELECT device, stream, seq, name, value, time_ms, reason FROM quarantine"
        ).fetchall()


def is_done(store: Store) -> bool:
    return all(one.waiting == 0 for one in store.backlog().values())


def test_states_arrive_in_order_under_their_labels(database, store, receiver, tally):
    store.commit([*ready(50), *ready(30, "b", PUMP)], NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert len(receiver.bodies) == 1
    assert receiver.connections == 1
    assert len(receiver.kept) == 80
    labels = {labels for labels, _ in receiver.kept}
    assert (("__name__", "meter_power_kw"), ("device", "wp"), ("site", "home")) in labels
    assert tally.value("bridge_samples_sent_total") == 80


def test_a_request_holds_at_most_2000_samples_and_the_connection_is_kept(database, store, receiver, tally):
    store.commit(ready(4500), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert [len(samples_of(body)) for body in receiver.bodies] == [2000, 2000, 500]
    assert powers(receiver) == list(range(1, 4501))
    assert receiver.connections == 1


def test_it_sends_what_comes_later_when_it_is_woken(database, store, receiver, tally):
    with sending(database, receiver, tally) as sender:
        store.commit(ready(1), NOON_MS)
        sender.wake()
        wait_until(lambda: is_done(store))
        store.commit([state(2)], NOON_MS)
        sender.wake()
        wait_until(lambda: powers(receiver) == [1, 2])


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(500),
        Answer(503),
        Answer(429, {"Retry-After": "0"}),
        Answer(503, {"Retry-After": "Mon, 23 Nov 2026 12:00:00 GMT"}),
        Answer(500, keeps=True),
        Answer(hangs_up=True),
        Answer(hangs_up=True, keeps=True),
        Answer(401, body=b"who are you"),
        Answer(404),
        Answer(302),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("at_once")
def test_a_request_is_repeated_byte_for_byte_until_it_is_taken(database, store, receiver, tally, trouble):
    store.commit(ready(10), NOON_MS)
    receiver.script = lambda number, _: trouble if number < 4 else Answer()
    with sending(database, receiver, tally) as sender:
        wait_until(lambda: len(receiver.bodies) >= 2)
        store.commit([state(11)], NOON_MS)  # what comes meanwhile does not get into the request
        sender.wake()
        wait_until(lambda: is_done(store))
    assert len(set(receiver.bodies[:5])) == 1
    assert sorted(set(powers(receiver))) == list(range(1, 12))
    assert quarantined(database) == []


@pytest.mark.usefixtures("at_once")
def test_lost_answers_at_random_cost_nothing(database, store, receiver, tally):
    chance = random.Random(3)
    lost = set(chance.sample(range(25), 10))
    receiver.script = lambda number, _: Answer(hangs_up=number in lost, keeps=chance.random() < 0.5)
    store.commit(ready(400), NOON_MS)
    with sending(database, receiver, tally) as sender:
        for seq in range(401, 431):
            store.commit([state(seq)], NOON_MS)
            sender.wake()
            wait_until(lambda: is_done(store))
    assert sorted(time for _, time in receiver.kept) == [NOON_MS + seq * 1000 for seq in range(1, 431)]


@pytest.mark.usefixtures("at_once")
def test_one_guilty_sample_goes_to_quarantine_alone(database, store, receiver, tally):
    """Receivers refuse a request as a whole; its other samples are good."""
    store.commit(ready(2000), NOON_MS)
    guilty = NOON_MS + 777_000
    receiver.script = lambda _, body: (
        Answer(400, body=b"out of bounds")
        if any(time == guilty for _, time in samples_of(body))
        else Answer()
    )
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert quarantined(database) == [
        ("meter/wp", "a", 777, "meter_power_kw", 1.5, guilty, "400: out of bounds")
    ]
    assert len(receiver.kept) == 1999
    assert len(set(receiver.bodies)) == len(receiver.bodies), "what was refused is not sent again as it was"
    assert tally.value("bridge_samples_refused_total", reason="refused") == 1


def without_a_window(receiver: Receiver) -> None:
    """Nothing may come twice, not even as it was; the answer to the first request is lost."""
    receiver.script = lambda number, body: (
        Answer(400, body=b"out of order sample")
        if receiver.kept.keys() & samples_of(body).keys()
        else Answer(hangs_up=number == 0, keeps=True)
    )


@pytest.mark.usefixtures("at_once")
def test_already_there_after_a_lost_answer_is_no_guilt(database, store, receiver, tally):
    without_a_window(receiver)
    store.commit(ready(10), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert powers(receiver) == list(range(1, 11)), "each came once"
    assert quarantined(database) == []
    assert tally.value("bridge_samples_sent_total") == 10
    # The one request and its halves, down to each sample alone.
    assert tally.value("bridge_requests_total", outcome="already_there") == 19


@pytest.mark.usefixtures("at_once")
def test_already_there_after_a_death_between_request_and_answer_is_no_guilt(
    path, database, store, receiver, tally
):
    """The one that died cannot say whether it sent the request; the next one must think that it did."""
    without_a_window(receiver)
    store.commit(ready(10), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: receiver.bodies)
    with sending(Database(path), receiver, tally):
        wait_until(lambda: is_done(store))
    assert powers(receiver) == list(range(1, 11))
    assert quarantined(database) == []
    assert tally.value("bridge_samples_sent_total") == 10


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("window", ["14d", None])
def test_one_of_them_there_already_says_nothing_of_the_others(database, store, receiver, tally, window):
    """Somebody else wrote another value at its time; the first answer was no answer at all."""
    guilty = NOON_MS + 7000
    if window:
        yaml = f"storage:\n  tsdb:\n    out_of_order_time_window: {window}\n"
        receiver.config = json.dumps({"data": {"yaml": yaml}}).encode()
    receiver.script = lambda number, body: (
        Answer(502)
        if number == 0
        else Answer(400, body=b"duplicate sample for timestamp")
        if any(time == guilty for _, time in samples_of(body))
        else Answer()
    )
    store.commit(ready(10), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert powers(receiver) == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    if window:
        # Such a receiver takes true repeats.
        assert [seq for _, _, seq, *_ in quarantined(database)] == [7]
        assert tally.value("bridge_samples_sent_total") == 9


@pytest.mark.usefixtures("at_once")
def test_out_of_order_without_a_lost_answer_is_guilt(database, store, receiver, tally):
    receiver.script = lambda _, body: (
        Answer(400, body=b"out of order sample")
        if any(time <= NOON_MS + 2000 for _, time in samples_of(body))
        else Answer()
    )
    store.commit(ready(3), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert [seq for _, _, seq, *_ in quarantined(database)] == [1, 2]


def test_a_batch_outlives_the_program_unchanged(path, database, store, receiver, tally):
    """What the request held was written down: states that came since go into the next one."""
    store.commit(ready(10), NOON_MS)
    receiver.script = lambda number, _: Answer(hangs_up=number == 0, keeps=True)
    with sending(database, receiver, tally):
        wait_until(lambda: receiver.bodies)
    store.commit([state(11), state(1, "0", power=9.0, time_ms=NOON_MS - 5000)], NOON_MS)
    store.commit([journal(("0", 1, 1), ("a", 1, 11))], NOON_MS)
    with sending(Database(path), receiver, tally):
        wait_until(lambda: is_done(store))
    assert receiver.bodies[0] == receiver.bodies[1]
    assert sorted(set(powers(receiver))) == [-5, *range(1, 12)]


def test_after_a_restart_of_the_host_the_last_minutes_are_sent_again(database, store, receiver, tally):
    """A receiver that does not wait for its disk has lost them, if it was a power cut."""
    store.commit(ready(5), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    with sending(database, receiver, tally, boot="boot 2"):
        wait_until(lambda: len(powers(receiver)) == 10)
        wait_until(lambda: is_done(store))
    assert powers(receiver)[5:] == [1, 2, 3, 4, 5]


def test_late_states_do_not_share_a_request_with_others(database, store, receiver, tally):
    """A receiver without a window refuses them, and with them all that goes in the same request."""
    store.commit([*ready(5), *ready(3, device=PUMP)], NOON_MS)
    with sending(database, receiver, tally) as sender:
        wait_until(lambda: is_done(store))
        late = [state(seq, time_ms=NOON_MS + seq) for seq in (6, 7)]
        store.commit([*late, state(8, time_ms=NOON_MS + 60_000), state(4, device=PUMP)], NOON_MS)
        sender.wake()
        wait_until(lambda: is_done(store))
    times = [sorted(time - NOON_MS for _, time in samples_of(body)) for body in receiver.bodies[1:]]
    assert times == [[4000, 60_000], [6, 7]]


def test_what_is_ahead_of_the_clock_waits_and_holds_up_nothing(database, store, receiver, tally, monkeypatch):
    for name in ("UNPARK_EVERY_S", "IDLE_S"):
        monkeypatch.setattr(sender_module, name, 0.01)
    store.commit([*ready(2), state(3, time_ms=NOON_MS + 600_000), state(4, time_ms=NOON_MS + 4000)], NOON_MS)
    now = itertools.chain([NOON_MS] * 20, itertools.repeat(NOON_MS + 540_000))
    with sending(database, receiver, tally, now_ms=lambda: next(now)):
        wait_until(lambda: is_done(store))
    assert powers(receiver) == [1, 2, 4, 600]


def test_a_number_that_turns_to_null_is_marked_once(database, store, receiver, tally):
    store.commit([*ready(1), state(2, power=None), state(3, power=None), state(4)], NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: is_done(store))
    assert [value for _, value in sorted(receiver.kept.items())] == [(1.5).hex(), "nan", (1.5).hex()]


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({}, None),
        ({"username": "me", "password": "pass:word"}, "Basic bWU6cGFzczp3b3Jk"),
        ({"bearer_token": "abc"}, "Bearer abc"),
    ],
)
def test_it_says_who_it_is(database, store, receiver, tally, settings, header):
    store.commit(ready(1), NOON_MS)
    with sending(database, receiver, tally, **settings):
        wait_until(lambda: is_done(store))
    assert receiver.authorizations == {header}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"", "does not say how late"),
        (
            json.dumps({"data": {"yaml": "storage:\n  out_of_order_time_window: 14d\n"}}).encode(),
            "up to 14d late",
        ),
        (json.dumps({"data": {"yaml": "global: {}\n"}}).encode(), "no out-of-order window"),
    ],
)
def test_it_says_at_start_whether_late_samples_may_come(
    database, store, receiver, tally, caplog, config, said
):
    caplog.set_level("INFO")
    receiver.config = config
    store.commit(ready(1), NOON_MS)
    with sending(database, receiver, tally):
        wait_until(lambda: said in caplog.text)


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now_s += seconds
        return False


class Outage:
    """A receiver that takes nothing until `ends_s`."""

    def __init__(
        self, clock: Clock, ends_s: float, *, fails_at_samples: bool = False, asks_for_s: float | None = None
    ) -> None:
        self.clock, self.ends_s, self.fails_at_samples = clock, ends_s, fails_at_samples
        self.asks_for_s, self.away_until_s, self.busy_until_s = asks_for_s, 0.0, 0.0
        self.tries: list[float] = []
        self.early: list[float] = []

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        now_s = self.clock.now_s
        if len(body) > 1:
            self.tries.append(now_s)
        if now_s < self.busy_until_s:
            self.early.append(now_s)
        if now_s >= self.ends_s or (self.fails_at_samples and len(body) == 1):
            return Sent()
        if now_s < self.away_until_s:
            return RetryAfter("cannot reach it")
        self.busy_until_s = now_s + (self.asks_for_s or 0.0)
        is_failure = self.fails_at_samples or self.asks_for_s is not None
        return RetryAfter("500", seconds=self.asks_for_s, is_failure=is_failure)

    def late_window(self, timeout_s: float) -> None:
        return None

    def newest_ms(self, timeout_s: float) -> None:
        return None

    def close(self) -> None:
        pass


def played(clock: Clock, outage: Outage, tally: Tally) -> None:
    poster = Poster(
        outage,
        Account(tally, wall_ms=lambda: 0, monotonic=lambda: clock.now_s),
        stopping=threading.Event(),
        monotonic=lambda: clock.now_s,
        jitter=lambda: 0.0,
        wait=clock.wait,
    )
    poster.post_until_known(b"samples", may_be_there=False)


@pytest.mark.parametrize("length_s", [0.05, 1, 7, 60, 600, 3600 * 30])
def test_the_first_success_comes_within_5_s_of_the_receiver_s_return(tally, length_s):
    clock = Clock()
    outage = Outage(clock, length_s)
    played(clock, outage, tally)
    assert length_s <= outage.tries[-1] <= length_s + PROBE_EVERY_S + 0.1
    gaps = [later - earlier for earlier, later in itertools.pairwise(outage.tries)]
    assert gaps[0] == pytest.approx(0.1)
    assert max(gaps) < 30.001


@pytest.mark.parametrize("asks_for_s", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("length_s", [30, 70, 100, 600])
def test_so_it_does_at_one_that_asks_to_be_left_alone_for_seconds(tally, length_s, asks_for_s):
    clock = Clock()
    outage = Outage(clock, length_s, asks_for_s=asks_for_s)
    played(clock, outage, tally)
    assert length_s <= outage.tries[-1] <= length_s + 5
    assert len(outage.tries) < 12 + length_s / 15, "it is asked with empty requests"
    assert outage.early == []


def test_what_an_empty_request_is_told_holds_as_well(tally):
    """It was away, and the first thing that it says is to leave it alone."""
    clock = Clock()
    outage = Outage(clock, 400, asks_for_s=60.0)
    outage.away_until_s = 40
    played(clock, outage, tally)
    assert outage.early == []
    assert outage.tries[-1] < 461


def test_a_host_that_answers_nothing_is_tried_anew_soon(tally):
    """As one that is switched off: not even a refusal comes back."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/api/v1/write"
        began_s = time.monotonic()
        outcome = Connection(ReceiverSettings(url), time.time).post(b"samples", 30.0)
        for one in waiting:
            one.close()
    assert outcome == RetryAfter("cannot reach it: timed out")
    assert time.monotonic() - began_s < 5


def test_a_receiver_that_fails_at_our_samples_only_is_left_in_peace(tally):
    clock = Clock()
    outage = Outage(clock, 3600, fails_at_samples=True)
    played(clock, outage, tally)
    assert len(outage.tries) < 140


def test_a_receiver_that_comes_back_gets_everything(database, store, tally):
    """It was not there at all: nobody listened on its port."""
    receiver = Receiver()
    receiver._server.server_close()
    store.commit(ready(3), NOON_MS)
    port = free_port()
    receiver.url = f"http://127.0.0.1:{port}/api/v1/write"
    with sending(database, receiver, tally) as sender:
        wait_until(lambda: "cannot reach" in sender.last_answer)
        back = Receiver(port)
        with back.running():
            wait_until(lambda: is_done(store))
    assert powers(back) == [1, 2, 3]
    assert store.backlog()[METER].waiting == 0
