"""What a message means: whatever a publisher sends, something typed comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.arrival import (
    MAX_SEQ,
    AvailabilityCame,
    HealthCame,
    Identity,
    InfoCame,
    InfoGone,
    JournalCame,
    Nothing,
    ProgramCame,
    RefusedMessage,
    StateCame,
    interpret,
)
from readings.health import Health, encode_health
from readings.payload import StreamRange, encode_info
from readings.topics import Leaf, Program, Topics
from tests.bridge.states import METER, make_info

TOPICS = Topics("heating")


def meaning(payload: bytes, leaf: Leaf = Leaf.STATE):
    return interpret(TOPICS.device(METER, leaf), payload, TOPICS)


@pytest.mark.parametrize(
    ("payload", "identity"),
    [
        (b'{"stream":"a","seq":7,"time":"yesterday"}', ("a", 7)),
        (b'{"stream":"a","seq":7,"time":null,"held":3}', ("a", 7)),
        (b'{"stream":"a","seq":7,"x":1' + b"0" * 400 + b"}", ("a", 7)),
        (b'{"stream":"a","seq":7,"time":"0001-01-01T00:00:00+14:00"}', ("a", 7)),
        (b'{"stream":"a","seq":0}', None),
        (b'{"stream":"a","seq":%d}' % (MAX_SEQ + 1), None),
        (b'{"stream":"","seq":7}', None),
        (b'{"seq":7}', None),
        (b'{"stream":"a","seq":7,"time":1e999}', ("a", 7)),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b'{"stream":"a","seq":7,"x":' + b"[" * 100_000, None),
        (b"{", None),
    ],
)
def test_a_state_that_is_none_is_refused_under_its_name_where_it_has_one(payload, identity):
    refused = meaning(payload)
    assert isinstance(refused, RefusedMessage)
    assert refused.identity == (Identity(METER, *identity) if identity else None)


@pytest.mark.parametrize(
    ("payload", "is_stored"),
    [
        (b'{"time":"2026-11-23T04:05:06.123Z","stream":"a","seq":1}', True),
        (b'{"time":"2026-11-23T04:05:06.123Z","stream":"a","seq":null}', False),
        (b'{"time":null,"stream":"a","seq":1}', False),
    ],
)
def test_only_a_state_with_number_and_time_is_for_the_store(payload, is_stored):
    came = meaning(payload, Leaf.HISTORY)
    assert isinstance(came, StateCame)
    assert (came.identity is not None) is is_stored
    assert not came.is_live


def test_a_later_contract_is_named_and_not_read():
    payload = encode_info(make_info(contract=2)).replace(b'"interval":5', b'"interval":"often"')
    came = meaning(payload, Leaf.INFO)
    assert isinstance(came, InfoCame)
    assert (came.contract, came.stream, came.info.title, came.info.fields) == (2, "a", "wp", {})
    assert isinstance(meaning(payload.replace(b'"contract":2', b'"contract":1'), Leaf.INFO), RefusedMessage)


@pytest.mark.parametrize(
    "announced",
    [
        b'"contract":1' + b"0" * 30,  # more than any database's whole number
        b'"contract":-1' + b"0" * 30,
        b'"contract":0',
    ],
)
def test_a_contract_that_there_cannot_be_is_refused(announced):
    payload = encode_info(make_info()).replace(b'"contract":1', announced)
    assert isinstance(meaning(payload, Leaf.INFO), RefusedMessage)


def test_an_announcement_without_a_stream_is_refused():
    payload = encode_info(make_info()).replace(b'"stream":"a"', b'"stream":""')
    assert isinstance(meaning(payload, Leaf.INFO), RefusedMessage)


@pytest.mark.parametrize("leaf", [Leaf.INFO, Leaf.STATE, Leaf.AVAILABILITY, Leaf.JOURNAL])
def test_an_empty_payload_takes_a_message_back_and_with_the_announcement_the_device(leaf):
    assert meaning(b"", leaf) == (InfoGone(METER) if leaf is Leaf.INFO else Nothing())


HEALTH = Health(name="cellar", version="1", metrics={})


@pytest.mark.parametrize(
    ("place", "payload", "meant"),
    [
        ("poller/cellar/availability", b"online", ProgramCame(Program.POLLER, "cellar", True)),
        ("bridge/attic/availability", b"offline", ProgramCame(Program.BRIDGE, "attic", False)),
        ("poller/cellar/health", encode_health(HEALTH), HealthCame(Program.POLLER, "cellar", HEALTH)),
        (f"{METER}/availability", b"offline", AvailabilityCame(METER, False)),
        (f"{METER}/journal", b'[["a",1,2]]', JournalCame(METER, (StreamRange("a", 1, 2),))),
        (f"{METER}/journal", b'[["a",1,%d]]' % MAX_SEQ, JournalCame(METER, (StreamRange("a", 1, MAX_SEQ),))),
    ],
)
def test_what_is_said_of_programs_and_devices(place, payload, meant):
    assert interpret(f"heating/{place}", payload, TOPICS) == meant


def test_a_list_that_lay_at_the_broker_is_none_of_now():
    came = interpret(f"heating/{METER}/journal", b'[["a",1,2]]', TOPICS, retained=True)
    assert isinstance(came, JournalCame)
    assert not came.is_live


@pytest.mark.parametrize(
    ("place", "payload"),
    [
        ("poller/cellar/availability", b"ONLINE"),
        ("poller/cellar/health", b"online"),
        (f"{METER}/availability", b"{}"),
        (f"{METER}/journal", b'[["a",1,%d]]' % (MAX_SEQ + 1)),
        (f"{METER}/journal", b'[["a",2,1]]'),
    ],
)
def test_what_is_none_of_it_is_refused_and_names_no_state(place, payload):
    refused = interpret(f"heating/{place}", payload, TOPICS)
    assert isinstance(refused, RefusedMessage)
    assert refused.identity is None


def test_only_a_state_is_refused_under_a_name():
    payload = b'{"stream":"a","seq":7,"contract":"none"}'
    assert meaning(payload, Leaf.INFO) == RefusedMessage(
        TOPICS.device(METER, Leaf.INFO), "Expected `int`, got `str` - at `$.contract`", payload
    )


def test_a_request_for_states_is_not_for_the_bridge():
    assert isinstance(meaning(b'{"stream":"a","from":1,"to":2}', Leaf.REPLAY), RefusedMessage)


PIECES = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b":", b",", b"stream", b"seq", b"time", b"1", b"-", b"e9", b"null", b"\xff", b"\\u"]
    )
).map(b"".join)  # fmt: skip


@given(
    st.sampled_from(["meter/wp", "poller/p", "meter/+", "x", ""]),
    st.sampled_from([*Leaf, "health", "", "a/b"]),
    st.one_of(st.binary(), PIECES),
)
def test_no_message_is_too_strange(place, leaf, payload):
    interpret(f"heating/{place}/{leaf}", payload, TOPICS)
