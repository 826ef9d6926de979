"""From registers to values: a table of encodings, and what in them is no number.

Takes the words of an answer and gives numbers as the device meant them.
Nothing is judged here: what can be no reading gets a type of its own, and the
filters say what follows from it.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from enum import StrEnum

from poller.blocks import BlockRead
from poller.decimals import multiply, shorten_float32
from poller.errors import DecodeError
from poller.points import Encoding, Point, WordOrder


class NoNumber(StrEnum):
    """What registers say when it is not a number that could be a reading."""

    SENTINEL = "sentinel"
    """The device says that it has no value: its sensor is not connected."""
    NOT_A_NUMBER = "not_a_number"
    FULL_SCALE = "full_scale"
    """The end of what the encoding can hold; infinity too."""


Decoded = int | float | NoNumber
"""A value after scaling, or why there is none."""

_FORMATS: Mapping[Encoding, str] = {
    Encoding.INT16: ">h",
    Encoding.UINT16: ">H",
    Encoding.INT32: ">i",
    Encoding.UINT32: ">I",
    Encoding.INT64: ">q",
    Encoding.UINT64: ">Q",
    Encoding.FLOAT32: ">f",
    Encoding.FLOAT64: ">d",
    Encoding.THOUSANDS: ">HH",
}

_FULL_SCALE: Mapping[Encoding, frozenset[int]] = {
    Encoding.INT16: frozenset({-(1 << 15), (1 << 15) - 1}),
    Encoding.UINT16: frozenset({(1 << 16) - 1}),
    Encoding.INT32: frozenset({-(1 << 31), (1 << 31) - 1}),
    Encoding.UINT32: frozenset({(1 << 32) - 1}),
    Encoding.INT64: frozenset({-(1 << 63), (1 << 63) - 1}),
    Encoding.UINT64: frozenset({(1 << 64) - 1}),
}

FLOAT_FULL_SCALE = 3.4e38
"""From here on a float is full scale, of whatever size: devices compute in 32 bits."""


def decode_number(words: Sequence[int], encoding: Encoding, word_order: WordOrder = "big") -> int | float:
    """Turn the registers of one point into a number, before scaling.

    Modbus fixes the byte order inside a register, not the order of the
    registers that make up a wider value. Meters differ, so the profile says.
    A 32-bit float comes as the shortest decimal that names it, which is what
    the device's display shows. NaN and infinity come through.

    Raises:
        DecodeError: There are too few or too many words for the encoding, or it is not one of a number.

    >>> decode_number([0x41C8, 0x0000], Encoding.FLOAT32, "big")
    25.0
    """
    form = _FORMATS.get(encoding)
    if form is None:
        raise DecodeError(f"{encoding}: expected the encoding of a number")
    if len(words) != encoding.registers:
        raise DecodeError(f"{encoding}: expected {encoding.registers} registers, got {len(words)}")
    number: int | float
    number, *lower = struct.unpack(form, _to_bytes(words, word_order))
    for part in lower:
        number = 1000 * number + part
    if encoding is Encoding.FLOAT32 and math.isfinite(number):
        return shorten_float32(number)
    return number


def decode_point(point: Point, words: Sequence[int]) -> Decoded:
    """The value of one point: value = raw x scale, or why it is none.

    Raises:
        DecodeError: The words cannot be this point's.

    >>> from poller.points import Table
    >>> outdoor = Point("outdoor", Table.INPUT, 12, 1, Encoding.INT16, scale=0.1, sentinels=(-649,))
    >>> decode_point(outdoor, [0xFFF6]), decode_point(outdoor, [0xFD77]), decode_point(outdoor, [0x8000])
    (-1.0, <NoNumber.SENTINEL: 'sentinel'>, <NoNumber.FULL_SCALE: 'full_scale'>)
    """
    raw = (
        _decode_bit(point, words)
        if point.encoding is Encoding.BIT
        else decode_number(words, point.encoding, point.word_order)
    )
    if _is_sentinel(point, words, raw):
        return NoNumber.SENTINEL
    if math.isnan(raw) or (point.encoding is Encoding.THOUSANDS and _lower(point, words) > 999):
        return NoNumber.NOT_A_NUMBER
    if raw in _FULL_SCALE.get(point.encoding, ()) or abs(raw) >= FLOAT_FULL_SCALE:
        return NoNumber.FULL_SCALE
    return multiply(raw, point.scale)


def decode_text(point: Point, words: Sequence[int]) -> str:
    """The text of one point, without the padding at its end.

    Raises:
        DecodeError: The words cannot be this point's: too few, or no printable ASCII.

    >>> from poller.points import Table
    >>> decode_text(Point("serial_number", Table.HOLDING, 0x4000, 2, Encoding.HEX), [0x2105, 0x00A7])
    '210500A7'
    """
    if len(words) != point.registers:
        raise DecodeError(f"{point.name}: expected {point.registers} registers, got {len(words)}")
    data = _to_bytes(words, point.word_order)
    if point.encoding is Encoding.HEX:
        return data.hex().upper()
    text = data.rstrip(b"\0 ").decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise DecodeError(f"{point.name}: expected printable ASCII, got {data!r}")
    return text


def decode_block(read: BlockRead) -> Mapping[str, Decoded]:
    """Every number of a block, by field.

    Raises:
        DecodeError: The answer does not fill the block, or a word is none.
    """
    return {
        point.name: decode_point(point, words) for point, words in _slices(read) if not point.encoding.is_text
    }


def decode_texts(read: BlockRead) -> Mapping[str, str]:
    """Every text of a block, by name (`serial_number`).

    Raises:
        DecodeError: The answer does not fill the block, or a text is none.
    """
    return {point.name: decode_text(point, words) for point, words in _slices(read) if point.encoding.is_text}


def _slices(read: BlockRead) -> list[tuple[Point, tuple[int, ...]]]:
    if len(read.words) != read.block.count:
        raise DecodeError(f"{read.block}: expected {read.block.count} words, got {len(read.words)}")
    starts = [(point, point.address - read.block.address) for point in read.block.points]
    return [(point, read.words[start : start + point.registers]) for point, start in starts]


def _to_bytes(words: Sequence[int], word_order: WordOrder) -> bytes:
    ordered = words if word_order == "big" else words[::-1]
    try:
        return struct.pack(f">{len(words)}H", *ordered)
    except struct.error as error:
        raise DecodeError(f"expected registers from 0 to 65535, got {list(words)}") from error


def _decode_bit(point: Point, words: Sequence[int]) -> int:
    """One address of a table of bits, or one bit of a register."""
    highest = 1 if point.table.holds_bits else 0xFFFF
    if len(words) != 1 or not 0 <= words[0] <= highest:
        raise DecodeError(f"{point.name}: expected one word from 0 to {highest}, got {list(words)}")
    return words[0] if point.bit is None else (words[0] >> point.bit) & 1


def _lower(point: Point, words: Sequence[int]) -> int:
    return words[-1] if point.word_order == "big" else words[0]


def _is_sentinel(point: Point, words: Sequence[int], raw: int | float) -> bool:
    # A value of thousands is two numbers, and either may say that there is none.
    raws = words if point.encoding is Encoding.THOUSANDS else (raw,)
    return any(
        math.isnan(raw)
        if sentinel == "nan"
        else all(word == 0xFFFF for word in words)
        if sentinel == "ones"
        else sentinel in raws
        for sentinel in point.sentinels
    )
