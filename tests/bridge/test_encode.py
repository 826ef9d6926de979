"""The bytes of a request, against bytes worked out by hand from the specification, and against protobuf's own."""

import struct

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from bridge.remote_write.encode import _MOST_SERIES, Encoder, label_pairs
from bridge.remote_write.prometheus_pb2 import Label, TimeSeries, WriteRequest
from bridge.remote_write.prometheus_pb2 import Sample as WireSample
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
    body = Encoder({"site": "home"}).encode([Sample(POWER, 1.5, 300), Sample(POWER, -2.0, 301)])
    assert snappy.uncompress(body) == field(
        1,
        label(b"__name__", b"power")
        + label(b"device", b"wp")
        + label(b"site", b"home")
        + sample(1.5, b"\xac\x02")
        + sample(-2.0, b"\xad\x02"),
    )


def test_a_stale_marker_keeps_its_bits():
    body = Encoder({}).encode([Sample(POWER, STALE, 1)])
    assert bytes.fromhex("7ff0000000000002")[::-1] in snappy.uncompress(body)


def test_snappy_is_the_block_format_which_begins_with_the_length():
    body = Encoder({}).encode([Sample(POWER, 1.5, 300)])
    assert body[0] == len(snappy.uncompress(body)) < 128
    assert Encoder({}).encode([]) == b"\x00"


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
    assert samples_of(Encoder(constant).encode(samples)) == expected


def plain(samples: list[Sample], constant: dict[str, str]) -> bytes:
    """The same request as protobuf's library writes it, an object for each sample."""
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for one in sorted(samples, key=lambda one: one.timestamp_ms):
        found.setdefault(label_pairs(one.series, constant), []).append(one)
    return WriteRequest(
        timeseries=[
            TimeSeries(
                labels=[Label(name=name, value=value) for name, value in pairs],
                samples=[WireSample(value=one.value, timestamp=one.timestamp_ms) for one in own],
            )
            for pairs, own in found.items()
        ]
    ).SerializeToString()


VALUES = st.one_of(st.sampled_from([0.0, -0.0, 5e-324, STALE, 1.0]), st.floats())
TIMES = st.one_of(st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1))
SAMPLES = st.lists(
    st.builds(Sample, st.builds(Series, st.sampled_from(["m", "n" * 200, "ü"]), LABELS), VALUES, TIMES),
    max_size=40,
)


@given(st.lists(SAMPLES, min_size=1, max_size=3), st.dictionaries(NAMES, st.sampled_from(["", "x" * 300])))
def test_the_bytes_are_those_of_protobuf_s_own_library(requests, constant):
    """Whatever an encoder remembers of the requests before."""
    encoder = Encoder(constant)
    for samples in requests:
        assert snappy.uncompress(encoder.encode(samples)) == plain(samples, constant)


def test_an_encoder_does_not_remember_without_end():
    encoder = Encoder({})
    for number in range(0, 3 * _MOST_SERIES, 2000):
        encoder.encode([Sample(Series(f"m{number + one}"), 1.0, 1) for one in range(2000)])
    assert len(encoder._labels) <= _MOST_SERIES
