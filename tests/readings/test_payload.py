"""The contract's messages: forwards, backwards, and what is not one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readings.errors import PayloadError
from readings.payload import (
    FieldInfo,
    Info,
    Replay,
    StreamRange,
    decode_info,
    decode_journal,
    decode_replay,
    decode_state,
    encode_info,
    encode_journal,
    encode_replay,
    encode_state,
    format_time,
    parse_time,
)
from readings.reading import DeviceState, is_field_name

names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(is_field_name)
values = st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def states(draw):
    fields = draw(st.dictionaries(names, values, max_size=6))
    return DeviceState(
        time_ms=draw(st.none() | st.integers(0, 4_102_444_800_000)),
        stream=draw(st.text(min_size=1, max_size=8)),
        seq=draw(st.none() | st.integers(1, 2**53)),
        values=fields,
        held=frozenset(draw(st.lists(st.sampled_from(sorted(fields)))) if fields else ()),
    )


@given(states())
def test_a_state_survives_the_wire(state):
    assert decode_state(encode_state(state)) == state


@given(states(), st.data())
def test_a_cut_state_is_refused_at_every_length(state, data):
    whole = encode_state(state)
    with pytest.raises(PayloadError):
        decode_state(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(
    st.binary(max_size=40)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda thing: json.dumps(thing).encode()
    )
)
def test_anything_else_is_refused_and_never_crashes(payload):
    for decode in (decode_state, decode_info, decode_replay):
        with pytest.raises(PayloadError):
            decode(payload)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ('{"time":null,"seq":1}', "stream: expected a name"),
        ('{"time":null,"stream":"a","seq":0}', "seq: expected a whole number"),
        ('{"time":null,"stream":"a","seq":true}', "seq: expected a whole number"),
        ('{"time":null,"stream":"a","seq":9223372036854775808}', "seq: expected a whole number"),
        ('{"time":"yesterday","stream":"a","seq":1}', "time: expected ISO 8601"),
        ('{"time":"2026-11-23T04:05:06","stream":"a","seq":1}', "time: expected an offset"),
        ('{"time":17,"stream":"a","seq":1}', "time: expected text or null"),
        ('{"time":null,"stream":"a","seq":1,"held":"power"}', "held: expected a list"),
        ('{"time":null,"stream":"a","seq":1,"power_total_kw":NaN}', "malformed"),
        ('{"time":null,"stream":"a","seq":1,"power_total_kw":1e999}', "out of range"),
    ],
)
def test_a_wrong_state_is_refused_with_its_place(payload, complaint):
    with pytest.raises(PayloadError, match=complaint):
        decode_state(payload.encode())


def test_keys_of_a_later_contract_are_passed_over():
    state = decode_state(
        b'{"time":null,"stream":"a","seq":1,"power_total_kw":1.5,"quality":"good","a-b":1,"on":true,"held":["gone"]}'
    )
    assert state.values == {"power_total_kw": 1.5}
    assert state.held == frozenset()


def test_fresh_fields_are_those_that_were_measured_in_this_poll():
    state = DeviceState(
        0, "a", 1, {"power_total_kw": 1.0, "power_L1_kw": 2.0, "tariff": None}, frozenset({"power_L1_kw"})
    )
    assert state.fresh == {"power_total_kw": 1.0}
    assert not state.is_lost
    assert DeviceState(0, "a", 1, {"tariff": None}).is_lost


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_state_refuses_a_number_that_is_none(bad):
    with pytest.raises(ValueError, match="finite"):
        DeviceState(0, "a", 1, {"power_total_kw": bad})


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_keeps_its_milliseconds(time_ms):
    assert parse_time(format_time(time_ms)) == time_ms


def test_an_announcement_survives_the_wire():
    info = Info(
        contract=1,
        poller="poller",
        stream="k3f9",
        title='Zähler „Keller" 🔥',
        manufacturer="WAGO",
        model="879",
        profile="wago-879",
        interval=30,
        fields={
            "power_total_kw": FieldInfo(unit="kW", kind="power", prefixes=("meter",), labels={"device": "m"})
        },
    )
    assert decode_info(encode_info(info)) == info


def test_of_a_later_contract_only_the_frame_is_read():
    info = decode_info(b'{"contract":2,"poller":"p","stream":"s","fields":["other"],"interval":"often"}')
    assert (info.contract, info.poller, info.stream, info.fields) == (2, "p", "s", {})


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ({"prefixes": ["a-b"]}, "prefixes"),
        ({"prefixes": ['x{a="b"} 1\nevil']}, "prefixes"),
        ({"prefixes": ["meter\n"]}, "prefixes"),
        ({"labels": {"__name__": "up"}}, "labels"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"room\n": "x"}}, "labels"),
        ({"labels": {"a": 5}}, "labels"),
        ({"kind": "rumour"}, "kind"),
    ],
)
def test_names_that_no_series_can_have_are_refused(field, place):
    whole = {
        "contract": 1, "poller": "p", "stream": "s", "title": "", "manufacturer": "", "model": "", "profile": "",
        "interval": 30, "fields": {"power_total_kw": field},
    }  # fmt: skip
    with pytest.raises(PayloadError, match=place):
        decode_info(json.dumps(whole).encode())
    with pytest.raises(PayloadError, match="fields"):
        decode_info(json.dumps({**whole, "fields": {"a b": {}}}).encode())
    with pytest.raises(PayloadError, match="interval"):
        decode_info(json.dumps({**whole, "fields": {}, "interval": 0}).encode())


def test_a_journal_list_names_the_newest_streams():
    ranges = [StreamRange(f"s{place}", 1, place + 1) for place in range(600)]
    listed = decode_journal(encode_journal(ranges))
    assert len(listed) == 500
    assert listed[-1] == ranges[-1]


@pytest.mark.parametrize(
    "payload",
    [
        b'[["a",0,1]]', b'[["a",2,1]]', b'[["",1,1]]', b'[["a",1]]', b"{}", b'[["a",1,"2"]]',
        b'[["a",1,9223372036854775808]]', b"[" + b",".join(b'["s%d",1,1]' % n for n in range(501)) + b"]",
    ],
)  # fmt: skip
def test_a_journal_list_that_is_none_is_refused(payload):
    with pytest.raises(PayloadError):
        decode_journal(payload)


def test_a_replay_asks_for_at_most_200_states():
    assert decode_replay(encode_replay(Replay("s", 1, 200))) == Replay("s", 1, 200)
    for first, last in ((1, 201), (0, 3), (5, 4), (2**63, 2**63)):
        with pytest.raises(PayloadError):
            decode_replay(encode_replay(Replay("s", first, last)))
