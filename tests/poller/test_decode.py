"""Registers become the values that the device's display shows.

Every file in tests/data/captures is a test: words as a device sends them,
worked out by hand, and what they mean.
"""

import math
import struct
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.blocks import BlockRead, RegisterBlock
from poller.commissioning.capture import hold, parse_capture
from poller.decimals import add, float32_steps, multiply, shorten_float32, subtract
from poller.decode import NoNumber, decode_block, decode_number, decode_point, decode_text
from poller.errors import DecodeError
from poller.points import Encoding, Point, Table
from poller.profile import load_profile, profile_names

FLOAT32_MAX = struct.unpack(">f", bytes.fromhex("7f7f0000"))[0]
"""Just below full scale."""

CAPTURES = sorted((Path(__file__).parent.parent / "data" / "captures").glob("*.toml"))


def point(encoding: Encoding, **more) -> Point:
    return Point("field", more.pop("table", Table.HOLDING), 0, encoding.registers or 0, encoding, **more)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_means_what_was_worked_out_by_hand(path):
    capture = parse_capture(path.name, path.read_text(encoding="utf-8"))
    held = {
        one.point.name: one.meaning
        for one in hold(load_profile(capture.profile), capture)
        if one.expected is not None
    }
    assert held == capture.expected
    assert {name: type(one) for name, one in held.items() if not isinstance(one, str)} == {
        name: type(one) for name, one in capture.expected.items() if not isinstance(one, str)
    }


@pytest.mark.parametrize(
    "profile", [one for one in profile_names() if load_profile(one).transport == "modbus"]
)
def test_the_captures_hold_every_register_of_the_profile(profile):
    shown = set()
    for path in CAPTURES:
        capture = tomllib.loads(path.read_text(encoding="utf-8"))
        if capture["profile"] == profile:
            shown |= capture["values"].keys()
    assert shown == {name for name, one in load_profile(profile).fields.items() if one.point}


@pytest.mark.parametrize(
    ("words", "encoding", "value"),
    [
        ([0x0000], Encoding.INT16, 0),
        ([0xFFFF], Encoding.INT16, -1),
        ([0x8001], Encoding.INT16, -32767),
        ([0xFFFE], Encoding.UINT16, 65534),
        ([0x0001, 0x0000], Encoding.UINT32, 65536),
        ([0xFFFF, 0xFFFE], Encoding.INT32, -2),
        ([0x0000, 0x0001, 0x0000, 0x0000], Encoding.UINT64, 1 << 32),
        ([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD], Encoding.INT64, -3),
        ([0x41C8, 0x0000], Encoding.FLOAT32, 25.0),
        ([12, 345], Encoding.THOUSANDS, 12345),
        ([40000, 999], Encoding.THOUSANDS, 40000999),
        ([0x3F9D, 0xF3B6], Encoding.FLOAT32, 1.234),  # 0.234 x 2^23 = 1962934 = 0x1DF3B6
        ([0x1391, 0x6239], Encoding.FLOAT32, 3.67e-27),  # 1.13581 x 2^-88: a normal float, however small
        ([0x4009, 0x21FB, 0x5444, 0x2D18], Encoding.FLOAT64, math.pi),
    ],
)
def test_words_make_a_number_in_either_word_order(words, encoding, value):
    assert decode_number(words, encoding, "big") == value
    assert decode_number(words[::-1], encoding, "little") == value
    assert type(decode_number(words, encoding)) is type(value)


@pytest.mark.parametrize(
    ("encoding", "words", "expected"),
    [
        (Encoding.INT16, [0x7FFF], NoNumber.FULL_SCALE),
        (Encoding.INT16, [0x8000], NoNumber.FULL_SCALE),
        (Encoding.INT16, [0xFFFF], -1),
        (Encoding.UINT16, [0xFFFF], NoNumber.FULL_SCALE),
        (Encoding.UINT16, [0x7FFF], 32767),
        (Encoding.INT32, [0x8000, 0x0000], NoNumber.FULL_SCALE),
        (Encoding.INT32, [0x7FFF, 0xFFFF], NoNumber.FULL_SCALE),
        (Encoding.UINT32, [0xFFFF, 0xFFFF], NoNumber.FULL_SCALE),
        (Encoding.INT64, [0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF], NoNumber.FULL_SCALE),
        (Encoding.UINT64, [0xFFFF] * 4, NoNumber.FULL_SCALE),
        (Encoding.FLOAT32, [0x7F80, 0x0000], NoNumber.FULL_SCALE),  # infinity
        (Encoding.FLOAT32, [0x7F7F, 0xFFFF], NoNumber.FULL_SCALE),  # the largest
        (Encoding.FLOAT32, [0xFF7F, 0xFFFF], NoNumber.FULL_SCALE),
        (Encoding.FLOAT32, [0x7FC0, 0x0000], NoNumber.NOT_A_NUMBER),
        (Encoding.THOUSANDS, [0, 1000], NoNumber.NOT_A_NUMBER),
        (Encoding.THOUSANDS, [0xFFFF, 0xFFFF], NoNumber.NOT_A_NUMBER),
        (Encoding.FLOAT64, [0x7FF0, 0x0000, 0x0000, 0x0000], NoNumber.FULL_SCALE),
        (Encoding.FLOAT64, [0x7FF8, 0x0000, 0x0000, 0x0000], NoNumber.NOT_A_NUMBER),
    ],
)
def test_what_is_no_number_has_a_type_of_its_own(encoding, words, expected):
    assert decode_point(point(encoding), words) == expected


@pytest.mark.parametrize(
    ("raw", "scale", "value"),
    [
        (2506, 0.01, 25.06),
        (353, 0.1, 35.3),
        (-649, 0.1, -64.9),
        (7, 1, 7),
        (7, 10, 70),
        (12345, 0.001, 12.345),
    ],
)
def test_rounding_follows_the_scale(raw, scale, value):
    decoded = decode_point(point(Encoding.INT32, scale=scale), [(raw >> 16) & 0xFFFF, raw & 0xFFFF])
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("encoding", "sentinels", "words", "is_sentinel"),
    [
        (Encoding.INT16, (-649, 3000), [0xFD77], True),
        (Encoding.INT16, (-649, 3000), [0x0BB8], True),
        (Encoding.INT16, (-649, 3000), [0x0000], False),
        (Encoding.INT16, (-32768,), [0x8000], True),  # before full scale
        (Encoding.FLOAT32, ("nan",), [0x7FC0, 0x0001], True),
        (Encoding.FLOAT32, ("nan",), [0x0000, 0x0000], False),
        (Encoding.FLOAT32, ("ones",), [0xFFFF, 0xFFFF], True),
        (Encoding.FLOAT32, ("ones",), [0xFFC0, 0x0000], False),
        (Encoding.UINT32, ("ones",), [0xFFFF, 0xFFFF], True),
        (Encoding.FLOAT32, (-9999,), [0xC61C, 0x3C00], True),
        (Encoding.THOUSANDS, (32768,), [0x8000, 0x8000], True),
        (Encoding.THOUSANDS, (32768,), [12, 0x8000], True),
        (Encoding.THOUSANDS, (32768,), [32, 768], False),
    ],
)
def test_a_sentinel_is_no_value(encoding, sentinels, words, is_sentinel):
    decoded = decode_point(point(encoding, scale=0.1, sentinels=sentinels), words)
    assert (decoded is NoNumber.SENTINEL) == is_sentinel


def test_a_bit_is_one_address_or_one_bit_of_a_register():
    assert decode_point(point(Encoding.BIT, table=Table.COIL), [1]) == 1
    assert [decode_point(point(Encoding.BIT, bit=bit), [0x8001]) for bit in (0, 1, 15)] == [1, 0, 1]
    with pytest.raises(DecodeError, match="from 0 to 1"):
        decode_point(point(Encoding.BIT, table=Table.DISCRETE), [2])


def test_a_text_is_ascii_without_its_padding():
    text = Point("model", Table.HOLDING, 0, 3, Encoding.STRING)
    assert decode_text(text, [0x5052, 0x4F31, 0x2000]) == "PRO1"
    with pytest.raises(DecodeError, match="printable ASCII"):
        decode_text(text, [0x5052, 0xFF31, 0x2000])


@pytest.mark.parametrize("encoding", [one for one in Encoding if one.registers])
def test_too_few_and_too_many_words_are_refused(encoding):
    with pytest.raises(DecodeError):
        decode_point(point(encoding), [0] * (encoding.registers - 1))
    with pytest.raises(DecodeError):
        decode_point(point(encoding), [0] * (encoding.registers + 1))


def test_a_block_that_is_not_filled_is_refused():
    block = RegisterBlock(Table.HOLDING, 0, 2, (point(Encoding.UINT16),))
    for words in ((1,), (1, 2, 3)):
        with pytest.raises(DecodeError, match="expected 2 words"):
            decode_block(BlockRead(block, words, 0.0))
    with pytest.raises(DecodeError, match="from 0 to 65535"):
        decode_block(BlockRead(block, (70000, 0), 0.0))


@given(st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32, allow_subnormal=False))
@example(16777.2176)
def test_a_shortened_float_is_the_same_float_with_the_fewest_digits(number):
    same = struct.pack(">f", number)
    short = shorten_float32(number)
    assert struct.pack(">f", short) == same
    candidates = (float(f"{number:.{digits}g}") for digits in range(1, 10))
    assert short == next(one for one in candidates if struct.pack(">f", one) == same)


@given(st.integers(-99_999, 99_999), st.integers(-99_999, 99_999))
def test_hundredths_stay_hundredths(one, other):
    first, second = multiply(one, 0.01), multiply(other, 0.01)
    assert first == one / 100
    assert add(first, second) == (one + other) / 100
    assert subtract(first, second) == (one - other) / 100


def test_steps_are_counted_in_32_bit_floats():
    assert float32_steps(16777216.0, 16777214.0) == 2
    assert float32_steps(12345.67, 12345.669) == 1
    assert float32_steps(1.0, 1.0) == 0
