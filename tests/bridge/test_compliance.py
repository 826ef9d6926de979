"""Prometheus' own test cases for senders of remote write 1.0, those of a sender that does not scrape.

The strict receiver checks of every request: headers, snappy's block format,
labels sorted and none twice or empty, a name, ascending samples, at most 2,000.
"""

import json
import random
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import snappy

from bridge import poster as poster_module
from bridge.arrival import RefusedMessage, interpret
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.sender import Sender
from readings.health import BRIDGE_HEALTH, Tally
from readings.payload import StreamRange, encode_journal
from readings.release import VERSION
from readings.topics import Topics
from tests.bridge.receiver import Answer, Receiver, samples_of
from tests.bridge.states import METER, NOON_MS, info, journal, ready, state
from tests.conftest import wait_until

TOPICS = Topics("heating")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(poster_module, name, 0.001)


@contextmanager
def sending(database: Database, receiver: Receiver, **constant: str) -> Iterator[tuple[Sender, Tally]]:
    tally = Tally(BRIDGE_HEALTH)
    sender = Sender(
        Outbox(database, boot="1"),
        Connection(ReceiverSettings(receiver.url), lambda: NOON_MS / 1000),
        labels=constant,
        tally=tally,
        wall_ms=lambda: NOON_MS + 86_400_000,
        monotonic=time.monotonic,
        jitter=lambda: 0.5,
    )
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield sender, tally
    finally:
        sender.stop()
        thread.join(5)
        assert not thread.is_alive()


def message(device: str, leaf: str, payload: object) -> object:
    return interpret(f"heating/meter/{device}/{leaf}", json.dumps(payload).encode(), TOPICS)


def announced(fields: dict[str, dict], device: str = "wp", stream: str = "a") -> object:
    return message(
        device,
        "info",
        {
            "contract": 1, "poller": "p", "stream": stream, "title": device, "manufacturer": "", "model": "",
            "profile": "", "interval": 5, "fields": fields,
        },
    )  # fmt: skip


def taken(
    device: str = "wp", seq: int = 1, stream: str = "a", held: tuple = (), **values: float | None
) -> object:
    at = time.strftime("%Y-%m-%dT%H:%M:%S.123Z", time.gmtime(NOON_MS / 1000 + seq))
    return message(device, "state", {"time": at, "stream": stream, "seq": seq, **values, "held": list(held)})


def listed(last: int, device: str = "wp", stream: str = "a") -> object:
    return interpret(
        f"heating/meter/{device}/journal", encode_journal([StreamRange(stream, 1, last)]), TOPICS
    )


def sent(database, store, receiver, *messages: object, **constant: str) -> dict[str, dict[int, float]]:
    """What arrived of these messages: by series as text, by millisecond."""
    assert not [one for one in messages if isinstance(one, RefusedMessage)]
    store.commit(messages, NOON_MS)
    with sending(database, receiver, **constant):
        wait_until(lambda: all(one.waiting == 0 for one in store.backlog().values()))
    found: dict[str, dict[int, float]] = {}
    for (labels, at), value in receiver.kept.items():
        name = ",".join(f"{name}={value}" for name, value in labels)
        found.setdefault(name, {})[at - NOON_MS] = float.fromhex(value)
    return found


def test_counter(database, store, receiver):
    """An energy count goes as it is: no suffix, and no _created beside it."""
    field = {"energy_kwh": {"kind": "energy", "prefixes": ["meter"], "labels": {"device": "wp"}}}
    found = sent(database, store, receiver, announced(field), taken(energy_kwh=1.5), listed(1))
    assert found == {"__name__=meter_energy_kwh,device=wp": {1123: 1.5}}


def test_gauge(database, store, receiver):
    field = {"power_kw": {"prefixes": ["meter"]}}
    states = [
        taken(seq=seq, power_kw=value) for seq, value in enumerate([0, -1.25, 1e300, 5e-324, 0.1 + 0.2], 1)
    ]
    found = sent(database, store, receiver, announced(field), *states, listed(5))
    assert found == {
        "__name__=meter_power_kw": {
            1123: 0.0,
            2123: -1.25,
            3123: 1e300,
            4123: 5e-324,
            5123: 0.30000000000000004,
        }
    }


def test_sorted_labels(database, store, receiver):
    labels = {"zebra": "1", "A": "2", "_x": "3", "abc": "4"}
    found = sent(
        database,
        store,
        receiver,
        announced({"f": {"prefixes": ["m"], "labels": labels}}),
        taken(f=1),
        listed(1),
        k="v",
    )
    assert list(found) == ["A=2,__name__=m_f,_x=3,abc=4,k=v,zebra=1"]


def test_repeated_labels(database, store, receiver):
    """The configuration's constant labels and the device's own meet: the own ones win."""
    field = {"f": {"prefixes": ["m"], "labels": {"site": "own"}}}
    assert list(sent(database, store, receiver, announced(field), taken(f=1), listed(1), site="all")) == [
        "__name__=m_f,site=own"
    ]


def test_empty_labels(database, store, receiver):
    field = {"f": {"prefixes": ["m"], "labels": {"room": "", "device": "wp"}}}
    assert list(sent(database, store, receiver, announced(field), taken(f=1), listed(1), site="")) == [
        "__name__=m_f,device=wp"
    ]


@pytest.mark.parametrize("label", ["__name__", "__x", "a-b", "", "1a", "ä"])
def test_name_label(label):
    """Nobody can bring a name, or a label that no series can have, over the bus."""
    assert isinstance(announced({"f": {"prefixes": ["m"], "labels": {label: "x"}}}), RefusedMessage)


def test_staleness(database, store, receiver):
    """One marker where a number ends, with exactly its bits; none for what is held, none again."""
    field = {"f": {"prefixes": ["m"]}}
    states = [
        taken(seq=1, f=1.0),
        taken(seq=2, f=1.0, held=("f",)),
        taken(seq=3, f=None),
        taken(seq=4, f=None),
        taken(seq=5, f=2.0),
    ]
    found = sent(database, store, receiver, announced(field), *states, listed(5))["__name__=m_f"]
    assert sorted(found) == [1123, 3123, 5123]
    assert all(bits_in(body) == 1 for body in receiver.bodies)


def bits_in(body: bytes) -> int:
    return snappy.uncompress(body).count(struct.pack("<Q", 0x7FF0000000000002))


def test_timestamp(database, store, receiver):
    """Milliseconds, and the reading's, not the sending's."""
    found = sent(
        database, store, receiver, announced({"f": {"prefixes": ["m"]}}), taken(seq=1, f=1), listed(1)
    )
    assert found == {"__name__=m_f": {1123: 1.0}}


def test_headers(database, store, receiver):
    heard: list[dict[str, str]] = []
    receiver.gate = heard.append
    store.commit(ready(1), NOON_MS)
    with sending(database, receiver):
        wait_until(lambda: receiver.kept)
    assert {
        name: heard[0][name] for name in heard[0] if name not in {"Host", "Accept-Encoding", "Content-Length"}
    } == {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "User-Agent": f"heating-bridge/{VERSION}",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }


@pytest.mark.parametrize(
    "longest_s", [0.05, pytest.param(5.0, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
def test_ordering_while_the_receiver_takes_its_time(database, store, receiver, longest_s):
    """1,000 series, and answers that take their time: no sample overtakes an earlier one of its series."""
    chance = random.Random(7)
    receiver.script = lambda *_: time.sleep(chance.random() * longest_s) or Answer()
    fields = {f"f{number}": {"prefixes": ["m"]} for number in range(1000)}
    store.commit([announced(fields), listed(0)], NOON_MS)
    with sending(database, receiver) as (sender, _):
        for seq in range(1, 31):
            store.commit([taken(seq=seq, **dict.fromkeys(fields, seq))], NOON_MS)
            store.commit([listed(seq)], NOON_MS)
            sender.wake()
        wait_until(lambda: len(receiver.kept) == 30_000, within_s=20 + 30 * longest_s)
    newest: dict[object, int] = {}
    for labels, at in receiver.writes:
        assert at > newest.get(labels, 0)
        newest[labels] = at
    assert len(newest) == 1000


def test_retry_on_500(database, store, receiver):
    receiver.script = lambda number, _: Answer(500 if number < 5 else 204)
    store.commit(ready(3), NOON_MS)
    with sending(database, receiver):
        wait_until(lambda: len(receiver.kept) == 3)
    assert len(set(receiver.bodies)) == 1


def test_a_request_that_is_refused_is_never_sent_again_as_it_was(database, store, receiver):
    chance = random.Random(5)
    guilty = {NOON_MS + 1000 * seq for seq in chance.sample(range(1, 501), 40)}
    receiver.script = lambda _, body: Answer(400 if guilty & {at for _, at in samples_of(body)} else 204)
    store.commit(ready(500), NOON_MS)
    with sending(database, receiver):
        wait_until(lambda: len(receiver.kept) == 460)
        wait_until(lambda: store.backlog()[METER].waiting == 0)
    assert len(receiver.bodies) == len(set(receiver.bodies))


# What is not in that suite


def test_our_counts_agree_with_the_receiver_s_to_the_sample(database, store, receiver):
    """500, lost answers, turned away and refused, all mixed: sent + refused is what was taken + what was not."""
    chance = random.Random(11)
    guilty = {NOON_MS + 1000 * seq for seq in (17, 18, 401, 777)}

    def script(_: int, body: bytes) -> Answer:
        if guilty & {at for _, at in samples_of(body)}:
            return Answer(400, body=b"out of bounds")
        return chance.choice(
            [Answer(), Answer(), Answer(500), Answer(429), Answer(hangs_up=True), Answer(hangs_up=True, keeps=True), Answer(504, keeps=True)]
        )  # fmt: skip

    receiver.script = script
    store.commit([info("a"), journal(("a", 1, 800))], NOON_MS)
    with sending(database, receiver) as (sender, tally):
        for first in range(1, 801, 20):
            store.commit([state(seq) for seq in range(first, first + 20)], NOON_MS)
            sender.wake()
            wait_until(lambda: store.backlog()[METER].waiting < 100)
        wait_until(lambda: store.backlog()[METER].waiting == 0)
        wait_until(lambda: tally.value("bridge_samples_refused_total", reason="refused") == len(guilty))
    assert tally.value("bridge_samples_sent_total") == len(receiver.kept) == 800 - len(guilty)


HOSTILE = [
    'quote" backslash\\ newline\n tab\t null\x00 bell\x07',
    "Küche 🔥 \u202e right-to-left \ufeff",
    "a" * 100_000,
    "{}=~`$(reboot)`'; DROP TABLE state; --",
    " ",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_label_values_arrive_as_they_are(database, store, receiver, value):
    receiver.script = lambda number, _: Answer(400 if number == 0 else 204)
    field = {name: {"prefixes": ["m"], "labels": {"sensor_name": value}} for name in ("f", "g")}
    found = sent(database, store, receiver, announced(field), taken(f=1, g=2), listed(1), site=value)
    assert set(found) == {f"__name__=m_{name},sensor_name={value},site={value}" for name in ("f", "g")}


@pytest.mark.parametrize(
    "topic",
    [
        "heating/meter/../state", "heating/meter//state", "heating/meter/a b/state", "heating/meter/Ä/state",
        "heating/meter/a/b/state", "heating/thing/wp/state", "heating/meter/wp/drop", "heating/meter/wp", "heating",
        "heating/meter/x'; DROP TABLE state; --/state", "heating/meter/\x00/state", f"heating/meter/{'a' * 70_000}\n/state",
    ],
)  # fmt: skip
def test_hostile_topics_are_refused(topic):
    assert isinstance(
        interpret(topic, b'{"time":null,"stream":"a","seq":null,"held":[]}', TOPICS), RefusedMessage
    )


@pytest.mark.parametrize("name", ["a.b-c", "", "1st", "ä", "a b", "a\x00", "__name__{}"])
def test_a_field_that_can_be_no_metric_is_refused(name):
    assert isinstance(announced({name: {"prefixes": ["m"]}}), RefusedMessage)
    assert isinstance(announced({"f": {"prefixes": [name]}}), RefusedMessage)


def test_half_a_character_is_refused_where_it_arrives():
    """JSON can say it, no label can be it, and it must not end the sender."""
    payload = json.dumps({"f": {"prefixes": ["m"], "labels": {"x": "\ud800"}}})
    assert isinstance(announced(json.loads(payload)), RefusedMessage)
