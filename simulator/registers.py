"""From values to registers: how a device that fits a profile holds them.

This is an encoder of its own, written from the Modbus and IEEE 754 documents.
It shares nothing with the poller's decoder, so that a mistake in the one
cannot be cancelled by the same mistake in the other.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from poller.profile import Encoding, Point, Profile, Table
from simulator.errors import EncodeError, IllegalAddressError

Value = int | float | str | None
"""What a point holds: a number in the field's unit, a text, or `None` for 'not connected'."""

# A device answers for the registers between two known ones when they are near;
# the WAGO's pages 0x4000, 0x5000 and 0x6000 and the LG's tables come out as blocks.
_NEAR = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device says to one request.

    Attributes:
        words: One number per address: 0..65535 for registers, 0 or 1 for bits.
        values: What the words mean, for each point that lies wholly in them.
        points: These points.
    """

    words: tuple[int, ...]
    values: Mapping[str, Value]
    points: tuple[Point, ...]


class RegisterMap:
    """Which point of a device is at which address, and how it is written there.

    With `strict` an address that no point covers is illegal. Otherwise it reads
    as 0 where it lies between points that are near each other, as most devices do.
    """

    def __init__(self, points: Iterable[Point], *, strict: bool = False) -> None:
        points = tuple(points)
        self._points: dict[Table, tuple[Point, ...]] = {}
        self._legal: dict[Table, frozenset[int]] = {}
        for table in Table:
            here = sorted(
                (point for point in points if point.table is table), key=lambda point: point.address
            )
            self._points[table] = tuple(here)
            self._legal[table] = frozenset(_legal_addresses(here, near=0 if strict else _NEAR))

    def points(self, table: Table, address: int, count: int) -> tuple[Point, ...]:
        """The points that lie wholly in this block."""
        end = address + count
        return tuple(
            point
            for point in self._points[table]
            if address <= point.address and point.address + point.registers <= end
        )

    def read(self, table: Table, address: int, count: int, values: Mapping[str, Value]) -> Answer:
        """Answer a request for `count` addresses from `address`.

        Raises:
            IllegalAddressError: One of the addresses is not there.
            EncodeError: A value is missing or does not go into its registers.
        """
        wanted = range(address, address + count)
        if not self._legal[table].issuperset(wanted):
            raise IllegalAddressError(f"{table} {address}+{count}")
        words = [0] * count
        for point in self._points[table]:
            if point.address < wanted.stop and address < point.address + point.registers:
                if point.name not in values:
                    raise EncodeError(f"{point.name}: the device has no value for this point")
                for place, word in enumerate(encode(point, values[point.name]), point.address - address):
                    if 0 <= place < count:
                        words[place] |= word
        whole = self.points(table, address, count)
        shown = {point.name: represented(point, values[point.name]) for point in whole}
        return Answer(tuple(words), shown, whole)


def points_of(profile: Profile) -> tuple[Point, ...]:
    """Everything that a profile knows an address of."""
    fields = (one.point for one in profile.fields.values() if one.point is not None)
    return (*fields, *profile.identity.values())


def encode(point: Point, value: Value) -> tuple[int, ...]:
    """The registers of one value, the inverse of scale, encoding and word order.

    Raises:
        EncodeError: The value does not go into the point.

    >>> point = Point("flow", Table.INPUT, 3, 1, Encoding.INT16, scale=0.1)
    >>> encode(point, -6.5)
    (65471,)
    """
    try:
        data = _bytes_of(point, value)
    except (struct.error, ValueError, OverflowError, TypeError) as error:
        raise EncodeError(f"{point.name}: {value!r} does not go into {point.encoding}: {error}") from error
    if point.table.holds_bits:
        return (data[-1],)
    words = [word for (word,) in struct.iter_unpack(">H", data)]
    if point.word_order == "little" and point.encoding not in {Encoding.STRING, Encoding.HEX}:
        words.reverse()
    return tuple(words)


def represented(point: Point, value: Value) -> Value:
    """What remains of a value when it has been through the registers.

    >>> represented(Point("flow", Table.INPUT, 3, 1, Encoding.INT16, scale=0.1), 31.4159)
    31.4
    >>> represented(Point("power", Table.HOLDING, 0x5012, 2, Encoding.FLOAT32), 0.1)
    0.10000000149011612
    """
    if value is None or isinstance(value, str):
        return value
    match point.encoding:
        case Encoding.BIT:
            return int(bool(value))
        case Encoding.FLOAT64:
            return float(value)
        case Encoding.FLOAT32:
            return round_to_float32(value / point.scale) * point.scale
        case _:
            # 9 digits take off the noise of 368 * 0.1, and no register is finer.
            return round(round(value / point.scale) * point.scale, 9)


def round_to_float32(value: float) -> float:
    """The nearest number that 32 bits can hold."""
    return float(struct.unpack(">f", struct.pack(">f", value))[0])


def _bytes_of(point: Point, value: Value) -> bytes:
    """A value as big-endian bytes, two per register."""
    size = 2 * point.registers
    encoding = point.encoding
    match encoding:
        case Encoding.HEX:
            return bytes.fromhex(str(value)).rjust(size, b"\0")
        case Encoding.STRING:
            return str(value).encode("ascii").ljust(size, b"\0")
        case Encoding.BIT:
            return struct.pack(">H", int(bool(value)) << (point.bit or 0))
        case Encoding.FLOAT32 | Encoding.FLOAT64:
            number = float("nan") if value is None else float(value) / point.scale
            return struct.pack(">f" if encoding is Encoding.FLOAT32 else ">d", number)
        case Encoding.INT16 | Encoding.INT32 | Encoding.INT64:
            return _raw(point, value).to_bytes(size, "big", signed=True)
        case Encoding.UINT16 | Encoding.UINT32 | Encoding.UINT64 | Encoding.THOUSANDS:
            return _raw(point, value).to_bytes(size, "big", signed=False)
        case _:
            assert_never(encoding)


def _raw(point: Point, value: Value) -> int:
    """The whole number that stands for a value; for no value, the point's first sentinel."""
    if value is None:
        numbers = [one for one in point.sentinels if isinstance(one, int)]
        if numbers:
            # Of a value of thousands each of the two registers says it.
            return numbers[0] * (0x1_0001 if point.encoding is Encoding.THOUSANDS else 1)
        if "ones" in point.sentinels:
            return -1 if point.encoding.value.startswith("int") else (1 << 16 * point.registers) - 1
        raise ValueError("the profile has no sentinel for 'no value'")
    whole = round(float(value) / point.scale)
    if point.encoding is Encoding.THOUSANDS:
        high, low = divmod(whole, 1000)
        return high << 16 | low
    return whole


def _legal_addresses(points: Sequence[Point], *, near: int) -> Iterable[int]:
    end: int | None = None
    for point in points:
        if end is not None and end < point.address <= end + near:
            yield from range(end, point.address)
        yield from range(point.address, point.address + point.registers)
        end = max(end or 0, point.address + point.registers)
