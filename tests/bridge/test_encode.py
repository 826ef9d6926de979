"""The bytes of a request, against bytes worked out by hand from the specification."""

import struct

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from bridge.remote_write.encode import encode, label_pairs
from bridge.sample import STALE, Sample, Series
from tests.bridge.receiver import samples_of

POWER = Series("power", (("device", "wp"),))


def field(number: int, payload: bytes) -> bytes:
    """A protobuf field with a length: its tag, its length, its content (both below 128 here)."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def label(name: bytes, value: bytes) -> bytes:
    return field(1, field(1, name) + field(2, value))


def sample(value: float, timestamp: bytes) -> bytes:
    return field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + timestamp)


def test_the_bytes_are_those_of_the_specification():
    body = encode([Sample(POWER, 1.5, 300), Sample(POWER, -2.0, 301)], {"site": "home"})
    assert snappy.uncompress(body) == field(
        1,
        label(b"__name__", b"power")
        + label(b"device", b"wp")
        + label(b"site", b"home")
        + sample(1.5, b"\xac\x02")
        + sample(-2.0, b"\xad\x02"),
    )


def test_a_stale_marker_keeps_its_bits():
    body = encode([Sample(POWER, STALE, 1)], {})
    assert bytes.fromhex("7ff0000000000002")[::-1] in snappy.uncompress(body)


def test_snappy_is_the_block_format_which_begins_with_the_length():
    body = encode([Sample(POWER, 1.5, 300)], {})
    assert body[0] == len(snappy.uncompress(body)) < 128
    assert encode([], {}) == b"\x00"


@pytest.mark.parametrize(
    ("labels", "constant", "sent"),
    [
        ((), {}, ["__name__=m"]),
        ((("b", "2"), ("a", "1")), {}, ["__name__=m", "a=1", "b=2"]),
        ((("A", "1"),), {}, ["A=1", "__name__=m"]),
        ((("a", ""),), {"b": ""}, ["__name__=m"]),
        ((("a", "own"),), {"a": "constant"}, ["__name__=m", "a=own"]),
        ((("__name__", "other"),), {"__name__": "third"}, ["__name__=m"]),
        ((("room", "Küche"),), {}, ["__name__=m", "room=Küche"]),
    ],
)
def test_labels_are_sorted_by_name_and_none_is_there_twice_or_empty(labels, constant, sent):
    assert [f"{name}={value}" for name, value in label_pairs(Series("m", labels), constant)] == sent


NAMES = st.sampled_from(["a", "b", "__name__", "Z", "é"])
LABELS = st.dictionaries(NAMES, st.sampled_from(["", "1", "2"])).map(lambda labels: tuple(labels.items()))


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["m", "n"]), LABELS, st.integers(-5, 5)),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.dictionaries(NAMES, st.sampled_from(["", "x"])),
)
def test_every_sample_arrives_under_its_labels(values, constant):
    samples, expected = [], {}
    for (name, labels, time), value in values.items():
        series = Series(name, labels)
        sent = label_pairs(series, constant)
        if (sent, time) not in expected:
            expected[sent, time] = value.hex()
            samples.append(Sample(series, value, time))
    assert samples_of(encode(samples, constant)) == expected
