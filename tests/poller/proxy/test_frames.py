"""Requests out of a stream that comes as it likes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.frames import FramingError
from poller.proxy.frames import Query, frame_answer, take_query

STREAMS = [
    ("0001 0000 0006 02 03 5012 0002", Query(1, 2, bytes.fromhex("0350120002"))),
    ("ffff 0000 0006 07 05 0000 ff00", Query(65535, 7, bytes.fromhex("050000ff00"))),
    ("0000 0000 0002 ff 07", Query(0, 255, b"\x07")),
    ("0102 0000 00fe 01" + "41" * 253, Query(258, 1, b"\x41" * 253)),
]


@pytest.mark.parametrize(("text", "query"), STREAMS)
def test_a_request_is_taken_once_it_is_whole(text, query):
    data = bytes.fromhex(text)
    buffer = bytearray()
    for byte in data[:-1]:
        buffer.append(byte)
        assert take_query(buffer) is None
    buffer += data[-1:] + b"rest"
    assert take_query(buffer) == query
    assert buffer == b"rest"


@given(st.lists(st.sampled_from(STREAMS), max_size=6), st.randoms(use_true_random=False))
def test_however_a_stream_is_cut_it_has_the_same_requests(rows, chance):
    data = b"".join(bytes.fromhex(text) for text, _ in rows)
    buffer, found = bytearray(), []
    while data:
        size = chance.randint(1, len(data))
        buffer += data[:size]
        data = data[size:]
        while query := take_query(buffer):
            found.append(query)
    assert found == [query for _, query in rows]
    assert not buffer


@pytest.mark.parametrize(
    "text",
    [
        "0001 01",
        "0001 0001 0006",
        "0001 0000 0001",
        "0001 0000 00ff",
        "0001 0000 ffff",
        b"GET / HTTP/1.1".hex(),
    ],
)
def test_what_is_no_modbus_tcp_is_known_as_soon_as_it_can_be(text):
    with pytest.raises(FramingError):
        take_query(bytearray.fromhex(text))


@given(st.binary(max_size=600))
def test_noise_is_a_request_an_error_or_not_enough(data):
    buffer = bytearray(data)
    try:
        while (query := take_query(buffer)) is not None:
            assert 1 <= len(query.pdu) <= 253
    except FramingError:
        return
    assert len(buffer) < 260


def test_an_answer_carries_the_number_and_unit_of_its_request():
    query = Query(0xABCD, 7, bytes.fromhex("0400000001"))
    assert frame_answer(query, bytes.fromhex("04 02 013a")) == bytes.fromhex("abcd 0000 0005 07 04 02 013a")
