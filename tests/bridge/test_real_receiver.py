"""What a real Prometheus answers, and that the sender comes through it."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import snappy

from bridge import poster as poster_module
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.encode import Encoder
from bridge.remote_write.metadata import Family, encode_metadata
from bridge.remote_write.outcome import Outcome, Refused, RetryAfter, Sent
from bridge.remote_write.prometheus_pb2 import Label, TimeSeries, WriteRequest
from bridge.remote_write.prometheus_pb2 import Sample as WireSample
from bridge.sample import Sample, Series
from bridge.sender import Sender
from bridge.store import Store
from readings.health import BRIDGE_HEALTH, Tally
from tests.bridge.states import METER, info, journal, state
from tests.conftest import Server, wait_until

HOUR_MS = 3_600_000


@pytest.fixture
def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Mute(Connection):
    """To a receiver that does not say how late a sample may come."""

    def late_window(self, timeout_s: float) -> str | None:
        return None


@pytest.fixture
def connect(prometheus: Server, tmp_path) -> Iterator[Callable[..., Connection]]:
    """Begins a Prometheus with that window, which has a sample of now."""
    made: list[Connection] = []

    def begin(window: str, connection: type[Connection] = Connection) -> Connection:
        prometheus.stop()
        (tmp_path / "prometheus" / "prometheus.yml").write_text(
            f"storage:\n  tsdb:\n    out_of_order_time_window: {window}\n"
        )
        prometheus.start()
        one = connection(ReceiverSettings(f"http://127.0.0.1:{prometheus.port}/api/v1/write"), time.time)
        made.append(one)
        newest = Encoder({}).encode([Sample(Series("newest"), 1.0, time.time_ns() // 1_000_000)])
        wait_until(lambda: one.post(newest, 5) == Sent())
        return one

    yield begin
    for one in made:
        one.close()


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    database = Database(tmp_path / "store.sqlite")
    yield database
    database.close()


@contextmanager
def sending(database: Database, receiver: Connection) -> Iterator[Tally]:
    tally = Tally(BRIDGE_HEALTH)
    sender = Sender(
        Outbox(database, boot="1"),
        receiver,
        labels={},
        tally=tally,
        wall_ms=lambda: time.time_ns() // 1_000_000,
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


def old_and_new(now_ms: int) -> list:
    """Three states of 30 hours ago, five of the last half minute."""
    times = [now_ms - 30 * HOUR_MS + number for number in range(3)]
    times += [now_ms - 30_000 + number * 5000 for number in range(5)]
    states = [state(seq, time_ms=at, power=float(seq)) for seq, at in enumerate(times, 1)]
    return [info(), *states, journal(("a", 1, 8))]


def stored(server: Server, now_ms: int) -> list[float]:
    query = urllib.parse.urlencode({"query": "meter_power_kw[40h]", "time": now_ms / 1000 + 1})
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/v1/query?{query}", timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return [float(value) for series in result for _, value in series["values"]]


def quarantined(database: Database) -> list[tuple[int, str]]:
    with database.transaction() as sql:
        return sql.execute("SELECT seq, reason FROM quarantine ORDER BY seq").fetchall()


def is_done(database: Database) -> bool:
    return Store(database).backlog()[METER].waiting == 0


def test_what_is_older_than_its_window_never_goes_out(connect, prometheus, database, now_ms):
    receiver = connect("30m")
    Store(database).commit(old_and_new(now_ms), now_ms)
    with sending(database, receiver) as tally:
        wait_until(lambda: is_done(database))
        wait_until(lambda: tally.value("bridge_samples_sent_total") == 5)
    assert stored(prometheus, now_ms) == [4, 5, 6, 7, 8]
    assert tally.value("bridge_samples_refused_total", reason="too_old") == 3
    assert tally.value("bridge_requests_total", outcome="sent") == 1
    assert tally.value("bridge_requests_total", outcome="retry") == 0


def test_with_the_window_that_is_shipped_nothing_is_too_old(connect, prometheus, database, now_ms):
    receiver = connect("14d")
    Store(database).commit(old_and_new(now_ms), now_ms)
    with sending(database, receiver):
        wait_until(lambda: is_done(database))
    assert stored(prometheus, now_ms) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("window", "said"), [("30m", "500: too old sample"), ("0s", "400: out of bounds")])
def test_where_it_cannot_be_asked_its_answers_tell(
    connect, prometheus, database, now_ms, monkeypatch, window, said
):
    """500 for ever and 400: the old ones stand alone at the end, the rest is stored."""
    for name, seconds in (("PATIENCE_S", 0.3), ("LONGEST_WAIT_S", 0.1)):
        monkeypatch.setattr(poster_module, name, seconds)
    receiver = connect(window, Mute)
    Store(database).commit(old_and_new(now_ms), now_ms)
    with sending(database, receiver):
        wait_until(lambda: is_done(database))
    assert stored(prometheus, now_ms) == [4, 5, 6, 7, 8]
    assert [seq for seq, _ in quarantined(database)] == [1, 2, 3]
    assert all(said in reason for _, reason in quarantined(database))


def test_another_value_at_one_time_costs_that_one_sample(connect, prometheus, database, now_ms):
    """Also where a bridge was killed with the request written down, so that nobody knows whether it went."""
    receiver = connect("14d")
    taken = Series("meter_power_kw", (("device", "wp"),))
    assert receiver.post(Encoder({}).encode([Sample(taken, 99.0, now_ms - 30_000)]), 5) == Sent()
    Store(database).commit(old_and_new(now_ms), now_ms)
    assert Outbox(database, boot="1").begin(now_ms, time.monotonic()) is not None
    with sending(database, receiver) as tally:
        wait_until(lambda: is_done(database))
    assert sorted(stored(prometheus, now_ms)) == [1, 2, 3, 5, 6, 7, 8, 99]
    assert [seq for seq, _ in quarantined(database)] == [4]
    assert tally.value("bridge_samples_sent_total") == 7


def post_raw(receiver: Connection, labels: list[tuple[str, str]], at: int) -> Outcome:
    series = TimeSeries(
        labels=[Label(name=name, value=value) for name, value in labels],
        samples=[WireSample(value=1.0, timestamp=at)],
    )
    return receiver.post(snappy.compress(WriteRequest(timeseries=[series]).SerializeToString()), 5)


def test_what_it_answers_to_requests_that_this_sender_never_makes(connect, now_ms):
    receiver = connect("0s")
    twice = post_raw(receiver, [("__name__", "m"), ("a", "1"), ("a", "2")], now_ms)
    assert isinstance(twice, RetryAfter)
    assert twice.is_failure
    assert "not unique" in twice.reason
    assert isinstance(post_raw(receiver, [], now_ms), RetryAfter)
    assert isinstance(receiver.post(b"no snappy", 5), Refused)


def test_the_second_time_is_already_there(connect, now_ms):
    receiver = connect("0s")
    samples = [Sample(Series("m"), 1.0, now_ms - 2000), Sample(Series("m"), 2.0, now_ms - 1000)]
    assert receiver.post(Encoder({}).encode(samples), 5) == Sent()
    again = receiver.post(Encoder({}).encode(samples), 5)
    assert isinstance(again, Refused)
    assert again.is_repeat


def test_it_takes_metadata(connect):
    (body,) = encode_metadata((Family("meter_power_kw", "Power", "kW"),))
    assert connect("14d").post(body, 5) == Sent()
